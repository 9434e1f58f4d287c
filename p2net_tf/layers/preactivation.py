"""Pre-activation bottleneck (He et al., ECCV 2016), the residual of the Stacked Hourglass."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.layers.convolution import ConvNorm
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.normalization import BatchNormalization


@keras.saving.register_keras_serializable("p2net_tf")
class PreActivationBottleneck(FreezableLayer):
    """Residual bottleneck that normalizes before it convolves. `[B, H, W, C] -> [B, H, W, filters]`.

    Batch normalization, ReLU and a 1x1 convolution to `filters / 2`, the same with a 3x3, and with a 1x1 back
    to `filters`; plus the input as it is, through a 1x1 convolution where the channels differ. (A convolution
    that a normalization follows has no bias here; Newell's code has one, which the normalization takes off.)

    Args:
        filters: output channels, even.
        synchronized: batch statistics over all replicas.
    """

    def __init__(self, filters: int, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.synchronized = synchronized
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self.norm = BatchNormalization(name="norm", **options)
        self.reduce = ConvNorm(filters // 2, 1, name="reduce", **options)
        self.conv = ConvNorm(filters // 2, 3, name="conv", **options)
        self.expand = self._plain("expand")
        self.project = None

    def _plain(self, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            self.filters, 1, kernel_initializer="he_normal", dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape):
        inner = (*input_shape[:-1], self.filters // 2)
        self.norm.build(input_shape)
        self.reduce.build(input_shape)
        self.conv.build(inner)
        self.expand.build(inner)
        if input_shape[-1] != self.filters:
            self.project = self._plain("project")
            self.project.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        x = ops.relu(self.norm(inputs, training=training))
        x = self.reduce(x, training=training)
        x = self.conv(x, training=training)
        shortcut = inputs if self.project is None else self.project(inputs)
        return self.expand(x) + shortcut

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "synchronized": self.synchronized}
