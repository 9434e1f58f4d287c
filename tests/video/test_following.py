"""Two boxes in which the network finds one person."""

import numpy as np
import pytest

from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.inference.poses import Poses
from p2net_tf.video.following import unlike_rows

BODY = np.random.default_rng(0).uniform(0, 1, (17, 2)) * [40, 100]


def poses(*corners) -> Poses:
    """The same body at each of the corners."""
    places = np.float32(corners).reshape(-1, 2)
    boxes = np.concatenate([places, np.tile(np.float32([[40, 100]]), (len(places), 1))], axis=1)
    ones = np.ones(len(places), np.float32)
    return Poses(places[:, None] + BODY, np.ones((len(places), 17)), ones, boxes, ones, SKELETON, None)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_of_two_alike_stays_who_was_expected_there(order):
    expected = np.float64([[100, 0, 40, 100], [120, 0, 40, 100], [300, 0, 40, 100]])
    found = poses((101, 0), (102, 0), (300, 0)).take(np.array(order))
    assert [order[row] for row in unlike_rows(found, expected[order])] == [row for row in order if row != 1]


def test_whose_track_is_not_known_goes_first():
    assert unlike_rows(poses((100, 0), (100, 0)), np.array([[np.nan] * 4, [90, 0, 40, 100]])).tolist() == [1]


def test_who_walk_side_by_side_both_stay():
    assert unlike_rows(poses((100, 0), (125, 0)), np.full((2, 4), np.nan)).tolist() == [0, 1]
    assert unlike_rows(poses(), np.zeros((0, 4))).tolist() == []
