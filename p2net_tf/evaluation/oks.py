"""Object keypoint similarity (paper, equation 9) and the suppression of poses by it.

    OKS = sum_i exp(-d_i^2 / (2 s^2 k_i^2)) [v_i > 0] / sum_i [v_i > 0],   k_i = 2 sigma_i,   s^2 = area

Coordinates are pixels, areas square pixels; everything is float64, and both sides of a comparison
must use the same coordinate convention. A keypoint that is not finite has similarity 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

SOFT_NMS_MAX_POSES = 20
"""Poses that soft-OKS-NMS keeps per image: COCO scores no more than 20 (HRNet's `max_dets`)."""


def oks_matrix(predictions, truth, areas, sigmas, boxes=None) -> np.ndarray:
    """OKS of every prediction with every true person, as pycocotools' `computeOks`.

    One of two keypoints is right, the other is off by its standard deviation, `2 * sigma * sqrt(area)`:

    >>> truth = [[[10, 10, 2], [50, 50, 2]]]
    >>> oks_matrix([[[10, 10], [50, 60]]], truth, areas=[10_000], sigmas=[0.05, 0.05]).round(4).tolist()
    [[0.8033]]

    Args:
        predictions: `[D, K, 2 or more]` x, y, ...
        truth: `[G, K, 3]` x, y, visibility.
        areas: `[G]` areas of the true persons.
        sigmas: `[K]`.
        boxes: `[G, 4]` xywh. A person without any labeled keypoint is compared by the distance to its box
            of doubled reach (from x - w to x + 2 w), as pycocotools does for its ignore regions; without
            boxes its OKS is 0.

    Returns:
        `[D, G]` in 0..1.
    """
    predicted = np.asarray(predictions, np.float64)[:, None, :, :2]
    truth, areas = np.asarray(truth, np.float64), np.asarray(areas, np.float64)
    labeled = truth[..., 2] > 0
    similar = keypoint_similarity(predicted - truth[None, ..., :2], areas[None], sigmas)
    labels = labeled.sum(-1)
    oks = np.sum(similar * labeled, axis=-1) / np.maximum(labels, 1)
    if boxes is None or np.all(labels > 0):
        return oks
    offsets = _outside(predicted, np.asarray(boxes, np.float64))
    by_box = keypoint_similarity(offsets, areas[None], sigmas).mean(-1)
    return np.where(labels > 0, oks, by_box)


def keypoint_similarity(offsets: np.ndarray, areas: np.ndarray, sigmas) -> np.ndarray:
    """exp(-d^2 / (2 s^2 k^2)) of each keypoint: the terms of OKS.

    Args:
        offsets: `[..., K, 2]` from the true places; a keypoint that is not finite has similarity 0.
        areas: `[...]` s^2.
        sigmas: `[K]`.
    """
    variances = (2 * np.asarray(sigmas, np.float64)) ** 2
    squared = np.sum(offsets**2, axis=-1)
    similar = np.exp(-squared / variances / (areas[..., None] + np.spacing(1)) / 2)  # pycocotools' guard
    return np.where(np.isfinite(squared), similar, 0.0)


def pairwise_oks(keypoints, areas, sigmas) -> np.ndarray:
    """OKS `[D, D]` between predictions of one image: all keypoints count, s^2 is the pair's mean area.

    Args:
        keypoints: `[D, K, 2 or more]`.
        areas: `[D]` area of each prediction (HRNet: of its box).
        sigmas: `[K]`.
    """
    xy, areas = np.asarray(keypoints, np.float64)[..., :2], np.asarray(areas, np.float64)
    return keypoint_similarity(xy[:, None] - xy[None], (areas[:, None] + areas[None]) / 2, sigmas).mean(-1)


def oks_nms(keypoints, scores, areas, sigmas, threshold: float = 0.9) -> np.ndarray:
    """Greedy suppression: a pose goes when its OKS with a kept, better one exceeds `threshold`.

    Args:
        keypoints: `[D, K, 2 or more]` poses of one image.
        scores: `[D]`; equal scores keep the order of the input.
        areas: `[D]`.
        sigmas: `[K]`.
        threshold: an OKS of exactly `threshold` stays.

    Returns:
        int rows that stay, best first.
    """
    order = _best_first(scores)
    overlap = pairwise_oks(keypoints, areas, sigmas)
    keep = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(best)
        order = rest[overlap[best, rest] <= threshold]
    return np.asarray(keep, np.int64)


def soft_oks_nms(
    keypoints, scores, areas, sigmas, threshold: float = 0.9, max_poses: int = SOFT_NMS_MAX_POSES
) -> tuple[np.ndarray, np.ndarray]:
    """Soft suppression (HRNet): each kept pose multiplies the scores of the rest by exp(-OKS^2 / threshold).

    Arguments as in `oks_nms`; at most `max_poses` poses are kept.

    Returns:
        `(rows, scores)`: int rows best first, and the rescored scores they were kept with. (HRNet returns the
        rows alone, so its results carry the scores from before.)
    """
    overlap = pairwise_oks(keypoints, areas, sigmas)
    order = _best_first(scores)
    scores = np.asarray(scores, np.float64).copy()
    keep = []
    while order.size and len(keep) < max_poses:
        best, rest = order[0], order[1:]
        keep.append(best)
        scores[rest] *= np.exp(-(overlap[best, rest] ** 2) / threshold)
        order = rest[_best_first(scores[rest])]
    keep = np.asarray(keep, np.int64)
    return keep, scores[keep]


def suppress_poses(
    method: Literal["oks", "soft_oks"] | None,
    image_ids,
    keypoints,
    scores,
    areas,
    sigmas,
    threshold: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """Suppression within each image of `[D]` poses of many images; None keeps all.

    Returns:
        `(rows, scores)` of the poses that stay, in the order of the images' ids, best first within each.
    """
    image_ids, keypoints = np.asarray(image_ids), np.asarray(keypoints)
    scores, areas = np.asarray(scores, np.float64), np.asarray(areas)
    if method is None:
        return np.arange(len(scores)), scores
    if method not in ("oks", "soft_oks"):
        raise ValueError(f"no suppression '{method}'; take oks, soft_oks or None")
    kept_rows, kept_scores = [np.zeros(0, np.int64)], [np.zeros(0)]
    for rows in _rows_per_image(image_ids):
        poses = (keypoints[rows], scores[rows], areas[rows], sigmas, threshold)
        if method == "oks":
            keep = oks_nms(*poses)
            rescored = scores[rows][keep]
        else:
            keep, rescored = soft_oks_nms(*poses)
        kept_rows.append(rows[keep])
        kept_scores.append(rescored)
    return np.concatenate(kept_rows), np.concatenate(kept_scores)


def _outside(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How far `[D, 1, K, 2]` points lie outside the doubled boxes, per axis: `[D, G, K, 2]`."""
    low, size = boxes[:, None, :2], boxes[:, None, 2:]
    return np.maximum(low - size - points, 0) + np.maximum(points - (low + 2 * size), 0)


def _best_first(scores) -> np.ndarray:
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def _rows_per_image(image_ids: np.ndarray) -> list[np.ndarray]:
    _, inverse = np.unique(image_ids, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1) if order.size else []
