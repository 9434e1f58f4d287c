"""Left and right exchanged: in one person's labels, or in a whole set by its skeleton card.

The left of a person who faces the camera is on the image's right. Whether someone does is told by nose
and eyes labeled visible, the nose between the eyes, and both ears labeled where the card has ears (a
person who looks back over the shoulder shows one ear, and truly has eyes and body opposed). Eyes,
shoulders and hips then each say on which side the left is:

- one person: shoulders *and* hips say the opposite of the eyes. A person upside down or seen from
  behind has all of them turned together, so only a label mix-up (or a very odd twist) does this.
- the set: in most frontal people at least two of the three have the left on the image's left.
  Then not single labels but the order of keypoints on the card is wrong.

Sides closer together than a fraction of the person's size say nothing. Cards without these names
(LSP, MPII) do not tell who faces the camera, and are not judged.
"""

from __future__ import annotations

import numpy as np

from p2net_tf.data.samples import Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED, VISIBLE

_PARTS = ("eye", "shoulder", "hip")
_NAMES = ("nose", *(f"{side}_{part}" for part in _PARTS for side in ("left", "right")))
_MIN_SPREAD = np.asarray([0.02, 0.08, 0.05])
"""Least distance in x of left and right eye, shoulder and hip, as a fraction of the longer box side."""
_MIN_FRONTAL = 10
"""Frontal people needed to judge a set: fewer may happen to stand on their hands."""


def left_right_problems(samples: Samples) -> list[Problem]:
    """Warnings `left_right_person`, and `left_right_set` where the whole set is mirrored."""
    if not set(_NAMES) <= set(samples.skeleton.keypoints) or not len(samples):
        return []
    sides = _sides(samples)
    eyes, shoulders, hips = sides.T
    mixed = (eyes != 0) & (shoulders == -eyes) & (hips == -eyes)
    return [*_set_problem(samples, sides), *(_person_problem(samples, row) for row in np.flatnonzero(mixed))]


def _sides(samples: Samples) -> np.ndarray:
    """`[N, 3]`: 1 where the left eye, shoulder, hip is on the image's right, -1 where on its left, 0 unclear.

    All zero for people who are not frontal.
    """
    index = samples.skeleton.index
    left = samples.keypoints[:, [index(f"left_{part}") for part in _PARTS]]
    right = samples.keypoints[:, [index(f"right_{part}") for part in _PARTS]]
    labeled = (left[..., 2] > NOT_LABELED) & (right[..., 2] > NOT_LABELED)
    with np.errstate(invalid="ignore"):
        spread = left[..., 0] - right[..., 0]
        clear = np.abs(spread) > _MIN_SPREAD * samples.boxes[:, 2:].max(axis=1, keepdims=True)
        told = labeled & clear & _faces_camera(samples)[:, None]
    return np.where(told, np.sign(np.nan_to_num(spread)), 0).astype(int)


def _faces_camera(samples: Samples) -> np.ndarray:
    """`[N]` bool, by the face alone; the same for mirrored labels."""
    names = samples.skeleton.keypoints
    face = samples.keypoints[:, [names.index(name) for name in ("nose", "left_eye", "right_eye")]]
    nose, left, right = face[..., 0].T
    between = (np.minimum(left, right) < nose) & (nose < np.maximum(left, right))
    ears = [names.index(name) for name in ("left_ear", "right_ear") if name in names]
    both_ears = (samples.keypoints[:, ears, 2] > NOT_LABELED).all(axis=1)
    return (face[..., 2] == VISIBLE).all(axis=1) & between & both_ears


def _person_problem(samples: Samples, row: int) -> Problem:
    detail = "eyes have left and right the other way round than shoulders and hips"
    return Problem(
        "warning",
        "left_right_person",
        str(samples.image_paths[row]),
        detail,
        "check which labels of this person are exchanged; it is used",
        int(samples.ids[row]),
        int(samples.image_ids[row]),
    )


def _set_problem(samples: Samples, sides: np.ndarray) -> list[Problem]:
    votes = sides.sum(axis=1)
    judged = (sides != 0).sum(axis=1) >= 2
    total, wrong = int(judged.sum()), int((judged & (votes < 0)).sum())
    if total < _MIN_FRONTAL or 2 * wrong <= total:
        return []
    detail = f"{wrong} of {total} people who face the camera have their left side on the image's left"
    remedy = f"exchange left and right in the keypoint order of the card '{samples.skeleton.name}'"
    return [Problem("warning", "left_right_set", samples.source, detail, remedy)]
