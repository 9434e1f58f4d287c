"""Anchors: the boxes that a network's deltas start from (Ren et al., NIPS 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops


@dataclass(frozen=True)
class Anchors:
    """At every pixel of every map, one box of each size and ratio.

    Attributes:
        strides: image pixels per pixel of each map.
        sizes: for each map, the square roots of the areas in pixels.
        ratios: heights divided by widths.
        offset: where in its pixel the centre of a box lies: 0.5 in the middle; torchvision's, mmdetection's
            and detectron2's weights are of 0, the corner.
        rounded: whether half the sides are rounded to whole pixels, as torchvision does.
    """

    strides: tuple[int, ...]
    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    offset: float = 0.5
    rounded: bool = False

    def __post_init__(self):
        if len(self.strides) != len(self.sizes):
            raise ValueError(f"anchor sizes of {len(self.sizes)} maps, strides of {len(self.strides)}")
        if len({len(sizes) for sizes in self.sizes}) != 1:
            raise ValueError("every map must have the same number of anchor sizes")

    @property
    def per_position(self) -> int:
        return len(self.sizes[0]) * len(self.ratios)

    def __call__(self, grids: Sequence) -> list:
        """`[h * w * per_position, 4]` xyxy of each map.

        Positions run row by row; at each, the ratios in order, each with all sizes.

        Args:
            grids: `(h, w)` of each map, numbers or scalar tensors.
        """
        return [self._of_map(level, height, width) for level, (height, width) in enumerate(grids)]

    def _of_map(self, level: int, height, width):
        stride = self.strides[level]
        y = (ops.arange(height, dtype="float32") + self.offset) * stride
        x = (ops.arange(width, dtype="float32") + self.offset) * stride
        y, x = ops.meshgrid(y, x, indexing="ij")
        centres = ops.reshape(ops.stack([x, y, x, y], axis=-1), (-1, 1, 4))
        return ops.reshape(centres + self.around_origin(level), (-1, 4))

    def around_origin(self, level: int) -> np.ndarray:
        """`[per_position, 4]` float32 xyxy of one map's anchors, centred at (0, 0)."""
        roots = np.sqrt(np.asarray(self.ratios, np.float32))
        sizes = np.asarray(self.sizes[level], np.float32)
        halves = np.stack([(1 / roots)[:, None] * sizes, roots[:, None] * sizes], axis=-1).reshape(-1, 2) / 2
        halves = np.rint(halves) if self.rounded else halves
        return np.concatenate([-halves, halves], axis=-1)
