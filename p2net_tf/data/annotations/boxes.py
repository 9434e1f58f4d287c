"""Person boxes: as `bbox` says, else around the keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2net_tf.data.annotations.areas import polygons_of
from p2net_tf.data.annotations.reading import POINT_BOX, BoxForm
from p2net_tf.data.annotations.values import numbers
from p2net_tf.keypoints.visibility import NOT_LABELED

KEYPOINT_MARGIN = 0.1
"""A box around keypoints is larger than their extent by this fraction of its longer side, on every side."""


def as_xywh(box: np.ndarray, form: BoxForm) -> np.ndarray:
    """`[..., 4]` boxes of a form as x, y of the corner, width and height."""
    if form == "xywh":
        return box
    first, second = box[..., :2], box[..., 2:]
    if form == "xyxy":
        second = second - first
    elif form == "cxcywh":
        first = first - second / 2
    return np.concatenate([first, second], axis=-1)


def as_form(box: np.ndarray, form: BoxForm) -> np.ndarray:
    """`[..., 4]` xywh boxes in another form: the opposite of `as_xywh`."""
    first, second = box[..., :2], box[..., 2:]
    if form == "xyxy":
        second = first + second
    elif form == "cxcywh":
        first = first + second / 2
    return np.concatenate([first, second], axis=-1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[...]` IoU of xywh boxes `[..., 4]`, one by one; 0 for what is no box."""
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., :2] + boxes[..., 2:], others[..., :2] + others[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    total = np.prod(boxes[..., 2:], axis=-1) + np.prod(others[..., 2:], axis=-1) - shared
    return np.where(total > 0, shared / np.where(total > 0, total, 1), 0.0)


def read_box(value, form: BoxForm = "xywh") -> np.ndarray | None:
    """`[4]` xywh of a field `bbox`; None where it is none or has no area."""
    found = numbers(value, 4)
    if found is None:
        return None
    box = as_xywh(found, form)
    return box if box[2] > 0 and box[3] > 0 else None


def box_of_keypoints(keypoints: np.ndarray, point_box: float = POINT_BOX) -> np.ndarray | None:
    """`[4]` xywh around labeled `[K, 3]` keypoints with a margin; None where none is labeled."""
    xy = keypoints[keypoints[:, 2] > NOT_LABELED, :2]
    if not len(xy):
        return None
    low, high = xy.min(axis=0), xy.max(axis=0)
    extent = (high - low).max()
    if extent <= 0:
        return np.concatenate([low - point_box / 2, [point_box, point_box]])
    margin = KEYPOINT_MARGIN * extent
    return np.concatenate([low - margin, high - low + 2 * margin])


def box_of_segments(segmentation: Any) -> np.ndarray | None:
    """`[4]` xywh around polygons `[[x, y, ...], ...]`; None where there are none."""
    if not isinstance(segmentation, list):
        return None
    lists = [polygon for polygon in polygons_of(segmentation) if isinstance(polygon, list)]
    polygons = [numbers(polygon, len(polygon)) for polygon in lists]
    points = [polygon.reshape(-1, 2) for polygon in polygons if polygon is not None and len(polygon) % 2 == 0]
    if not points or not sum(map(len, points)):
        return None
    points = np.concatenate(points)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low, high - low]) if np.all(high > low) else None
