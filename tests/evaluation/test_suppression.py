"""Suppression of the poses of a picture: the settings of a run on `Poses`."""

import numpy as np

from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.suppression import suppressed
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.poses import Poses
from p2net_tf.skeletons.skeleton import Skeleton

COCO = Skeleton.load("coco17")
CARD = InferenceCard(skeleton=COCO, input_size=(64, 64))


def poses() -> Poses:
    """The first and the last are one person, the last is surer; the second stands far away."""
    points = np.random.default_rng(0).uniform(0, 50, (17, 2)).astype("float32")
    keypoints = np.stack([points, points + 500, points + 0.1])
    boxes = np.float32([[0, 0, 50, 50], [500, 500, 50, 50], [0, 0, 50, 50]])
    scores = np.float32([0.5, 0.4, 0.8])
    return Poses(keypoints, np.ones((3, 17), np.float32), scores, boxes, scores, COCO, "street.jpg")


def test_one_of_two_poses_of_a_person_stays_best_first():
    kept = suppressed(poses(), CARD, EvaluationConfig(nms="oks", nms_threshold=0.5))
    np.testing.assert_array_equal(kept.scores, np.float32([0.8, 0.4]))
    np.testing.assert_array_equal(kept.boxes, poses().boxes[[2, 1]])


def test_without_suppression_all_stay_in_their_order():
    kept = suppressed(poses(), CARD, EvaluationConfig())
    np.testing.assert_array_equal(kept.scores, poses().scores)
