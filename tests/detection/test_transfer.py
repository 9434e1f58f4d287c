"""Weights of a trained detector in a new one."""

import numpy as np
import pytest
from tiny_detectors import tiny_detector

from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.transfer import transfer_detector
from p2net_tf.inference.keras_file import NetworkFileError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`(file, network)` of one class."""
    path = tmp_path_factory.mktemp("saved") / "best.keras"
    network = tiny_detector("one_stage")
    NetworkDetector(network, DetectorCard()).save(path)
    return path, network


def test_everything_of_the_same_classes(saved):
    path, network = saved
    new = tiny_detector("one_stage", score_threshold=0.5)
    assert transfer_detector(path.parent, new, ("person",)) == []  # a run folder
    for one, other in zip(new.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_but_the_scores_of_other_classes(saved):
    path, network = saved
    new = tiny_detector("one_stage", num_classes=2)
    before = [weight.numpy() for weight in new.weights]
    (left,) = transfer_detector(path, new, ("person", "dog"))
    assert left.endswith("class_head/output")
    for one, other, then in zip(new.weights, network.weights, before, strict=True):
        np.testing.assert_array_equal(one, then if "class_head/output" in one.path else other)


def test_another_network_is_refused(saved):
    with pytest.raises(NetworkFileError, match=r"is another network: pyramid_width is 16 there, 32 here"):
        transfer_detector(saved[0], tiny_detector("one_stage", pyramid_width=32), ("person",))
