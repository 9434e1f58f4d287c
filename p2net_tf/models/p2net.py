"""P2Net: PyramidNet -> ParallelNet -> RefineNet (section 3, figure 2 of the paper)."""

from __future__ import annotations

import keras

from p2net_tf.layers import BilinearUpsampling, ExchangeUnit
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.models import pretrained
from p2net_tf.models.backbones import STRIDES, ResNet
from p2net_tf.models.pose_network import (
    HEATMAPS_OUTPUT,
    NetworkInput,
    PoseNetwork,
    heatmap_dtype,
    heatmap_head,
)
from p2net_tf.models.pyramid_net import PyramidNet
from p2net_tf.models.refine_net import RefineNet

PARALLEL_OUTPUTS = tuple(f"parallel_{stride}" for stride in STRIDES)


@keras.saving.register_keras_serializable("p2net_tf")
class ParallelNet(FreezableLayer):
    """Repeated exchange at constant resolution (equation 2), then heatmaps from every resolution.

    Takes the list of PyramidNet and returns `(features, heatmaps)`: the list of the same shapes, and four
    `[B, H / 4, W / 4, K]`, one per resolution, upsampled to stride 4.

    Args:
        num_keypoints: K.
        width: channels of every resolution.
        exchange_units: how often resolutions are exchanged; the paper's stages s, s + 1, s + 2.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self, num_keypoints: int, width: int, exchange_units: int = 3, synchronized: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_keypoints = num_keypoints
        self.width = width
        self.synchronized = synchronized
        self.exchanges = [
            ExchangeUnit(
                [width] * len(STRIDES),
                synchronized=synchronized,
                dtype=self.dtype_policy,
                name=f"exchange_{number + 1}",
            )
            for number in range(exchange_units)
        ]
        self.heads = [heatmap_head(num_keypoints, f"head_{stride}", self.dtype_policy) for stride in STRIDES]
        precise = heatmap_dtype(self.dtype_policy)
        self.upsamplings = [BilinearUpsampling(stride // STRIDES[0], dtype=precise) for stride in STRIDES]

    def build(self, input_shape):
        for exchange in self.exchanges:
            exchange.build(input_shape)
        for head, upsampling, shape in zip(self.heads, self.upsamplings, input_shape, strict=True):
            head.build(shape)
            upsampling.build(head.compute_output_shape(shape))
        self.built = True

    def call(self, inputs, training=None):
        features = inputs
        for exchange in self.exchanges:
            features = exchange(features, training=training)
        heatmaps = [
            upsample(head(x))
            for upsample, head, x in zip(self.upsamplings, self.heads, features, strict=True)
        ]
        return features, heatmaps

    def compute_output_shape(self, input_shape):
        heatmaps = (*input_shape[0][:-1], self.num_keypoints)
        return list(input_shape), [heatmaps] * len(STRIDES)

    def get_config(self):
        return {
            **super().get_config(),
            "num_keypoints": self.num_keypoints,
            "width": self.width,
            "exchange_units": len(self.exchanges),
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable("p2net_tf")
class P2Net(PoseNetwork):
    """The network of the paper, from an RGB crop in 0..1 to heatmaps at stride 4.

    `[B, H, W, 3] -> {"parallel_4", "parallel_8", "parallel_16", "parallel_32", "heatmaps"}`, each
    `[B, H / 4, W / 4, K]` float32. `heatmaps` is the prediction; the others are the ParallelNet's.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        backbone: `resnet18`, `resnet50`, `resnet101`, `resnet152` or `small`.
        width: channels of every resolution of ParallelNet and RefineNet.
        backbone_width: channels at stride 4 of the `small` backbone.
        backbone_blocks: residual blocks per resolution of the `small` backbone.
        exchange_units: exchange units of the ParallelNet.
        refine_bottlenecks: dilated bottlenecks per resolution of the RefineNet, finest first.
        apm: Attention Partial Modules on or off (Table 5).
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
        width: int = 128,
        backbone_width: int = 32,
        backbone_blocks: int = 2,
        exchange_units: int = 3,
        refine_bottlenecks=(0, 1, 2, 3),
        apm: bool = True,
        stride_in_1x1: bool = False,
        weights: str | None = None,
        name: str = "p2net",
        **common,
    ):
        needed = pretrained.needed_arguments(backbone, weights)
        stride_in_1x1 = needed.pop("stride_in_1x1", stride_in_1x1)
        given = NetworkInput(num_keypoints, input_size, name, **(needed | common))
        options = given.layer_options
        pyramid = PyramidNet(
            backbone, width, backbone_width, backbone_blocks, stride_in_1x1, name="pyramid_net", **options
        )(given.normalized)
        features, heatmaps = ParallelNet(
            num_keypoints, width, exchange_units, name="parallel_net", **options
        )(pyramid)
        refined = RefineNet(num_keypoints, width, refine_bottlenecks, apm, name="refine_net", **options)(
            features
        )
        super().__init__(
            given,
            dict(zip(PARALLEL_OUTPUTS, heatmaps, strict=True)) | {HEATMAPS_OUTPUT: refined},
            backbone=backbone,
            width=width,
            backbone_width=backbone_width,
            backbone_blocks=backbone_blocks,
            exchange_units=exchange_units,
            refine_bottlenecks=list(refine_bottlenecks),
            apm=apm,
            stride_in_1x1=stride_in_1x1,
        )
        if weights is not None:
            pretrained.load_imagenet_weights(self.backbone, backbone)

    @property
    def backbone(self) -> ResNet:
        return self.get_layer("pyramid_net").backbone
