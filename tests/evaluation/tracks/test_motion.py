"""Jitter and lag of motions that have a closed form."""

import numpy as np
import pytest

from p2net_tf.evaluation.tracks.files import read_found_tracks, read_true_tracks
from p2net_tf.evaluation.tracks.motion import Walk, jitter, lag, walks_of
from tests.scored_tracks import found, person, truth

FRAMES = np.arange(120.0)
SIZE = 60.0


def walk(true, predicted, numbers=None, size=SIZE) -> Walk:
    """One keypoint that moves along x: `[T]` each."""
    places = [np.stack([values, np.zeros(len(values))], axis=-1)[:, None] for values in (true, predicted)]
    return Walk(*places, np.zeros(len(true), int) if numbers is None else numbers, size)


def test_jitter_of_a_parabola_and_of_a_line():
    """x = a t^2 has second differences of 2 a; a line has none."""
    assert jitter([walk(3.0 * FRAMES, 0.6 * FRAMES**2)]) == pytest.approx((1.2 / SIZE, 0))


def test_jitter_of_what_trembles():
    """Up and down by e: second differences of 4 e; people count by their keypoints, in their own sizes."""
    trembling = 5.0 * FRAMES + 0.9 * (-1) ** FRAMES
    both = [walk(5.0 * FRAMES, trembling), walk(FRAMES, FRAMES, size=10)]
    assert jitter(both[:1]) == pytest.approx((3.6 / SIZE, 0))
    assert jitter(both) == pytest.approx((1.8 / SIZE, 0))


def test_jitter_is_of_three_frames_in_a_row_under_one_number():
    """A jump counts neither where the number changes nor where somebody is lost, nor where nothing is
    labeled."""
    steps = np.where(FRAMES < 40, 0.0, 100.0)
    numbers = np.where(FRAMES < 40, 0, 1)
    assert jitter([walk(FRAMES, steps, numbers)]) == pytest.approx((0, 0))
    lost = np.where(FRAMES == 40, np.nan, steps)
    assert jitter([walk(FRAMES, lost)]) == pytest.approx((0, 0))
    assert jitter([walk(np.where(FRAMES == 40, np.nan, FRAMES), steps)]) == pytest.approx((0, 0))
    assert np.isnan(jitter([])).all()


@pytest.mark.parametrize("late", [1.5, 0.0, -2.25, 0.3])
def test_lag_of_a_sine(late):
    """To a thousandth of a frame."""
    wave = [30 * np.sin(2 * np.pi * (FRAMES - shift) / 40) for shift in (0, late)]
    assert lag([walk(*wave)]) == pytest.approx(late, abs=1e-3)


def test_lag_of_who_walks_by():
    """2 pixels a frame, and 3 pixels behind; who is smaller counts as much."""
    behind = walk(2 * FRAMES, 2 * FRAMES - 3)
    assert lag([behind]) == pytest.approx(1.5, abs=1e-6)
    double = walk(4 * FRAMES, 4 * FRAMES, size=2 * SIZE)
    assert lag([behind, double]) == pytest.approx(0.75, abs=1e-6)


def test_lag_of_what_comes_and_goes():
    true, late = (30 * np.sin(2 * np.pi * (FRAMES - shift) / 40) for shift in (0, 1.5))
    true[50:55], late[80:90] = np.nan, np.nan
    assert lag([walk(true, late)]) == pytest.approx(1.5, abs=1e-3)


def test_lag_that_cannot_be_told():
    """Too short, or further than is looked."""
    assert np.isnan(lag([walk(FRAMES[:20], FRAMES[:20])]))
    assert lag([walk(FRAMES[:21], FRAMES[:21])]) == pytest.approx(0, abs=1e-6)
    assert np.isnan(lag([walk(FRAMES, FRAMES - 10)]))
    assert np.isnan(lag([]))


def test_people_of_files():
    """Keypoints at 3 pixels a frame, half of the video under one number; one frame is not in it."""
    frames = [1, 2, 3, 5, 6]
    people = [person(frame, 4, 3.0 * frame) for frame in frames] + [person(1, 5, 500.0)]
    people[1]["keypoints"][:3] = [0, 0, 0]
    predictions = [found(frame, 1 if frame < 5 else 2, 3.0 * frame + 1) for frame in frames if frame != 3]
    true, theirs = read_true_tracks(truth(people, 6), 17), read_found_tracks(predictions, 17)
    (one,) = walks_of(true, theirs, np.array([0, 1, -1, 2, 3, -1]))
    assert one.size == SIZE
    assert one.numbers.tolist() == [0, 0, -1, -1, 1, 1]
    shift = one.found[:, 3, 0] - one.truth[:, 3, 0]
    np.testing.assert_allclose(shift, [1, 1, np.nan, np.nan, 1, 1])
    assert np.isnan(one.truth[1, 0]).all() and np.isfinite(one.truth[1, 1:]).all()
