"""Detection networks, in Keras alone, and the mechanisms that they are built of, one a file."""

from p2net_tf.detection.networks.detection_network import DetectionNetwork, Truth
from p2net_tf.detection.networks.faster_rcnn import FasterRCNN
from p2net_tf.detection.networks.one_stage import OneStageDetector
from p2net_tf.detection.networks.trident_net import TridentNet

NETWORKS = {"faster_rcnn": FasterRCNN, "tridentnet": TridentNet, "one_stage": OneStageDetector}
"""Classes by the `name` of a detector's `model` section, whose other keys are their arguments."""

__all__ = ["NETWORKS", "DetectionNetwork", "FasterRCNN", "OneStageDetector", "TridentNet", "Truth"]
