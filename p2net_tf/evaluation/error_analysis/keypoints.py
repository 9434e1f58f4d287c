"""What went wrong with each keypoint: jitter, inversion, swap or miss.

The types are those of Ruggero Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose
Estimation" (ICCV 2017), section 3.1, on the similarity ks = exp(-d^2 / (2 s^2 k^2)) of a predicted keypoint
to a true place:

| type | ks to its own place | and |
|---|---|---|
| good | 0.85 and more: as close as people agree with each other | |
| jitter | 0.5 up to 0.85 | |
| inversion | below 0.5 | 0.5 and more to the left/right partner of the same person |
| swap | below 0.5 | 0.5 and more to the same keypoint of another person, or to that one's partner |
| miss | below 0.5 | none of these |

Where the paper is silent: near both the partner and another person, the closer of the two decides (an equal
distance is an inversion). s is that of the person whose place is meant, and k that of the place's keypoint.
Other persons are all of the image, also those that the score ignores; places without a label do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2net_tf.evaluation.error_analysis.matching import Case, Matches
from p2net_tf.evaluation.oks import keypoint_similarity
from p2net_tf.keypoints.visibility import NOT_LABELED

TYPES = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER, INVERSION, SWAP, MISS = range(len(TYPES))
NOT_COUNTED = -1
GOOD_SIMILARITY, NEAR_SIMILARITY = 0.85, 0.5

_INSIDE = 1 - 1e-9
"""Corrected keypoints lie this much nearer: rounding shall push no OKS below a threshold that it meets."""


@dataclass(frozen=True)
class KeypointErrors:
    """Of P matched pairs.

    Attributes:
        types: `[P, K]` rows of `TYPES`; `NOT_COUNTED` where the person has no label.
        similarities: `[P, K]` ks to the own place; 0 where the person has no label.
        corrected: `[P, K, 2]` x, y where the keypoints would be without their error (`corrected_places`).
    """

    types: np.ndarray
    similarities: np.ndarray
    corrected: np.ndarray

    @property
    def oks(self) -> np.ndarray:
        """`[P]`."""
        return self.similarities.sum(1) / np.maximum(np.sum(self.types != NOT_COUNTED, axis=1), 1)


def find_keypoint_errors(case: Case, matches: Matches) -> KeypointErrors:
    """Looks at every keypoint of the matched poses whose person has a label for it."""
    own, partner, others = _similarities(case, matches)
    truth, areas = case.truth[matches.person_rows], case.areas[matches.person_rows]
    labeled = truth[..., 2] > NOT_LABELED
    types = np.where(labeled, classify(own, partner, others), NOT_COUNTED)
    corrected = corrected_places(
        case.keypoints[matches.pose_rows],
        truth[..., :2],
        types,
        np.maximum(partner, others),
        areas,
        case.sigmas,
    )
    return KeypointErrors(types, own, corrected)


def classify(own, partner, others) -> np.ndarray:
    """Rows of `TYPES`, from similarities of one shape: to the own place, the partner's and other persons'."""
    inverted = (partner >= NEAR_SIMILARITY) & (partner >= others)
    cases = [own >= GOOD_SIMILARITY, own >= NEAR_SIMILARITY, inverted, others >= NEAR_SIMILARITY]
    return np.select(cases, [GOOD, JITTER, INVERSION, SWAP], MISS)


def corrected_places(predicted, truth, types, mistaken, areas, sigmas) -> np.ndarray:
    """Where the paper puts a corrected keypoint: not on the truth, but no farther off than is forgivable.

    A jitter moves to a similarity of 0.85, a miss to 0.5, and an inversion or swap to the similarity that it
    has to the place it was mistaken for. All stay on the line from the true to the predicted place (the paper
    leaves the direction open); a keypoint without a prediction comes to lie right of the true place.

    Args:
        predicted, truth: `[P, K, 2]` x, y.
        types: `[P, K]` rows of `TYPES`; good and not counted ones stay where they are.
        mistaken: `[P, K]` similarity to the closest wrong place.
        areas: `[P]`.
        sigmas: `[K]`.

    Returns:
        `[P, K, 2]`.
    """
    goals = [GOOD_SIMILARITY, NEAR_SIMILARITY, mistaken]
    goal = np.select([types == JITTER, types == MISS, types >= INVERSION], goals, 1.0)
    reach = 2 * sigmas * np.sqrt(-2 * np.log(goal) * areas[:, None]) * _INSIDE
    offsets = predicted - truth
    given = np.isfinite(offsets).all(-1)
    offsets = np.where(given[..., None], offsets, (1.0, 0.0))
    distance = np.hypot(offsets[..., 0], offsets[..., 1])[..., None]
    moved = truth + reach[..., None] * offsets / np.where(distance > 0, distance, 1.0)
    return np.where(types[..., None] > GOOD, moved, predicted)


def _similarities(case: Case, matches: Matches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[P, K]` to the own place, to the partner's, and the highest to any place of other persons."""
    found = np.zeros((3, len(matches.pose_rows), case.skeleton.num_keypoints))
    partners = list(case.skeleton.flip_permutation)
    for pairs, persons in case.per_image(matches.pose_rows):
        predicted = case.keypoints[matches.pose_rows[pairs], None]
        places, areas = case.truth[persons], case.areas[persons]
        same = _similarity(predicted, places, areas, case.sigmas)
        mirrored = _similarity(predicted, places[:, partners], areas, case.sigmas[partners])
        mine = persons == matches.person_rows[pairs, None]
        others = np.where(mine[..., None], 0.0, np.maximum(same, mirrored)).max(axis=1)
        found[:, pairs] = same[mine], mirrored[mine], others
    return tuple(found)


def _similarity(predicted, places, areas, sigmas) -> np.ndarray:
    """`[n, G, K]` of `[n, 1, K, 2]` keypoints to `[G, K, 3]` places, 0 where there is no label."""
    similar = keypoint_similarity(predicted - places[..., :2], areas, sigmas)
    return np.where(places[..., 2] > NOT_LABELED, similar, 0.0)
