"""The detection network that a `model` section describes, and its card."""

from __future__ import annotations

from collections.abc import Sequence

from p2net_tf.config.detector import DetectionNetworkConfig, DetectorExperimentConfig
from p2net_tf.config.networks import IMAGENET
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.networks import NETWORKS, DetectionNetwork, TridentNet
from p2net_tf.detection.transfer import INHERITED
from p2net_tf.inference.transfer import inherited_arguments
from p2net_tf.models import pretrained
from p2net_tf.utils.yaml_files import ConfigError

_RESNET_OF = {"detnet59": "resnet50"}
"""Backbones that begin as a ResNet does, whose ImageNet weights their first stages take."""

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
    "valid_ranges",
}


def build_detector(
    config: DetectorExperimentConfig, num_classes: int, synchronized: bool = False, download: bool = True
) -> DetectionNetwork:
    """The network that `config` describes, with random weights or ImageNet's in its backbone.

    It is built as the weights of a file need it; `p2net_tf.detection.transfer` copies these.

    Args:
        num_classes: kinds of objects that are learned.
        synchronized: batch statistics over all replicas, where the configuration leaves it open.
        download: False leaves the weights random even where `model.weights` names some, for a network whose
            weights come from a checkpoint.

    Raises:
        ConfigError: the ImageNet weights cannot be had.
        NetworkFileError: the file of weights cannot be opened.
    """
    model, evaluation = config.model, config.evaluation
    chosen = model.synchronized_batch_norm
    try:
        arguments = _arguments_of_weights(model)
        network = NETWORKS[model.name](
            num_classes=num_classes,
            synchronized_batch_norm=synchronized if chosen is None else chosen,
            score_threshold=evaluation.score_threshold,
            nms_threshold=evaluation.nms_threshold,
            max_detections=evaluation.max_detections,
            seed=config.seed,
            **model.model_dump(exclude=_NOT_ARGUMENTS),
            **_renamed(model),
            **arguments,
        )
        if model.weights == IMAGENET and download:
            _load_imagenet(network, model.backbone)
    except pretrained.PretrainedError as error:
        raise ConfigError(f"model.weights={model.weights}: {error}") from error
    return network


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
        likely_score=0.5 if config.evaluation.likely_score is None else config.evaluation.likely_score,
    )


def _arguments_of_weights(model: DetectionNetworkConfig) -> dict:
    """What a network must be built with for the weights that it starts from."""
    if model.weights is None:
        return {}
    if model.weights != IMAGENET:
        return inherited_arguments(model.weights, INHERITED)
    arguments = pretrained.needed_arguments(_RESNET_OF.get(model.backbone, model.backbone), IMAGENET)
    if model.backbone in _RESNET_OF:
        arguments.pop("stride_in_1x1", None)  # as it is always
    return arguments


def _load_imagenet(network: DetectionNetwork, backbone: str) -> None:
    if backbone in _RESNET_OF:
        pretrained.load_imagenet_weights(network.backbone.resnet, _RESNET_OF[backbone])
    elif isinstance(network, TridentNet):
        pretrained.load_imagenet_weights(network.resnet, backbone)
    else:
        pretrained.load_imagenet_weights(network.backbone, backbone)


def _renamed(model: DetectionNetworkConfig) -> dict:
    """Arguments that are called otherwise, or left to the network."""
    arguments = {
        name: getattr(model, name)
        for name in ("candidates", "valid_ranges")
        if getattr(model, name, None) is not None
    }
    if hasattr(model, "backbone_width"):
        arguments |= {"small_width": model.backbone_width, "small_blocks": model.backbone_blocks}
    return arguments
