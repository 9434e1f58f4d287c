"""Upsampling that is right at second order, and in operations of its own where a runtime has better ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
import numpy as np
from keras import ops

_RESIZES: ContextVar[bool] = ContextVar("resizes", default=False)


@contextmanager
def resize_operations() -> Iterator[None]:
    """While open, the layers below trace into a runtime's own resizing of images: for inference alone.

    The numbers are the same. Runtimes do it faster than the products and repeats that training needs, and
    LiteRT in eight bits, too; but its gradients of a gradient are wrong, or not there.
    """
    before = _RESIZES.set(True)
    try:
        yield
    finally:
        _RESIZES.reset(before)


class _Upsampling(keras.layers.Layer):
    """What both kinds share. Sub-classes have `upsample`."""

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs if self.factor == 1 else self.upsample(inputs)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and side * self.factor for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("p2net_tf")
class BilinearUpsampling(_Upsampling):
    """Upsamples by an integer factor. `[B, H, W, C] -> [B, H * factor, W * factor, C]`.

    Bilinear interpolation with half-pixel centres (the project's coordinates scale purely, so positions in
    the result are `factor` times those in the input), values beyond the border repeat it. Written as one
    matrix product per axis: `tf.image.resize` and `UpSampling2D("bilinear")` are silently wrong at second
    order, a product is not. What is exported has the runtime's own (`resize_operations`).

    Args:
        factor: whole number of output pixels per input pixel and axis.

    Raises:
        ValueError: height or width of the input is not known at build time.
    """

    def build(self, input_shape):
        if None in input_shape[1:3]:
            raise ValueError(f"BilinearUpsampling needs a known height and width, got {input_shape}")
        self._rows, self._columns = (interpolation_matrix(n, self.factor) for n in input_shape[1:3])
        self.built = True

    def upsample(self, inputs):
        if _RESIZES.get():
            return _resized(inputs, self.factor, "bilinear")
        rows, columns = ops.cast(self._rows, inputs.dtype), ops.cast(self._columns, inputs.dtype)
        _, height, width, channels = inputs.shape
        # Products of what lies in memory as it is: `einsum` transposes, and takes 2 to 4 times as long.
        tall = ops.matmul(rows, ops.reshape(inputs, (-1, height, width * channels)))
        return ops.matmul(columns, ops.reshape(tall, (-1, height * self.factor, width, channels)))


@keras.saving.register_keras_serializable("p2net_tf")
class NearestUpsampling(_Upsampling):
    """Repeats every pixel. `[B, H, W, C] -> [B, H * factor, W * factor, C]`.

    Args:
        factor: how often per axis.
    """

    def upsample(self, inputs):
        return repeat_pixels(inputs, self.factor)


def repeat_pixels(x, factor: int):
    """`[B, H, W, C] -> [B, H * factor, W * factor, C]`; for maps of any size."""
    if factor == 1:
        return x
    if _RESIZES.get():
        return _resized(x, factor, "nearest")
    return ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)


def _resized(x, factor: int, interpolation: str):
    _, height, width, _ = ops.shape(x)
    size = (height * factor, width * factor)
    return ops.image.resize(x, size, interpolation, data_format="channels_last")


def interpolation_matrix(length: int, factor: int) -> np.ndarray:
    """`[length * factor, length]` weights of linear interpolation with half-pixel centres."""
    position = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
    distance = np.abs(position[:, None] - np.arange(length)[None, :])
    return np.maximum(0.0, 1.0 - distance)
