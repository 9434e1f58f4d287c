"""CPN, the Cascaded Pyramid Network: GlobalNet -> RefineNet (Chen et al., CVPR 2018)."""

from __future__ import annotations

import keras

from p2net_tf.layers import BilinearUpsampling, ConvNorm
from p2net_tf.models import pretrained
from p2net_tf.models.backbones import STRIDES, ResNet
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT, NetworkInput, PoseNetwork
from p2net_tf.models.pyramid_net import PyramidNet
from p2net_tf.models.refine_net import RefineNet

GLOBAL_OUTPUTS = tuple(f"global_{stride}" for stride in STRIDES)


@keras.saving.register_keras_serializable("p2net_tf")
class CPN(PoseNetwork):
    """`[B, H, W, 3] -> {"global_4", "global_8", "global_16", "global_32", "heatmaps"}`, each
    `[B, H / 4, W / 4, K]`.

    As in the authors' tf-cpn. (In pytorch-cpn every bottleneck of the RefineNet has a projection, which makes
    0.4 M parameters more than the 27.0 M that are published.) One thing is done in another order: the 1x1
    convolution in front of each sum stands before the upsampling, where it costs a quarter. The two commute.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        backbone: `resnet18`, `resnet50`, `resnet101`, `resnet152` or `small`.
        width: channels of every resolution; 256 as published.
        backbone_width: channels at stride 4 of the `small` backbone.
        backbone_blocks: residual blocks per resolution of the `small` backbone.
        refine_bottlenecks: bottlenecks per resolution of the RefineNet, finest first.
        stride_in_1x1: where bottlenecks stride; true for the weights of keras.applications.
        weights: `imagenet` fetches those of the backbone, and builds the network as they need it.
        common: further arguments of `NetworkInput`.

    Raises:
        ValueError: `input_size` is not a multiple of 32, or an unknown backbone.
        PretrainedError: the ImageNet weights cannot be had.
    """

    uses_ohkm = True

    def __init__(
        self,
        num_keypoints: int,
        input_size=(256, 192),
        backbone: str = "resnet50",
        width: int = 256,
        backbone_width: int = 32,
        backbone_blocks: int = 2,
        refine_bottlenecks=(0, 1, 2, 3),
        stride_in_1x1: bool = False,
        weights: str | None = None,
        name: str = "cpn",
        **common,
    ):
        needed = pretrained.needed_arguments(backbone, weights)
        stride_in_1x1 = needed.pop("stride_in_1x1", stride_in_1x1)
        given = NetworkInput(num_keypoints, input_size, name, **(needed | common))
        options = given.layer_options
        pyramid = PyramidNet(
            backbone, width, backbone_width, backbone_blocks, stride_in_1x1, name="pyramid_net", **options
        )(given.normalized)
        features = _top_down(pyramid, width, options["dtype"])
        outputs = {
            output: given.heatmaps(
                ConvNorm(width, 1, name=f"{output}_features", **options)(x),
                output,
                kernel_size=3,
                factor=stride // STRIDES[0],
            )
            for output, stride, x in zip(GLOBAL_OUTPUTS, STRIDES, features, strict=True)
        }
        outputs[HEATMAPS_OUTPUT] = RefineNet(
            num_keypoints,
            width,
            refine_bottlenecks,
            apm=False,
            dilation_rate=1,
            gathered_width=width,
            name="refine_net",
            **options,
        )(features)
        super().__init__(
            given,
            outputs,
            backbone=backbone,
            width=width,
            backbone_width=backbone_width,
            backbone_blocks=backbone_blocks,
            refine_bottlenecks=list(refine_bottlenecks),
            stride_in_1x1=stride_in_1x1,
        )
        if weights is not None:
            pretrained.load_imagenet_weights(self.backbone, backbone)

    @property
    def backbone(self) -> ResNet:
        return self.get_layer("pyramid_net").backbone


def _top_down(pyramid: list, width: int, dtype) -> list:
    """Every resolution plus what came down from the next coarser one; finest first, as given."""
    coarsest, finer = pyramid[-1], pyramid[-2::-1]
    features = [coarsest]
    for stride, x in zip(STRIDES[-2::-1], finer, strict=True):
        coarse = keras.layers.Conv2D(width, 1, dtype=dtype, name=f"merge_{stride}")(features[0])
        grown = BilinearUpsampling(2, dtype=dtype, name=f"grow_{stride}")(coarse)
        features.insert(0, keras.layers.Add(dtype=dtype, name=f"sum_{stride}")([x, grown]))
    return features
