"""The tracker on rendered people whose numbers are known, seen through a detector that errs."""

import numpy as np
import pytest

from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import WalkFrame, render_walk
from p2net_tf.video.tracking import UNKNOWN, Tracker

_SEEN, _WELL_SEEN = 0.3, 0.6
"""Parts of a person from which on a detector finds it at all, and for sure."""


def detected(frame: WalkFrame, random) -> tuple:
    """`(numbers, what a tracker takes)`: boxes off by 2 %, keypoints by 2 % of the box's height."""
    people = [p for p, part in zip(frame.people, frame.visible, strict=True) if part > _SEEN]
    parts = frame.visible[frame.visible > _SEEN]
    boxes = np.array([p["bbox"] for p in people]).reshape(-1, 4)
    heights = boxes[:, 3:]
    boxes = boxes + random.normal(size=boxes.shape) * 0.02 * heights
    keypoints = np.array([p["keypoints"] for p in people], float).reshape(-1, 17, 3)
    places = keypoints[..., :2] + random.normal(size=(len(people), 17, 2)) * 0.02 * heights[:, None]
    scores = np.where(parts > _WELL_SEEN, 0.9, 0.35) * random.uniform(0.85, 1.0, len(people))
    sure = np.where(keypoints[..., 2] == 2, 0.8, 0.1)
    return [p["track_id"] for p in people], (boxes, scores, places, sure)


def numbers_given(seed: int, scene: str) -> dict[int, set[int]]:
    """True number -> all that the tracker gave."""
    random, tracker, given = np.random.default_rng(seed), Tracker(SKELETON.sigmas), {}
    for frame in render_walk(seed, scene):
        truth, seen = detected(frame, random)
        for number, found in zip(truth, tracker(*seen).tolist(), strict=True):
            if found != UNKNOWN:
                given.setdefault(number, set()).add(found)
    return given


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["walking", "crossing", "hiding", "leaving", "overtaking"])
def test_everybody_keeps_one_number_in_nine_of_ten_videos(scene):
    kept = 0
    for seed in range(10):
        given = numbers_given(seed, scene)
        alone = all(len(numbers) == 1 for numbers in given.values())
        kept += alone and len(set.union(*given.values())) == len(given)
    assert kept >= 9
