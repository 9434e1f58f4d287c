"""People of one skeleton as people of another: so that one network learns from data sets that differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from p2net_tf.data.annotations.keypoint_names import match_joints
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton


def map_keypoints(samples: Samples, card: Skeleton) -> Samples:
    """The same people with the keypoints of `card`, found by their names, or by what others call them: MPII's
    upper neck is LSP's neck.

    Those that the samples do not have are not labeled, which no loss counts; those that the card does not
    have are left out. A note among `problems` says which.

    Raises:
        DataError: no name is on both cards.
    """
    own = samples.skeleton
    places = match_joints(own.keypoints, card.keypoints)
    found = [number for number, place in enumerate(places) if place is not None]
    if not found:
        raise DataError(
            f"{samples.source}: of the keypoints of '{own.name}' none is on the card '{card.name}'"
            "; give both the same names for the same joints"
        )
    keypoints = np.zeros((len(samples), card.num_keypoints, 3), np.float32)
    keypoints[:, found] = samples.keypoints[:, [places[number] for number in found]]
    keypoints[keypoints[..., 2] == NOT_LABELED] = 0
    note = _note(samples, card, places)
    return replace(samples, skeleton=card, keypoints=keypoints, problems=(*samples.problems, note))


def _note(samples: Samples, card: Skeleton, places: list[int | None]) -> Problem:
    missing = [name for name, place in zip(card.keypoints, places, strict=True) if place is None]
    used = {place for place in places if place is not None}
    dropped = [name for number, name in enumerate(samples.skeleton.keypoints) if number not in used]
    renamed = [
        f"{samples.skeleton.keypoints[place]} for {name}"
        for name, place in zip(card.keypoints, places, strict=True)
        if place is not None and samples.skeleton.keypoints[place] != name
    ]
    words = f"{len(used)} keypoints of '{samples.skeleton.name}' are those of '{card.name}'"
    if renamed:
        words += f"; by other names: {', '.join(renamed)}"
    if missing:
        words += f"; not labeled: {', '.join(missing)}"
    if dropped:
        words += f"; left out: {', '.join(dropped)}"
    return Problem("note", "keypoints_mapped", samples.source, words, "")
