"""The network that a `model` section describes."""

from __future__ import annotations

from p2net_tf.config.model import ModelConfig
from p2net_tf.inference.transfer import inherited_arguments
from p2net_tf.models import NETWORKS, PoseNetwork, pretrained
from p2net_tf.utils.yaml_files import ConfigError

IMAGENET = "imagenet"
_NOT_ARGUMENTS = {"name", "weights", "synchronized_batch_norm"}


def build_network(
    config: ModelConfig,
    num_keypoints: int,
    synchronized: bool = False,
    download: bool = True,
    **arguments,
) -> PoseNetwork:
    """The network that `config` describes, with random weights or ImageNet's in its backbone.

    It is built as the weights of a file need it; `p2net_tf.inference.transfer` copies these.

    Args:
        num_keypoints: K of the skeleton.
        synchronized: batch statistics over all replicas, where the configuration leaves it open.
        download: False leaves the weights random even where `config.weights` names some, for a network whose
            weights come from a checkpoint.
        arguments: further ones of the network's constructor, for weights that need them.

    Raises:
        ConfigError: the ImageNet weights cannot be had.
        NetworkFileError: the file of weights cannot be opened.
    """
    chosen = config.synchronized_batch_norm
    try:
        network = NETWORKS[config.name](
            num_keypoints,
            synchronized_batch_norm=synchronized if chosen is None else chosen,
            **config.model_dump(exclude=_NOT_ARGUMENTS),
            **_arguments_of_weights(config),
            **arguments,
        )
        if config.weights == IMAGENET and download:
            pretrained.load_imagenet_weights(network.backbone, config.backbone)
    except pretrained.PretrainedError as error:
        raise ConfigError(f"model.weights={config.weights}: {error}") from error
    return network


def _arguments_of_weights(config: ModelConfig) -> dict:
    if config.weights is None:
        return {}
    if config.weights == IMAGENET:
        return pretrained.needed_arguments(getattr(config, "backbone", config.name), IMAGENET)
    return inherited_arguments(config.weights)
