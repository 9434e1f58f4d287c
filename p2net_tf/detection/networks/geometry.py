"""Boxes as networks have them: corners `xyxy`, left, top, right, bottom in pixels of the padded picture."""

from __future__ import annotations

import keras
from keras import ops

_bounding_boxes = keras.utils.bounding_boxes


def corners_of(boxes):
    """`xywh [..., 4]`, as everywhere outside of the networks, to `xyxy [..., 4]`."""
    return _bounding_boxes.convert_format(boxes, "xywh", "xyxy")


def windows_of(corners):
    """`xyxy [..., 4]` to `xywh [..., 4]`."""
    return _bounding_boxes.convert_format(corners, "xyxy", "xywh")


def iou(boxes, others):
    """Intersection over union, `[B, N, 4]` and `[B, M, 4]` to `[B, N, M]`; 0 where both have no area."""
    return _bounding_boxes.compute_iou(boxes, others, "xyxy")


def covered_share(boxes, others):
    """Share of each of `boxes [B, N, 4]` that lies in each of `others [B, M, 4]`, `[B, N, M]`."""
    low = ops.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    high = ops.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    intersection = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    return ops.divide_no_nan(intersection, area(boxes)[..., None])


def area(boxes):
    """`[..., 4] -> [...]` in square pixels."""
    return ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def clip(boxes, sizes):
    """`boxes [B, ..., 4]` cut off at the borders of their pictures.

    Args:
        sizes: `[B, 2]` height and width of each picture, without padding.
    """
    sizes = ops.cast(sizes, boxes.dtype)
    limits = ops.stack([sizes[:, 1], sizes[:, 0]] * 2, axis=-1)
    limits = ops.reshape(limits, (-1, *[1] * (len(boxes.shape) - 2), 4))
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def rows(values, indices):
    """`values [B, M, ...]` at `indices [B, A]` of their own picture, `[B, A, ...]`."""
    for _ in values.shape[2:]:
        indices = indices[..., None]
    return ops.take_along_axis(values, indices, axis=1)
