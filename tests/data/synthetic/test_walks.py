"""People who walk: the same every time, at an even pace, with keypoints where the pixels are."""

import numpy as np
import pytest

from p2net_tf.data.coco import to_coco_keypoints
from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import HIDDEN, SCENES, WalkFrame, WalkOptions, render_walk, walk_truth

SHORT = WalkOptions(height=128, width=160, rate=12.5, seconds=4.0)


def keypoints_of(person) -> np.ndarray:
    """`[17, 3]` in continuous pixels."""
    stored = np.reshape(person["keypoints"], (17, 3))
    return np.where(stored[:, 2:] > 0, stored - (to_coco_keypoints(np.zeros((1, 3)))), 0)


@pytest.mark.parametrize(
    "scene", [pytest.param(s, marks=[] if s == "crossing" else pytest.mark.slow) for s in SCENES]
)
def test_a_seed_is_a_video(scene):
    first, second = list(render_walk(3, scene, SHORT)), list(render_walk(3, scene, SHORT))
    assert len(first) == 50 == SHORT.frames
    for one, again in zip(first, second, strict=True):
        assert np.array_equal(one.picture, again.picture) and one.people == again.people
    np.testing.assert_allclose([frame.time for frame in first], np.arange(50) / 12.5)
    other = next(iter(render_walk(4, scene, SHORT)))
    assert other.picture.shape == (128, 160, 3) and np.any(other.picture != first[0].picture)


def test_who_is_who():
    """One who hides is hidden half way; one who leaves is no longer annotated; who crosses is once behind."""
    hiding, leaving, crossing = (
        list(render_walk(0, scene, SHORT)) for scene in ("hiding", "leaving", "crossing")
    )
    assert hiding[25].visible[0] < 0.1 and hiding[25].people[0]["track_id"] == 1
    assert [p["track_id"] for p in leaving[0].people] == [1, 2]
    assert [p["track_id"] for p in leaving[-1].people] == [1]
    assert min(frame.visible[0] for frame in crossing if len(frame.people) == 2) < 0.5
    assert crossing[25].visible[1] == 1  # who is in front, in the middle of the picture
    assert all(0 <= part <= 1 for frame in crossing for part in frame.visible)


@pytest.mark.slow
def test_who_comes_back_overtakes_and_meets_others():
    returning, overtaking, crowd = (
        list(render_walk(0, scene, SHORT)) for scene in ("returning", "overtaking", "crowd")
    )
    there = [2 in [person["track_id"] for person in frame.people] for frame in returning]
    assert there[0] and there[-1] and 8 <= there.count(False) <= 16  # about a sixth of the time, and a bit
    assert np.count_nonzero(np.diff(there)) == 2
    both = [frame for frame in overtaking if len(frame.people) == 2]
    ahead = [frame.people[0]["bbox"][0] > frame.people[1]["bbox"][0] for frame in both]
    assert ahead[0] and not ahead[-1]
    assert sum(frame.visible[0] < 0.6 for frame in both) > 5
    assert max(len(frame.people) for frame in crowd) == 5


def test_the_truth_of_a_video():
    """People are numbered, frames count as `p2net predict` counts them; who is hidden need not be found."""
    person = {"keypoints": [1, 2, 2] * 17, "bbox": [1, 2, 3, 4], "area": 6.0, "iscrowd": 0}
    picture = np.zeros((8, 8, 3), np.uint8)
    both = [person | {"track_id": 1}, person | {"track_id": 2}]
    frames = [
        WalkFrame(picture, 0.0, both, np.array([1.0, HIDDEN])),
        WalkFrame(picture, 0.5, [], np.zeros(0)),
        WalkFrame(picture, 1.0, both[1:], np.array([HIDDEN + 0.01])),
    ]
    truth = walk_truth(frames, first=5)
    assert truth["images"] == [{"id": 5, "time": 0.0}, {"id": 6, "time": 0.5}, {"id": 7, "time": 1.0}]
    rows = [
        [entry[name] for name in ("id", "image_id", "track_id", "iscrowd")] for entry in truth["annotations"]
    ]
    assert rows == [[1, 5, 1, 0], [2, 5, 2, 1], [3, 7, 2, 0]]
    assert truth["categories"][0]["keypoints"] == list(SKELETON.keypoints)
    assert walk_truth(frames)["images"][0]["id"] == 1


def test_their_pace_is_even_and_their_feet_do_not_slide():
    """A foot on the ground stays where it is, to a tenth of a step."""
    frames = [frame for frame in render_walk(1, "hiding", WalkOptions()) if frame.people]
    box = np.array([frame.people[0]["bbox"] for frame in frames if len(frame.people[0]["bbox"])])
    inside = (box[:, 0] > 2) & (box[:, 0] + box[:, 2] < 318)
    rows = np.flatnonzero(inside)
    people = [keypoints_of(frames[row].people[0]) for row in rows]
    hips = np.array([p[[SKELETON.index("left_hip"), SKELETON.index("right_hip")], 0].mean() for p in people])
    steps = np.diff(hips)[np.diff(rows) == 1]
    assert steps.std() < 0.15 * abs(steps.mean())
    ankles = np.array([p[[SKELETON.index("left_ankle"), SKELETON.index("right_ankle")]] for p in people])
    lower = ankles[:, :, 1].argmax(axis=1)
    standing = np.flatnonzero((lower[1:] == lower[:-1]) & (np.diff(rows) == 1))
    slides = np.abs(ankles[standing + 1, lower[standing], 0] - ankles[standing, lower[standing], 0])
    assert np.median(slides) < 0.6 * abs(steps.mean())


def test_an_unknown_scene():
    with pytest.raises(ValueError, match="take one of walking, crossing, hiding, leaving"):
        next(render_walk(0, "dancing"))
