"""RoIAlign (He et al., ICCV 2017): features of a box, resampled to a fixed size without rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from p2net_tf.detection.networks import geometry

CANONICAL_SIZE, CANONICAL_STRIDE = 224, 16
"""A box of this size in pixels is looked at on the map of this stride (Lin et al., CVPR 2017, equation 1)."""
_LEVEL_EPSILON = 1e-6


def roi_align(
    maps: Sequence,
    boxes,
    strides: Sequence[int],
    size: int = 7,
    sampling: int = 2,
    aligned: bool = True,
):
    """`maps [[B, h, w, C], ...]` in `boxes [B, R, 4]`, `[B, R, size, size, C]`.

    Each of `size * size` cells of a box is the mean of `sampling * sampling` bilinear samples. A large box
    is looked at on a coarse map, a small one on a fine map. Written of gathers, and so it goes to LiteRT,
    which has no `crop_and_resize`; on one small map of matrix products, whose gradient is no scatter: a third
    of the time on a CPU.

    Args:
        boxes: xyxy in pixels of the picture.
        strides: picture pixels per pixel of each map, each twice the one before.
        sampling: a fixed number; the sampling of torchvision that depends on the box (`-1`) is not offered.
        aligned: whether the centre of the first pixel of a map lies at half its stride, as everywhere in this
            project; False is for published weights, whose features lie half a pixel off.
    """
    if len(maps) == 1 and _is_small(maps[0], size):
        return _by_products(maps[0], boxes, strides[0], size, sampling, aligned)
    table, shapes = _table(maps)
    level = _level_of(boxes, strides)
    width = ops.take(ops.stack([w for _, w, _ in shapes]), level)
    height = ops.take(ops.stack([h for h, _, _ in shapes]), level)
    first = ops.take(ops.stack([start for _, _, start in shapes]), level)
    scale = ops.take(np.asarray([1 / stride for stride in strides], np.float32), level)
    scaled = ops.cast(boxes, "float32") * scale[..., None] - (0.5 if aligned else 0.0)
    y = _along(scaled[..., 1], scaled[..., 3], height, size, sampling, aligned)
    x = _along(scaled[..., 0], scaled[..., 2], width, size, sampling, aligned)
    picture = ops.arange(ops.shape(boxes)[0], dtype="int32")[:, None] * (ops.shape(table)[1])
    table = ops.reshape(table, (-1, table.shape[-1]))
    start = (picture + first)[..., None, None]
    total = 0.0
    # One sample of every cell at a time: all at once would take `4 * sampling ** 2` times the memory.
    for rows, row_weights in y:
        for columns, column_weights in x:
            places = start + rows[..., :, None] * width[..., None, None] + columns[..., None, :]
            weights = row_weights[..., :, None] * column_weights[..., None, :]
            total = total + ops.take(table, places, axis=0) * ops.cast(weights, table.dtype)[..., None]
    return total / sampling**2


def _is_small(pixels, size: int) -> bool:
    """Whether rows of the map are hardly longer than those of a box, so that products take no more memory."""
    return all(side is not None and side <= 2 * size for side in pixels.shape[1:3])


def _by_products(pixels, boxes, stride: int, size: int, sampling: int, aligned: bool):
    """The mean of the samples is a mean along y of means along x: one matrix for each axis of each box."""
    scaled = ops.cast(boxes, "float32") / stride - (0.5 if aligned else 0.0)
    _, height, width, _ = pixels.shape

    def matrix(low, high, length: int):
        lengths = ops.full(ops.shape(low), length, dtype="int32")
        samples = _along(low, high, lengths, size, sampling, aligned)
        of_pixels = [ops.one_hot(place, length, dtype="float32") * w[..., None] for place, w in samples]
        return ops.cast(sum(of_pixels) / sampling, pixels.dtype)

    rows = ops.einsum("brih,bhwc->briwc", matrix(scaled[..., 1], scaled[..., 3], height), pixels)
    return ops.einsum("brjw,briwc->brijc", matrix(scaled[..., 0], scaled[..., 2], width), rows)


def _table(maps):
    """All pixels of a picture's maps in one list, `[B, P, C]`, and `(height, width, first pixel)` of each."""
    shapes, start, flat = [], 0, []
    for x in maps:
        batch, height, width, channels = ops.shape(x)
        shapes.append((height, width, start))
        start = start + height * width
        flat.append(ops.reshape(x, (batch, height * width, channels)))
    return ops.concatenate(flat, axis=1), shapes


def _level_of(boxes, strides):
    """`[B, R]` int32 index of the map that each box is looked at on."""
    root = ops.sqrt(ops.maximum(geometry.area(boxes), 0.0))
    level = ops.floor(ops.log2(root / CANONICAL_SIZE + 1e-38) + _LEVEL_EPSILON)
    level = level + np.log2(CANONICAL_STRIDE / strides[0])
    return ops.cast(ops.clip(level, 0, len(strides) - 1), "int32")


def _along(low, high, length, size: int, sampling: int, aligned: bool) -> list:
    """Samples of the cells along one axis of the boxes.

    Args:
        low, high: `[B, R]` borders in pixels of the map, whose centres are whole numbers.
        length: `[B, R]` int32 pixels of the map.

    Returns:
        For each sample of a cell, and for the pixel below and the one above it, `(pixel [B, R, size] int32,
        weight [B, R, size])`. A sample beyond the border by more than a pixel weighs nothing.
    """
    extent = high - low
    cell = (extent if aligned else ops.maximum(extent, 1.0)) / size
    last = ops.cast(length, "float32")[..., None] - 1
    found = []
    for sample in range(sampling):
        steps = np.arange(size, dtype=np.float32) + (sample + 0.5) / sampling
        position = low[..., None] + cell[..., None] * steps
        inside = ops.cast(ops.logical_and(position >= -1, position <= last + 1), "float32")
        position = ops.clip(position, 0.0, last)
        below = ops.floor(position)
        share = position - below
        above = ops.minimum(below + 1, last)
        found.append((ops.cast(below, "int32"), (1 - share) * inside))
        found.append((ops.cast(above, "int32"), share * inside))
    return found
