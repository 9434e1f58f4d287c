"""Person boxes: as `bbox` says, else around the keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2net_tf.data.annotations.areas import polygons_of
from p2net_tf.data.annotations.reading import POINT_BOX, BoxForm
from p2net_tf.data.annotations.values import as_list, numbers
from p2net_tf.keypoints.visibility import NOT_LABELED

KEYPOINT_MARGIN = 0.1
"""A box around keypoints is larger than their extent by this fraction of its longer side, on every side."""


_NAMES: tuple[tuple[tuple[str, str, str, str], BoxForm], ...] = (
    (("x", "y", "width", "height"), "xywh"),
    (("x", "y", "w", "h"), "xywh"),
    (("left", "top", "width", "height"), "xywh"),
    (("x1", "y1", "x2", "y2"), "xyxy"),
    (("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    (("left", "top", "right", "bottom"), "xyxy"),
)
"""What the numbers of a box that is an object are called, in lower case."""


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
    """`[4]` xywh of a field `bbox`; None where it is none or has no area.

    Also of objects, whose names say what they are (`{x, y, width, height}`, `{x1, y1, x2, y2}`), of two
    corners in lists of their own.
    """
    box = _of_object(value) if isinstance(value, dict) else _of_list(value, form)
    if box is None:
        return None
    return box if box[2] > 0 and box[3] > 0 else None


def read_mirrored_box(value: Any) -> np.ndarray | None:
    """`[4]` xywh of a `bbox` whose width or height is negative, as drawn from another corner; else None."""
    box = numbers(value, 4)
    if box is None or not np.all(box[2:] != 0) or np.all(box[2:] > 0):
        return None
    return np.concatenate([box[:2] + np.minimum(box[2:], 0), np.abs(box[2:])])


def _of_list(value: Any, form: BoxForm) -> np.ndarray | None:
    value = as_list(value)
    if isinstance(value, list) and len(value) == 2:  # [[x1, y1], [x2, y2]]
        corners = [numbers(corner, 2) for corner in value]
        return None if any(corner is None for corner in corners) else as_xywh(np.concatenate(corners), "xyxy")
    found = numbers(value, 4)
    return None if found is None else as_xywh(found, form)


def _of_object(value: dict) -> np.ndarray | None:
    named = {str(name).strip().lower(): part for name, part in value.items()}
    for names, form in _NAMES:
        found = numbers([named.get(name) for name in names], 4)
        if found is not None:
            return as_xywh(found, form)
    return None


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
