"""Whether labels are of the pictures as they are stored, or as their EXIF headers turn them.

Annotation tools in a browser show pictures turned; COCO, MPII and LSP were labeled on the stored pixels.
Nothing in a data set says which, but the labels of a picture that is turned on its side often fit one of the
two alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2net_tf.data.image_headers import TURNED, image_headers, image_orientations
from p2net_tf.data.label_fit import labels_fit
from p2net_tf.data.samples import Problem, Samples

KIND = "exif_orientation"
_SLACK = 2.0
"""Pixels by which labels may leave the picture that they belong to."""


@dataclass(frozen=True)
class _Votes:
    """People in pictures that EXIF turns on their side, by the picture that alone holds their labels."""

    pictures: int
    stored: int
    turned: int


def exif_label_problems(samples: Samples) -> list[Problem]:
    """One error where most of the people that tell say the opposite of `samples.exif_orientation`."""
    votes = _count(samples)
    upright = "the picture as EXIF turns it"
    if samples.exif_orientation:
        agree, against, fits, key = votes.turned, votes.stored, "the stored pixels", "false"
    else:
        agree, against, fits, key = votes.stored, votes.turned, upright, "true"
    if against <= agree:
        return []
    detail = (
        f"EXIF turns {votes.pictures} of the pictures on their side, and the labels of {against} people "
        f"there fit {fits} alone, those of {agree} the other way"
    )
    remedy = f"set exif_orientation: {key} for this data set"
    return [Problem("error", KIND, samples.source, detail, remedy)]


def _count(samples: Samples) -> _Votes:
    """By labeled keypoints; by the box where there are none."""
    paths, owners = np.unique(samples.image_paths, return_inverse=True)
    turned_paths = np.isin(image_orientations(paths), TURNED)
    rows = np.flatnonzero(turned_paths[owners.reshape(-1)])
    if not len(rows):
        return _Votes(0, 0, 0)
    people = samples.take(rows)
    sizes, _ = image_headers(people.image_paths)
    in_stored, in_turned = (labels_fit(people, part, _SLACK) for part in (sizes, sizes[:, ::-1]))
    return _Votes(
        int(turned_paths.sum()), int(np.sum(in_stored & ~in_turned)), int(np.sum(in_turned & ~in_stored))
    )
