"""Transposed convolution, batch normalization, ReLU: the learned upsampling of SimpleBaseline."""

from __future__ import annotations

import keras

from p2net_tf.layers.convolution import NormalizedConvolution


@keras.saving.register_keras_serializable("p2net_tf")
class DeconvNorm(NormalizedConvolution):
    """Doubles the resolution. `[B, H, W, C] -> [B, 2H, 2W, filters]` (Xiao et al., ECCV 2018, section 2).

    Args:
        filters: output channels.
        kernel_size: even side length of the kernel.
        synchronized: batch statistics over all replicas.
    """

    def __init__(self, filters: int, kernel_size: int = 4, synchronized: bool = False, **kwargs):
        super().__init__(activation="relu", synchronized=synchronized, **kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.conv = keras.layers.Conv2DTranspose(
            filters,
            kernel_size,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        return self.activate(self.norm(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape):
        return tuple(self.conv.compute_output_shape(input_shape))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "synchronized": self.synchronized,
        }
