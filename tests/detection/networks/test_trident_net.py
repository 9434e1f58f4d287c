"""Which objects the branches of TridentNet learn from."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_detectors import tiny_detector

from p2net_tf.detection.networks import Truth
from p2net_tf.detection.networks.box_head import BoxRules

SIDES = (10.0, 60.0, 120.0, 400.0)
TRUTH = Truth(
    tf.constant([[[5, 5, 5 + side, 5 + side] for side in SIDES]]),
    tf.zeros((1, len(SIDES)), tf.int32),
    tf.zeros((1, len(SIDES)), tf.bool),
)


def learned(network) -> list[list[float]]:
    truth = network.training_truth(TRUTH)
    assert truth.boxes.shape == (3, len(SIDES), 4)
    return [
        [side for side, left in zip(SIDES, unfit, strict=True) if not left] for unfit in truth.unfit.numpy()
    ]


def test_each_branch_has_its_sizes():
    """Table 5 of the paper: (0, 90), (30, 160), (90, inf)."""
    assert learned(tiny_detector("tridentnet")) == [[10, 60], [60, 120], [120, 400]]


def test_the_branch_that_works_alone_may_learn_every_size():
    ranges = [[0, 50], [0, 1e5], [50, 1e5]]
    network = tiny_detector("tridentnet", valid_ranges=ranges)
    assert learned(network) == [[10], [10, 60, 120, 400], [60, 120, 400]]
    assert network.get_config()["valid_ranges"] == ranges


def test_branches_and_ranges_are_as_many():
    with pytest.raises(ValueError, match="2 pairs; there are 3 branches"):
        tiny_detector("tridentnet", valid_ranges=[[0, 90], [90, 1e5]])


@pytest.mark.parametrize("samples, expected", [(2, 2), (512, 6 + len(SIDES))])
def test_so_many_proposals_are_looked_at_again_in_training(samples, expected):
    proposals = tf.random.uniform((1, 6, 4), maxval=20.0, seed=1) + [0.0, 0.0, 40.0, 40.0]
    chosen = BoxRules(samples).sampled(proposals, tf.ones((1, 6), tf.bool), TRUTH, tf.random.uniform)
    assert chosen["boxes"].shape == (1, expected, 4)
    assert np.all(np.isfinite(chosen["deltas"]))
