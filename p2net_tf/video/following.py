"""Where a box goes between two looks of the detector: as its keypoints do."""

from __future__ import annotations

import numpy as np

from p2net_tf.data.annotations.reading import AREA_OF_BOX
from p2net_tf.evaluation.oks import pairwise_oks
from p2net_tf.inference.poses import Poses

_LEAST = 2
"""Keypoints that both frames show: fewer say nothing about a size."""
_ALIKE = 0.5
"""OKS of two poses from which on they are of one person."""
_GROWTH = 1.2
"""A box grows or shrinks by no more than this factor in a frame: people do not."""


def moved_windows(before: Poses, now: Poses, keypoint_score: float) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of `now`, moved and scaled as the keypoints have been since `before`.

    Args:
        before, now: the same n people in two frames; `now` was looked for in the boxes of `before`.
        keypoint_score: keypoints above it count.

    Returns:
        `(windows [n, 4] xywh float32, seen [m])`: rows of those who still show keypoints enough.
    """
    sure = (before.keypoint_scores > keypoint_score) & (now.keypoint_scores > keypoint_score)
    counts = sure.sum(axis=1)
    first, first_spread = _middle_and_spread(before.keypoints, sure, counts)
    then, then_spread = _middle_and_spread(now.keypoints, sure, counts)
    growth = np.clip(then_spread / np.maximum(first_spread, 1e-6), 1 / _GROWTH, _GROWTH)[:, None]
    corner, sides = now.boxes[:, :2], now.boxes[:, 2:]
    windows = np.concatenate([then + (corner - first) * growth, sides * growth], axis=1)
    return windows.astype(np.float32), np.flatnonzero(counts >= _LEAST)


def unlike_rows(poses: Poses, fit: np.ndarray) -> np.ndarray:
    """Rows of `poses` of which no two are one person.

    Where one person hides another, the network finds the one in front in both boxes, and the box of who is
    behind would go away with them. Of two alike goes who fits less.

    Args:
        fit: `[n]`, such as the overlap of their boxes with where they were expected.
    """
    areas = poses.boxes[:, 2] * poses.boxes[:, 3] * AREA_OF_BOX
    alike = pairwise_oks(poses.keypoints, areas, poses.skeleton.sigmas) > _ALIKE
    kept: list[int] = []
    for row in np.argsort(-fit, kind="stable"):
        if not alike[row, kept].any():
            kept.append(int(row))
    return np.sort(np.array(kept, np.int64))


def _middle_and_spread(keypoints: np.ndarray, counted: np.ndarray, counts: np.ndarray):
    """`([n, 2], [n])` mean and root mean square distance from it of the keypoints that count."""
    of, weights = np.maximum(counts, 1)[:, None], counted[..., None]
    middle = (keypoints * weights).sum(axis=1) / of
    distances = np.square(keypoints - middle[:, None]) * weights
    return middle, np.sqrt(distances.sum(axis=(1, 2)) / of[:, 0])
