"""Whether the boxes of a set are of the form in which they are read; see `p2net_tf.data.label_layout`."""

from __future__ import annotations

from functools import cache

import numpy as np

from p2net_tf.data.exif_labels import exif_label_problems
from p2net_tf.data.label_layout import layout_problems
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.skeletons.skeleton import Skeleton


def box_form_problems(scenes: Scenes, sizes: np.ndarray) -> list[Problem]:
    """At most one error, which then explains everything else, and warnings.

    Args:
        sizes: `[P, 2]` (width, height) of the pictures, zeros where not known.
    """
    finite = np.isfinite(scenes.boxes).all(axis=1)
    if not finite.any():
        return []
    people = _as_people(scenes.without_objects(~finite))
    turned = exif_label_problems(people)
    if turned:
        return turned
    owned = sizes[scenes.owners[finite]]
    return layout_problems(people, owned, scenes.box_form, detected=False)


def _as_people(scenes: Scenes) -> Samples:
    """Each object as a person whose box is known and no keypoint."""
    card = _any_card()
    owners = scenes.owners
    return Samples(
        card,
        image_paths=scenes.image_paths[owners],
        boxes=scenes.boxes,
        keypoints=np.zeros((len(owners), card.num_keypoints, 3), np.float32),
        areas=scenes.areas,
        ids=scenes.ids,
        image_ids=scenes.image_ids[owners],
        scores=np.ones(len(owners)),
        exif_orientation=scenes.exif_orientation,
        source=scenes.source,
        label_sizes=scenes.label_sizes[owners],
        settled=scenes.settled,
    )


@cache
def _any_card() -> Skeleton:
    """Of keypoints that nobody has."""
    return Skeleton.load("coco17")
