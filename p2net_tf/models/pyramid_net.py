"""The feature pyramid at one width that P2Net (section 3.2 of the paper) and CPN begin with."""

from __future__ import annotations

import keras

from p2net_tf.layers import ConvNorm
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.models.backbones import STRIDES, ResNet, backbone_spec


@keras.saving.register_keras_serializable("p2net_tf")
class PyramidNet(FreezableLayer):
    """ResNet C2-C5, each brought to the same number of channels by a 1x1 convolution.

    `[B, H, W, 3] -> [[B, H / s, W / s, width] for s in STRIDES]`.

    Args:
        backbone: name of the ResNet (`p2net_tf.models.backbones`).
        width: channels of every resolution.
        backbone_width: channels at stride 4 of the `small` backbone.
        backbone_blocks: residual blocks per resolution of the `small` backbone.
        stride_in_1x1: see `ResidualBlock`; true for the weights of keras.applications.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self,
        backbone: str,
        width: int,
        backbone_width: int = 32,
        backbone_blocks: int = 2,
        stride_in_1x1: bool = False,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width = width
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self._config = {
            "backbone": backbone,
            "width": width,
            "backbone_width": backbone_width,
            "backbone_blocks": backbone_blocks,
            "stride_in_1x1": stride_in_1x1,
            "synchronized": synchronized,
        }
        spec = backbone_spec(backbone, backbone_width, backbone_blocks)
        self.backbone = ResNet(spec, stride_in_1x1=stride_in_1x1, name=backbone, **options)
        self.laterals = [ConvNorm(width, 1, name=f"lateral_{stride}", **options) for stride in STRIDES]

    def build(self, input_shape):
        self.backbone.build(input_shape)
        for lateral, shape in zip(
            self.laterals, self.backbone.compute_output_shape(input_shape), strict=True
        ):
            lateral.build(shape)
        self.built = True

    def call(self, inputs, training=None):
        features = self.backbone(inputs, training=training)
        return [lateral(x, training=training) for lateral, x in zip(self.laterals, features, strict=True)]

    def compute_output_shape(self, input_shape):
        return [(*shape[:-1], self.width) for shape in self.backbone.compute_output_shape(input_shape)]

    def get_config(self):
        return {**super().get_config(), **self._config}
