"""The losses of the paper (section 4.1), and the accuracy that a progress bar shows."""

from p2net_tf.losses.focal import FocalLoss
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss, default_ohkm
from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy

__all__ = ["FocalLoss", "HeatmapLoss", "KeypointAccuracy", "OHKMLoss", "default_ohkm"]
