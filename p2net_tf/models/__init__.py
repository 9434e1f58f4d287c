"""Networks from crops to heatmaps."""

from p2net_tf.config import ModelConfig
from p2net_tf.models import pretrained
from p2net_tf.models.p2net import P2Net


def build_network(
    config: ModelConfig, num_keypoints: int, synchronized: bool = False, download: bool = True
) -> P2Net:
    """The network that `config` describes, with random weights or ImageNet's in its backbone.

    Args:
        num_keypoints: K of the skeleton.
        synchronized: batch statistics over all replicas, where the configuration leaves it open.
        download: False leaves the weights random even where `config.weights` names some, for a network whose
            weights come from a checkpoint.

    Raises:
        PretrainedError: the ImageNet weights cannot be had.
    """
    chosen = config.synchronized_batch_norm
    options = pretrained.model_options(config.backbone) if config.weights else {}
    network = P2Net(
        num_keypoints,
        config.input_size,
        backbone=config.backbone,
        width=config.width,
        backbone_width=config.backbone_width,
        backbone_blocks=config.backbone_blocks,
        exchange_units=config.exchange_units,
        refine_bottlenecks=config.refine_bottlenecks,
        apm=config.apm,
        synchronized_batch_norm=synchronized if chosen is None else chosen,
        **options,
    )
    if config.weights and download:
        pretrained.load_imagenet_weights(network.get_layer("pyramid_net").backbone, config.backbone)
    return network


__all__ = ["P2Net", "build_network"]
