"""Networks from crops to heatmaps."""

from p2net_tf.config_networks import ModelConfig
from p2net_tf.models import pretrained
from p2net_tf.models.cpn import CPN
from p2net_tf.models.hourglass import StackedHourglass
from p2net_tf.models.hrnet import HRNet
from p2net_tf.models.p2net import P2Net
from p2net_tf.models.pose_network import PoseNetwork
from p2net_tf.models.simple_baseline import SimpleBaseline

NETWORKS = {
    "p2net": P2Net,
    "simple_baseline": SimpleBaseline,
    "hrnet": HRNet,
    "cpn": CPN,
    "hourglass": StackedHourglass,
}
"""Classes by the `name` of a `model` section, whose other keys are their arguments."""

_NOT_ARGUMENTS = {"name", "weights", "synchronized_batch_norm"}


def build_network(
    config: ModelConfig,
    num_keypoints: int,
    synchronized: bool = False,
    download: bool = True,
    **arguments,
) -> PoseNetwork:
    """The network that `config` describes, with random weights or ImageNet's in its backbone.

    Args:
        num_keypoints: K of the skeleton.
        synchronized: batch statistics over all replicas, where the configuration leaves it open.
        download: False leaves the weights random even where `config.weights` names some, for a network whose
            weights come from a checkpoint.
        arguments: further ones of the network's constructor, for weights that need them.

    Raises:
        PretrainedError: the ImageNet weights cannot be had.
    """
    chosen = config.synchronized_batch_norm
    options = pretrained.model_options(config.backbone) if config.weights else {}
    network = NETWORKS[config.name](
        num_keypoints,
        synchronized_batch_norm=synchronized if chosen is None else chosen,
        **config.model_dump(exclude=_NOT_ARGUMENTS),
        **options,
        **arguments,
    )
    if config.weights and download:
        pretrained.load_imagenet_weights(network.backbone, config.backbone)
    return network


__all__ = [
    "CPN",
    "NETWORKS",
    "HRNet",
    "P2Net",
    "PoseNetwork",
    "SimpleBaseline",
    "StackedHourglass",
    "build_network",
]
