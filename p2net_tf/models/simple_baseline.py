"""SimpleBaseline: a ResNet and three transposed convolutions (Xiao, Wu and Wei, ECCV 2018)."""

from __future__ import annotations

import keras

from p2net_tf.layers import DeconvNorm
from p2net_tf.models import pretrained
from p2net_tf.models.backbones import ResNet, backbone_spec
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT, NetworkInput, PoseNetwork


@keras.saving.register_keras_serializable("p2net_tf")
class SimpleBaseline(PoseNetwork):
    """`[B, H, W, 3] -> {"heatmaps": [B, H / 4, W / 4, K]}`, upsampled from C5 alone.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        backbone: `resnet18`, `resnet50`, `resnet101`, `resnet152` or `small`.
        backbone_width: channels at stride 4 of the `small` backbone.
        backbone_blocks: residual blocks per resolution of the `small` backbone.
        width: channels of the three transposed convolutions.
        stride_in_1x1: where bottlenecks stride; true for the weights of keras.applications.
        weights: `imagenet` fetches those of the backbone, and builds the network as they need it.
        common: further arguments of `NetworkInput`.

    Raises:
        ValueError: `input_size` is not a multiple of 32, or an unknown backbone.
        PretrainedError: the ImageNet weights cannot be had.
    """

    def __init__(
        self,
        num_keypoints: int,
        input_size=(256, 192),
        backbone: str = "resnet50",
        backbone_width: int = 32,
        backbone_blocks: int = 2,
        width: int = 256,
        stride_in_1x1: bool = False,
        weights: str | None = None,
        name: str = "simple_baseline",
        **common,
    ):
        needed = pretrained.needed_arguments(backbone, weights)
        stride_in_1x1 = needed.pop("stride_in_1x1", stride_in_1x1)
        given = NetworkInput(num_keypoints, input_size, name, **(needed | common))
        options = given.layer_options
        spec = backbone_spec(backbone, backbone_width, backbone_blocks)
        x = ResNet(spec, stride_in_1x1, name="backbone", **options)(given.normalized)[-1]
        for number in (1, 2, 3):
            x = DeconvNorm(width, name=f"deconv_{number}", **options)(x)
        super().__init__(
            given,
            {HEATMAPS_OUTPUT: given.heatmaps(x, HEATMAPS_OUTPUT)},
            backbone=backbone,
            backbone_width=backbone_width,
            backbone_blocks=backbone_blocks,
            width=width,
            stride_in_1x1=stride_in_1x1,
        )
        if weights is not None:
            pretrained.load_imagenet_weights(self.backbone, backbone)

    @property
    def backbone(self) -> ResNet:
        return self.get_layer("backbone")
