"""Bilinear upsampling that is right at second order."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("p2net_tf")
class BilinearUpsampling(keras.layers.Layer):
    """Upsamples by an integer factor. `[B, H, W, C] -> [B, H * factor, W * factor, C]`.

    Bilinear interpolation with half-pixel centres (the project's coordinates scale purely, so positions in
    the result are `factor` times those in the input), values beyond the border repeat it. Written as one
    matrix product per axis: `tf.image.resize` and `UpSampling2D("bilinear")` are silently wrong at second
    order, a product is not.

    Args:
        factor: whole number of output pixels per input pixel and axis.

    Raises:
        ValueError: height or width of the input is not known at build time.
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        if None in input_shape[1:3]:
            raise ValueError(f"BilinearUpsampling needs a known height and width, got {input_shape}")
        self._rows, self._columns = (interpolation_matrix(n, self.factor) for n in input_shape[1:3])
        self.built = True

    def call(self, inputs):
        if self.factor == 1:
            return inputs
        rows, columns = ops.cast(self._rows, inputs.dtype), ops.cast(self._columns, inputs.dtype)
        _, height, width, channels = inputs.shape
        # Products of what lies in memory as it is: `einsum` transposes, and takes 2 to 4 times as long.
        tall = ops.matmul(rows, ops.reshape(inputs, (-1, height, width * channels)))
        return ops.matmul(columns, ops.reshape(tall, (-1, height * self.factor, width, channels)))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height * self.factor, width * self.factor, channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def interpolation_matrix(length: int, factor: int) -> np.ndarray:
    """`[length * factor, length]` weights of linear interpolation with half-pixel centres."""
    position = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
    distance = np.abs(position[:, None] - np.arange(length)[None, :])
    return np.maximum(0.0, 1.0 - distance)
