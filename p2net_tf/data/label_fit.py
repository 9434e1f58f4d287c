"""Whether labels lie in pictures of given sizes."""

from __future__ import annotations

import numpy as np

from p2net_tf.data.samples import Samples
from p2net_tf.keypoints.visibility import NOT_LABELED


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
