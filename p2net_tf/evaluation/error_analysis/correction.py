"""The predictions as they would be without one kind of error, or without several."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from p2net_tf.evaluation.coco import coco_results
from p2net_tf.evaluation.error_analysis.keypoints import TYPES, KeypointErrors
from p2net_tf.evaluation.error_analysis.matching import Case, Matches
from p2net_tf.evaluation.oks import oks_matrix, suppress_poses

STEPS = ("miss", "swap", "inversion", "jitter", "score", "background", "missed person")
"""What can be corrected, in the order in which the paper does."""

_SUPPRESSION = 0.5
"""Of scores of poses that lie on each other: times exp(-OKS^2 / 0.5), as in the paper's Soft-NMS."""


def correct(
    case: Case, matches: Matches, errors: KeypointErrors, steps: Collection[str]
) -> tuple[dict, list[dict]]:
    """COCO ground truth and results without the errors that `steps` (of `STEPS`) names.

    Keypoints of the named types move to `errors.corrected`; `score` ranks the poses by `optimal_scores` of
    what they then are; `background` takes out the poses that lie on nobody, and `missed person` takes the
    persons whom nobody matches out of the truth.
    """
    keypoints = _moved(case, matches, errors, steps)
    scores = optimal_scores(case, matches, keypoints) if "score" in steps else case.scores
    image_ids, categories = ([pose[name] for pose in case.poses] for name in ("image_id", "category_id"))
    corrected = coco_results(image_ids, keypoints, scores, category_ids=categories)
    results = [pose | changed for pose, changed in zip(case.poses, corrected, strict=True)]
    persons = case.dataset["annotations"]
    if "background" in steps:
        results = _without(results, matches.background)
    if "missed person" in steps:
        persons = _without(persons, matches.missed)
    return {**case.dataset, "annotations": persons}, results


def optimal_scores(case: Case, matches: Matches, keypoints: np.ndarray) -> np.ndarray:
    """`[D]` the scores that rank poses best (paper, section 3.2).

    That is the highest OKS with any person of the image who counts, lowered where a better pose lies on the
    same place (Soft-NMS). So a detector that knew how good its poses are could rank them.

    Args:
        keypoints: `[D, K, 2]` of the poses of `case`, corrected or not.
    """
    everyone = np.arange(len(keypoints))
    highest = np.zeros(len(keypoints))
    for poses, persons in case.per_image(everyone):
        persons = persons[matches.counted[persons]]
        oks = oks_matrix(keypoints[poses], case.truth[persons], case.areas[persons], case.sigmas)
        highest[poses] = oks.max(axis=1, initial=0.0)
    rows, lowered = suppress_poses(
        "soft_oks", case.pose_images, keypoints, highest, _extents(keypoints), case.sigmas, _SUPPRESSION
    )
    scores = np.zeros(len(keypoints))  # of those that are not kept: COCO scores only 20 poses per image
    scores[rows] = lowered
    return scores


def _moved(case: Case, matches: Matches, errors: KeypointErrors, steps: Collection[str]) -> np.ndarray:
    wrong = np.isin(errors.types, [row for row, name in enumerate(TYPES) if name in steps])
    keypoints = case.keypoints.copy()
    keypoints[matches.pose_rows] = np.where(wrong[..., None], errors.corrected, keypoints[matches.pose_rows])
    return keypoints


def _extents(keypoints: np.ndarray) -> np.ndarray:
    """`[D]` areas of the boxes around the keypoints that are finite."""
    finite = np.isfinite(keypoints)
    low = np.where(finite, keypoints, np.inf).min(axis=1)
    high = np.where(finite, keypoints, -np.inf).max(axis=1)
    return np.prod(np.maximum(high - low, 0.0), axis=-1)


def _without(items: list, left_out: np.ndarray) -> list:
    return [item for item, out in zip(items, left_out.tolist(), strict=True) if not out]
