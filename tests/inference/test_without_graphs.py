"""A single picture, for which no graph is made."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference.without_graphs import without_graphs


def test_nothing_is_traced_inside_and_everything_behind():
    traced = []

    @tf.function
    def function(x):
        traced.append(tf.executing_eagerly())
        return x + 1

    with without_graphs():
        assert int(function(tf.constant(1))) == 2
    with without_graphs(False):
        function(tf.constant(1))
    function(tf.constant(1))
    assert traced == [True, False]


def test_an_error_inside_leaves_graphs_on():
    with pytest.raises(ValueError, match="inside"), without_graphs():
        raise ValueError("inside")
    assert not tf.config.functions_run_eagerly()


def test_poses_and_boxes_are_those_of_the_graphs(data_root):
    picture = sorted((data_root / "coco_tiny/val2017").glob("*.jpg"))[0]
    estimator = PoseEstimator.load("weights/p2net_small_lsp_128x128")
    detector = NetworkDetector.load("weights/detector_small_people")
    with without_graphs():
        (eager,) = estimator.predict(picture, detector=detector)
    (graph,) = estimator.predict(picture, detector=detector)
    assert len(eager) == len(graph) > 0
    np.testing.assert_allclose(eager.boxes, graph.boxes, atol=1e-3)
    np.testing.assert_allclose(eager.keypoints, graph.keypoints, atol=1e-3)
