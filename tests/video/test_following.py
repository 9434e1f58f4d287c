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
def test_of_two_alike_stays_who_fits(order):
    found = poses((101, 0), (102, 0), (300, 0)).take(np.array(order))
    fit = np.array([0.9, 0.6, 0.7])[order]
    assert [order[row] for row in unlike_rows(found, fit)] == [row for row in order if row != 1]


def test_who_walk_side_by_side_both_stay():
    assert unlike_rows(poses((100, 0), (125, 0)), np.ones(2)).tolist() == [0, 1]
    assert unlike_rows(poses(), np.zeros(0)).tolist() == []
