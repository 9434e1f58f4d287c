"""The One-Euro filter against its authors' own, and in closed form."""

import math

import numpy as np
import pytest

from p2net_tf.video.smoothing import OneEuroFilter

SETTINGS = [(1.0, 0.0, 1.0), (0.5, 0.1, 2.0), (3.0, 2.0, 0.7)]


@pytest.mark.parametrize("min_cutoff, beta, derivative_cutoff", SETTINGS)
@pytest.mark.parametrize("timed", [False, True])
def test_it_is_that_of_its_authors(min_cutoff, beta, derivative_cutoff, timed):
    """Of every number by itself, at even and uneven times."""
    theirs = pytest.importorskip("OneEuroFilter", reason="the package OneEuroFilter 0.2.1 is not installed")
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 3, 2)).cumsum(axis=0) * 5
    times = 0.5 + random.uniform(0.01, 0.1, 50).cumsum()
    peers = [theirs.OneEuroFilter(25.0, min_cutoff, beta, derivative_cutoff) for _ in range(6)]
    ours = OneEuroFilter(min_cutoff, beta, derivative_cutoff, rate=25.0)
    for value, time in zip(values, times, strict=True):
        time = time if timed else None
        expected = [peer(x, time) for peer, x in zip(peers, value.ravel(), strict=True)]
        np.testing.assert_allclose(ours(value, time).ravel(), expected, rtol=1e-12, atol=1e-12)


def test_a_step_without_beta_is_an_exponential():
    smooth = OneEuroFilter(min_cutoff=1.5, rate=30.0)
    weight = 1 / (1 + 30 / (2 * math.pi * 1.5))
    found = [float(smooth(x)) for x in [0.0, 1.0, 1.0, 1.0]]
    np.testing.assert_allclose(found, [0, *(1 - (1 - weight) ** n for n in (1, 2, 3))], rtol=1e-12)


def test_a_joint_that_is_not_found_waits():
    """It stays unknown, and afterwards goes on from where it was, after the time that has passed."""
    smooth, other = OneEuroFilter(beta=0.3), OneEuroFilter(beta=0.3)
    gap = [([1.0, 5.0], 0.1), ([np.nan, 6.0], 0.2), ([np.nan, 6.5], 0.3), ([4.0, 7.0], 0.4)]
    found = [smooth(values, time) for values, time in gap]
    assert np.isnan(found[1][0]) and np.isnan(found[2][0])
    np.testing.assert_allclose(found[3][0], [other(1.0, 0.1), other(4.0, 0.4)][1], rtol=1e-12)
    straight = OneEuroFilter(beta=0.3)
    np.testing.assert_allclose([f[1] for f in found], [straight(v[1], t) for v, t in gap], rtol=1e-12)


@pytest.mark.parametrize("wrong", [{"min_cutoff": 0}, {"rate": -1}, {"derivative_cutoff": 0}, {"beta": -0.1}])
def test_settings_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OneEuroFilter(**wrong)


def test_another_number_of_joints():
    smooth = OneEuroFilter()
    smooth(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="begin another filter"):
        smooth(np.zeros((4, 2)))
