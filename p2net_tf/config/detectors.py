"""The detection network that a `model` section describes, and its card."""

from __future__ import annotations

from collections.abc import Sequence

from p2net_tf.config.detector import DetectionNetworkConfig, DetectorExperimentConfig
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.networks import NETWORKS, DetectionNetwork

_NOT_ARGUMENTS = {
    "name",
    "weights",
    "synchronized_batch_norm",
    "input_size",
    "shorter_side",
    "longer_side",
    "backbone_width",
    "backbone_blocks",
    "candidates",
}


def build_detector(
    config: DetectorExperimentConfig, num_classes: int, synchronized: bool = False, download: bool = True
) -> DetectionNetwork:
    """The network that `config` describes, with random weights.

    Args:
        num_classes: kinds of objects that are learned.
        synchronized: batch statistics over all replicas, where the configuration leaves it open.
    """
    model, evaluation = config.model, config.evaluation
    chosen = model.synchronized_batch_norm
    return NETWORKS[model.name](
        num_classes=num_classes,
        synchronized_batch_norm=synchronized if chosen is None else chosen,
        score_threshold=evaluation.score_threshold,
        nms_threshold=evaluation.nms_threshold,
        max_detections=evaluation.max_detections,
        seed=config.seed,
        **model.model_dump(exclude=_NOT_ARGUMENTS),
        **_renamed(model),
    )


def detector_card(config: DetectorExperimentConfig, classes: Sequence[str]) -> DetectorCard:
    """What `config` trains a network with, and how it is asked from then on.

    Args:
        classes: names of what is learned, in the order of the network's classes.
    """
    shorter, longer = config.model.sides
    return DetectorCard(
        name=config.name,
        classes=tuple(classes),
        shorter_side=shorter,
        longer_side=longer,
        antialias=config.evaluation.antialias,
        score_threshold=config.evaluation.score_threshold,
    )


def _renamed(model: DetectionNetworkConfig) -> dict:
    """Arguments that are called otherwise, or left to the network."""
    arguments = {} if model.candidates is None else {"candidates": model.candidates}
    if hasattr(model, "backbone_width"):
        arguments |= {"small_width": model.backbone_width, "small_blocks": model.backbone_blocks}
    return arguments
