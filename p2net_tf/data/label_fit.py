"""Whether labels lie in pictures of given sizes."""

from __future__ import annotations

import numpy as np

from p2net_tf.data.samples import Samples
from p2net_tf.keypoints.visibility import NOT_LABELED

FRACTION = 1.6
"""No coordinate of a set of fractions is larger: half a pixel is added to each on reading, and boxes of
detectors leave their pictures a bit."""
PERCENT = 101.0
THOUSANDTHS = 900.0, 1001.0
"""Between these is the largest number of a set in thousandths of the pictures: somebody stands at an end."""
SMALL_PICTURE = 150.0
"""Pixels; in smaller pictures coordinates up to 100 say nothing."""
FEW = 4
"""Of fewer people or boxes all may stand in a corner."""
AGREED, BETTER, MOST = 0.4, 1.5, 0.8
"""Another form is meant where in it boxes overlap what they should by so much (median IoU), so many times as
much as in the form that is read, and more for this part of the people."""
SMALLEST_BOX = 0.01
"""Pixels of a side; what is smaller shows nothing."""
EXTENDED = 3
"""Labeled keypoints that have an extent to speak of."""
_SLACK = 0.02
"""Part of its size by which labels may leave a picture."""
_MARGIN = 0.25
"""Part of its longer side by which keypoints may leave their box."""


def in_thousandths(reach: float) -> bool:
    """Whether `reach`, the largest number of a set, is the end of a picture in thousandths."""
    return THOUSANDTHS[0] < reach <= THOUSANDTHS[1]


def labels_fit(samples: Samples, sizes: np.ndarray, slack: float | np.ndarray) -> np.ndarray:
    """`[N]` bool: the labeled keypoints, or the box where there are none, lie in the picture.

    Args:
        sizes: `[N, 2]` (width, height) of the pictures.
        slack: pixels by which labels may leave them, one number or `[N, 2]`.
    """
    xy, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    slack = np.broadcast_to(slack, sizes.shape)
    low, high = -slack[:, None], (sizes + slack)[:, None]
    inside = np.all((xy >= low) & (xy <= high), axis=-1)
    return np.where(
        labeled.any(axis=1), np.all(inside | ~labeled, axis=1), boxes_fit(samples.boxes, sizes, slack)
    )


def boxes_fit(boxes: np.ndarray, sizes: np.ndarray, slack: float | np.ndarray) -> np.ndarray:
    """`[N]` bool: xywh boxes `[N, 4]` lie in pictures of `sizes`; `slack` as of `labels_fit`."""
    ends = boxes[:, :2] + boxes[:, 2:]
    return np.all((boxes[:, :2] >= -np.asarray(slack)) & (ends <= sizes + slack), axis=1)


def slack_of(sizes: np.ndarray) -> np.ndarray:
    """`[N, 2]` pixels by which the labels of a sound set may leave pictures of `sizes`."""
    return _SLACK * sizes + 2


def labels_in_boxes(samples: Samples) -> np.ndarray:
    """`[N]` which part of the labeled keypoints lies in the person's box, with a margin; 1 where none is."""
    xy, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    low, size = samples.boxes[:, None, :2], samples.boxes[:, None, 2:]
    margin = _MARGIN * size.max(axis=-1, keepdims=True) + 2
    inside = np.all((xy >= low - margin) & (xy <= low + size + margin), axis=-1) & labeled
    return np.where(labeled.any(axis=1), inside.sum(axis=1) / np.maximum(labeled.sum(axis=1), 1), 1.0)


def reach(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """`[N]` largest coordinate of the labeled keypoints (infinite where there is none) and of the box."""
    labeled = samples.keypoints[..., 2] > NOT_LABELED
    points = np.where(labeled, np.abs(samples.keypoints[..., :2]).max(axis=-1), -np.inf).max(axis=1)
    return np.where(labeled.any(axis=1), points, np.inf), reach_of_boxes(samples.boxes)


def reach_of_boxes(boxes: np.ndarray) -> np.ndarray:
    """`[N]` the largest coordinate of each xywh box `[N, 4]`."""
    return np.abs(np.concatenate([boxes, boxes[:, :2] + boxes[:, 2:]], axis=1)).max(axis=1)
