"""The `model` section: one schema per network, chosen by its `name`, and the network that it describes.

Keys are those of the network's constructor, so a section knows no key that its network does not use.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag, field_validator

from p2net_tf.inference.transfer import inherited_arguments
from p2net_tf.models import NETWORKS, PoseNetwork, pretrained
from p2net_tf.utils.yaml_files import ConfigError, Section


class NetworkConfig(Section):
    """What every network has."""

    input_size: tuple[PositiveInt, PositiveInt] = (256, 192)
    """(height, width) of the crop, multiples of 32."""
    synchronized_batch_norm: bool | None = None
    """None: synchronized where there is more than one replica."""
    weights: str | None = None
    """A `.keras` file or a run folder to start from: of the same network, if for other keypoints."""
    alignment: Literal["continuous", "pixel_index"] = "continuous"
    """How crops and heatmaps lie on the image. pixel_index: as the published PyTorch networks had them, whose
    weights `p2net import-weights` takes over; for evaluation and export, not for training."""

    @field_validator("input_size")
    @classmethod
    def _divides_down_to_stride_32(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side % 32 for side in size):
            nearest = [max(32, round(side / 32) * 32) for side in size]
            raise ValueError(f"{list(size)} are not multiples of 32, the coarsest stride; nearest: {nearest}")
        return size


class ResNetNetworkConfig(NetworkConfig):
    """What every network on a ResNet has."""

    backbone: Literal["resnet18", "resnet50", "resnet101", "resnet152", "small"] = "resnet50"
    backbone_width: PositiveInt = 32
    """small backbone only: channels at stride 4; they double at each coarser resolution."""
    backbone_blocks: PositiveInt = 2
    """small backbone only: residual blocks per resolution."""
    weights: str | None = None
    """`imagenet` downloads those of the backbone on first use; else a `.keras` file or a run folder to start
    from: of the same network, if for other keypoints."""


class P2NetConfig(ResNetNetworkConfig):
    name: Literal["p2net"] = "p2net"
    width: PositiveInt = 128
    """Channels of every resolution of the ParallelNet."""
    exchange_units: PositiveInt = 3
    refine_bottlenecks: tuple[int, int, int, int] = (0, 1, 2, 3)
    """Dilated bottlenecks per resolution of the RefineNet, finest first."""
    apm: bool = True
    """Attention Partial Module on or off (Table 5 of the paper)."""


class SimpleBaselineConfig(ResNetNetworkConfig):
    name: Literal["simple_baseline"] = "simple_baseline"
    width: PositiveInt = 256
    """Channels of the three transposed convolutions."""


class CPNConfig(ResNetNetworkConfig):
    name: Literal["cpn"] = "cpn"
    width: PositiveInt = 256
    """Channels of every resolution."""
    refine_bottlenecks: tuple[int, int, int, int] = (0, 1, 2, 3)
    """Bottlenecks per resolution of the RefineNet, finest first."""


class HRNetConfig(NetworkConfig):
    name: Literal["hrnet"] = "hrnet"
    width: PositiveInt = 32
    """Channels at stride 4; they double at each coarser resolution."""
    modules: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 3)
    """Modules of the stages with two, three and four branches."""
    blocks: PositiveInt = 4
    """Basic blocks per branch and module."""


class HourglassConfig(NetworkConfig):
    name: Literal["hourglass"] = "hourglass"
    stacks: PositiveInt = 8
    """Hourglasses in a row."""
    width: Annotated[PositiveInt, Field(multiple_of=4)] = 256
    """Channels of the hourglasses."""
    depth: PositiveInt = 4
    """How often an hourglass halves the resolution."""


def _name_of(section) -> str:
    name = section.get("name", "p2net") if isinstance(section, dict) else getattr(section, "name", "p2net")
    return str(name)


ModelConfig = Annotated[
    Annotated[P2NetConfig, Tag("p2net")]
    | Annotated[SimpleBaselineConfig, Tag("simple_baseline")]
    | Annotated[HRNetConfig, Tag("hrnet")]
    | Annotated[CPNConfig, Tag("cpn")]
    | Annotated[HourglassConfig, Tag("hourglass")],
    Discriminator(_name_of),
]


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


def describe_model(section: NetworkConfig) -> str:
    """The network in words, e.g. `p2net on resnet50`."""
    return f"{section.name} on {section.backbone}" if hasattr(section, "backbone") else section.name
