"""People who walk: the same every time, at an even pace, with keypoints where the pixels are."""

import numpy as np
import pytest

from p2net_tf.data.coco import to_coco_keypoints
from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import SCENES, WalkOptions, render_walk

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
