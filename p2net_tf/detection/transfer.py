"""A new detector that begins with the weights of a trained one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2net_tf.detection.card import read_detector_card
from p2net_tf.detection.networks import DetectionNetwork
from p2net_tf.inference.keras_file import load_model
from p2net_tf.inference.run_folder import network_file
from p2net_tf.inference.transfer import demand_same_network

INHERITED = ("mean", "std", "stride_in_1x1", "aligned", "anchor_offset", "rounded_anchors")
"""Arguments that features and boxes depend on, and that a configuration does not have."""
_MAY_DIFFER = {
    "num_classes",
    "freeze_batch_norm",
    "score_threshold",
    "nms_threshold",
    "max_detections",
    "candidates",
    "proposals",
    "training_candidates",
    "box_samples",
    "valid_ranges",
    "seed",
    "alpha",
    "gamma",
    "trident_blocks",
}
_OF_CLASSES = ("class_head/output", "head/logits", "head/deltas")
"""Layers whose outputs belong to one class each."""


def transfer_detector(weights: str | Path, network: DetectionNetwork, classes: Sequence[str]) -> list[str]:
    """Copies all weights of the detector `weights`, a file or run folder, that fit into `network`.

    Features, proposals and boxes carry over whatever the classes are; what says which class it is does where
    they are the same.

    Args:
        network: of the same class and arguments, but perhaps for other classes.
        classes: its own.

    Returns:
        Names of the layers that stay as they were.

    Raises:
        NetworkFileError: another network, or a file that cannot be opened.
        CardError: the file holds no detector.
    """
    file = network_file(weights)
    same_classes = read_detector_card(file).classes == tuple(classes)
    demand_same_network(file, network, _MAY_DIFFER)
    source = load_model(file)
    source = getattr(source, "network", source)
    left = []
    # In order, not by path: Keras counts layers up over the whole process.
    for theirs, ours in zip(source.weights, network.weights, strict=True):
        layer = ours.path.rpartition("/")[0]
        if not same_classes and layer.endswith(_OF_CLASSES):
            left.append(layer)
        else:
            ours.assign(theirs)
    return list(dict.fromkeys(left))
