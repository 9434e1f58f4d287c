"""Suppression of poses, of the persons of one picture."""

from __future__ import annotations

import numpy as np

from p2net_tf.evaluation.oks import suppress_poses
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.poses import Poses
from p2net_tf.keypoints.alignment import ALIGNMENTS


def suppressed(poses: Poses, card: InferenceCard, settings: EvaluationConfig) -> Poses:
    """Those that `settings.nms` leaves, with its scores for them, best first; all where it is None."""
    return poses.take(*left_by_suppression(poses, card, settings))


def left_by_suppression(
    poses: Poses, card: InferenceCard, settings: EvaluationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """`(rows [m], scores [m])` of those that `suppressed` gives."""
    areas = ALIGNMENTS[card.alignment].suppression_areas(poses.boxes, card.aspect_ratio, card.box_padding)
    return suppress_poses(
        settings.nms,
        np.zeros(len(poses), np.int64),
        poses.keypoints,
        poses.scores,
        areas,
        poses.skeleton.sigmas,
        settings.nms_threshold,
    )
