"""Feature pyramid network (Lin et al., CVPR 2017): semantics from coarse maps into fine ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
from keras import ops

from p2net_tf.layers.resampling import repeat_pixels


@keras.saving.register_keras_serializable("p2net_tf")
class FeaturePyramid(keras.layers.Layer):
    """`[[B, H / s, W / s, C_s] for s in strides] -> [[B, H / s, W / s, width] for s in output_strides]`.

    A 1x1 convolution brings each map to `width` channels; from the coarsest on, each is added to the next
    finer one (nearest upsampling, none where both have the same stride, as in DetNet); a 3x3 convolution
    gives the result. All have biases and no normalization.

    Args:
        width: channels of every resulting map.
        strides: image pixels per pixel of the maps that come in, finest first, each a multiple of the one
            before.
        top: coarser maps that are added at the end: `pool` every second pixel of the last one (Faster R-CNN),
            `convolutions` two strided 3x3 convolutions of it, with a ReLU between (RetinaNet), None no map.

    Attributes:
        output_strides: of the maps that leave.

    Raises:
        ValueError: another `top`, or strides that are not multiples.
    """

    def __init__(
        self,
        width: int,
        strides: Sequence[int],
        top: Literal["pool", "convolutions"] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width = width
        self.strides = tuple(strides)
        self.top = top
        if top not in (None, "pool", "convolutions"):
            raise ValueError(f"top '{top}' of a feature pyramid; take pool, convolutions or None")
        if any(coarse % fine for fine, coarse in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"strides {self.strides} of a feature pyramid: each must be a multiple")
        levels = range(len(self.strides))
        self.laterals = [self._convolution(1, f"lateral_{level}") for level in levels]
        self.outputs = [self._convolution(3, f"output_{level}") for level in levels]
        self.top_convolutions = (
            [self._convolution(3, f"top_{number}", strides=2) for number in (1, 2)]
            if top == "convolutions"
            else []
        )

    def _convolution(self, kernel_size: int, name: str, strides: int = 1) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            self.width,
            kernel_size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            kernel_initializer="glorot_uniform",
            dtype=self.dtype_policy,
            name=name,
        )

    @property
    def output_strides(self) -> tuple[int, ...]:
        extra = {None: 0, "pool": 1, "convolutions": 2}[self.top]
        return (*self.strides, *(self.strides[-1] * 2**step for step in range(1, extra + 1)))

    def build(self, input_shape):
        for lateral, output, shape in zip(self.laterals, self.outputs, input_shape, strict=True):
            lateral.build(shape)
            output.build((*shape[:-1], self.width))
        coarsest = (*input_shape[-1][:-1], self.width)
        for convolution in self.top_convolutions:
            convolution.build(_padded(coarsest))
            coarsest = convolution.compute_output_shape(_padded(coarsest))
        self.built = True

    def call(self, inputs):
        maps = [lateral(x) for lateral, x in zip(self.laterals, inputs, strict=True)]
        for level in range(len(maps) - 1, 0, -1):
            factor = self.strides[level] // self.strides[level - 1]
            maps[level - 1] = maps[level - 1] + repeat_pixels(maps[level], factor)
        maps = [output(x) for output, x in zip(self.outputs, maps, strict=True)]
        return [*maps, *self._coarser(maps[-1])]

    def _coarser(self, x) -> list:
        if self.top == "pool":
            return [x[:, ::2, ::2]]
        coarser = []
        for number, convolution in enumerate(self.top_convolutions):
            # Both sides are padded alike, as in the published networks.
            x = ops.pad(ops.relu(x) if number else x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = convolution(x)
            coarser.append(x)
        return coarser

    def compute_output_shape(self, input_shape):
        shapes = [(*shape[:-1], self.width) for shape in input_shape]
        for _ in self.output_strides[len(shapes) :]:
            batch, *sides, width = shapes[-1]
            shapes.append((batch, *(side and -(-side // 2) for side in sides), width))
        return shapes

    def get_config(self):
        return {**super().get_config(), "width": self.width, "strides": list(self.strides), "top": self.top}


def _padded(shape):
    batch, *sides, channels = shape
    return (batch, *(side and side + 2 for side in sides), channels)
