"""Numbers of people: those who walk, cross, hide, leave and come back."""

import numpy as np
import pytest

from p2net_tf.video.tracking import UNKNOWN, Tracker, TrackerSettings

SIGMAS = np.full(6, 0.08)
BODY = np.array([[0.5, 0.1], [0.2, 0.3], [0.8, 0.3], [0.3, 0.6], [0.7, 0.6], [0.5, 0.95]])
"""Keypoints in fractions of the box."""


def people(windows, body=BODY, scores=None, keypoint_scores=None):
    """What `Tracker` takes of one frame."""
    windows = np.float64(windows).reshape(-1, 4)
    keypoints = windows[:, None, :2] + np.broadcast_to(body, (len(windows), 6, 2)) * windows[:, None, 2:]
    scores = np.full(len(windows), 0.9) if scores is None else np.float64(scores)
    sure = np.full((len(windows), 6), 0.9) if keypoint_scores is None else keypoint_scores
    return windows, scores, keypoints, sure


def walk(frame, start=0.0, speed=4.0, y=100.0):
    return [start + speed * frame, y, 40.0, 100.0]


def test_who_is_seen_at_once_has_a_number_at_once():
    assert Tracker(SIGMAS)(*people([walk(0), walk(0, 200)])).tolist() == [1, 2]


def test_who_comes_later_has_one_when_seen_twice():
    tracker = Tracker(SIGMAS)
    tracker(*people([walk(0)]))
    assert tracker(*people([walk(1), walk(1, 300)])).tolist() == [1, UNKNOWN]
    assert tracker(*people([walk(2, 300), walk(2)])).tolist() == [2, 1]


def test_a_false_alarm_never_has_one():
    tracker = Tracker(SIGMAS)
    tracker(*people([walk(0)]))
    tracker(*people([walk(1), walk(1, 300)]))
    tracker(*people([walk(2)]))
    assert tracker(*people([walk(3), walk(3, 300)])).tolist() == [1, UNKNOWN]
    assert tracker.ids.tolist() == [1, UNKNOWN]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_two_who_cross_keep_theirs(order):
    """Their boxes lie on one another half way; their speeds and poses tell them apart."""
    tracker, frames = Tracker(SIGMAS), 50
    mirrored = BODY * [1, 0.8] + [0, 0.1]
    for frame in range(frames):
        windows = [walk(frame), walk(frame, 4.0 * frames, -4.0, 104.0)]
        both = [people([window], body) for window, body in zip(windows, (BODY, mirrored), strict=True)]
        rows = order if frame else [0, 1]
        found = tracker(*[np.concatenate(part)[rows] for part in zip(*both, strict=True)])
        assert found.tolist() == [row + 1 for row in rows]


def test_who_hides_for_a_while_is_the_same():
    tracker = Tracker(SIGMAS)
    for frame in range(15):
        tracker(*people([walk(frame)]))
    for _ in range(15, 25):
        assert tracker(*people([])).tolist() == []
    assert tracker(*people([walk(25)])).tolist() == [1]


def hide(tracker, seen=15, hidden=10):
    for frame in range(seen):
        tracker(*people([walk(frame)]))
    for _ in range(hidden):
        tracker(*people([]))


@pytest.mark.parametrize(("aside", "number"), [(30, 1), (55, 1), (65, 2)])
def test_who_comes_out_aside_is_found_again(aside, number):
    """Not where they were expected, but no further than 0.6 of their height; once they are seen twice."""
    tracker = Tracker(SIGMAS)
    hide(tracker)
    assert tracker(*people([walk(25, aside)])).tolist() == [1 if aside < 20 else UNKNOWN]
    assert tracker(*people([walk(26, aside)])).tolist() == [number]
    assert tracker.ids.tolist().count(1) == 1


def test_a_box_of_nobody_does_not_lead_astray_who_is_hidden():
    """It overlaps with where they are expected by IoU 0.25, enough for who is followed only."""
    tracker, stray = Tracker(SIGMAS), walk(20, 24.0)
    hide(tracker, hidden=5)
    unsure = np.zeros((1, 6))
    assert tracker(*people([stray], keypoint_scores=unsure)).tolist() == [UNKNOWN]
    tracker(*people([]))
    assert tracker(*people([walk(22)])).tolist() == [1]


def test_who_is_hidden_does_not_shrink():
    tracker = Tracker(SIGMAS)
    for frame in range(10):
        tracker(*people([[100, 100, 40 - frame, 100 - frame]]))
    sides = tracker.windows[0, 2:]
    for _ in range(20):
        tracker(*people([]))
    np.testing.assert_allclose(tracker.windows[0, 2:], sides, atol=1.5)


def test_where_people_are_expected():
    tracker = Tracker(SIGMAS)
    for frame in range(20):
        tracker(*people([walk(frame), walk(0, 300)]))
    expected = tracker.expected([2, UNKNOWN, 1])
    np.testing.assert_allclose(expected[[0, 2]], [walk(0, 300), walk(20)], atol=1.0)
    assert np.isnan(expected[1]).all()
    assert tracker.expected([]).shape == (0, 4)


def test_who_is_gone_for_long_is_somebody_else():
    tracker = Tracker(SIGMAS, TrackerSettings(frames_to_end=5))
    for frame in range(10):
        tracker(*people([walk(frame)]))
    for _ in range(6):
        tracker(*people([]))
    assert len(tracker.ids) == 0
    tracker(*people([walk(16)]))
    assert tracker(*people([walk(17)])).tolist() == [2]


def test_a_doubtful_box_continues_a_track_and_begins_none():
    tracker = Tracker(SIGMAS)
    tracker(*people([walk(0)]))
    for frame in range(1, 10):
        found = tracker(*people([walk(frame), walk(frame, 300)], scores=[0.3, 0.3]))
        assert found.tolist() == [1, UNKNOWN]
    assert tracker(*people([walk(10)], scores=[0.05])).tolist() == [UNKNOWN]


def test_keypoints_tell_two_in_one_box_apart():
    """The better overlap is the other's; the pose decides."""
    settings = TrackerSettings(likeness=0.1)
    tracker = Tracker(SIGMAS, settings)
    lying = BODY[:, ::-1]
    first = [people([[100, 100, 60, 100]]), people([[106, 100, 60, 100]], lying)]
    assert tracker(*[np.concatenate(part) for part in zip(*first, strict=True)]).tolist() == [1, 2]
    second = [people([[103, 100, 60, 100]], lying), people([[104, 100, 60, 100]])]
    assert tracker(*[np.concatenate(part) for part in zip(*second, strict=True)]).tolist() == [2, 1]


def test_without_any_keypoint_boxes_decide():
    tracker = Tracker(SIGMAS)
    unsure = np.zeros((2, 6))
    tracker(*people([walk(0), walk(0, 200)], keypoint_scores=unsure))
    assert tracker(*people([walk(1, 200), walk(1)], keypoint_scores=unsure)).tolist() == [2, 1]


def test_nobody_at_all():
    tracker = Tracker(SIGMAS)
    assert tracker(*people([])).tolist() == [] and tracker.windows.shape == (0, 4)


def test_numbers_are_never_given_twice():
    """A hundred frames of people who come, shake and go."""
    random, tracker, seen = np.random.default_rng(0), Tracker(SIGMAS), {}
    for frame in range(100):
        there = [n for n in range(12) if (frame + 17 * n) % 60 < 40]
        windows = [walk(frame, 150.0 * n, 1.0, 10.0 * (n % 3)) for n in there]
        windows = np.reshape(windows, (-1, 4)) + random.normal(size=(len(there), 4))
        order = random.permutation(len(there))
        ids = tracker(*people(windows[order]))
        known = ids[ids != UNKNOWN].tolist()
        assert len(set(known)) == len(known)
        for number, who in zip(ids, np.array(there)[order], strict=True):
            if number != UNKNOWN:
                assert seen.setdefault(int(number), who) == who
