"""How far the labels of people reach, without TensorFlow."""

from __future__ import annotations

import numpy as np

from p2net_tf.keypoints.visibility import NOT_LABELED


def keypoint_extents(keypoints: np.ndarray) -> np.ndarray:
    """`keypoints.geometry.keypoint_box` of what annotation files hold.

    Args:
        keypoints: `[..., K, 3]`, of any float type.

    Returns:
        `[..., 4]` xywh around the labeled ones; zeros where none is.
    """
    labeled = keypoints[..., 2:] > NOT_LABELED
    xy = keypoints[..., :2]
    low = np.min(xy, axis=-2, initial=np.inf, where=labeled)
    high = np.max(xy, axis=-2, initial=-np.inf, where=labeled)
    any_labeled = labeled.any(axis=-2)
    low, high = np.where(any_labeled, low, 0), np.where(any_labeled, high, 0)
    with np.errstate(invalid="ignore"):  # labels may be infinite
        return np.concatenate([low, high - low], axis=-1).astype(keypoints.dtype)
