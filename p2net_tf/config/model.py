"""The `model` section: one schema per network, chosen by its `name`.

Keys are those of the network's constructor, so a section knows no key that its network does not use. The
networks themselves are in `p2net_tf.config.networks`: reading a configuration loads no TensorFlow.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag, field_validator

from p2net_tf.utils.yaml_files import Section


def demand_multiples_of_32(size: tuple[int, int]) -> tuple[int, int]:
    """Raises:
    ValueError: a (height, width) that does not divide down to stride 32.
    """
    if any(side % 32 for side in size):
        nearest = [max(32, round(side / 32) * 32) for side in size]
        raise ValueError(f"{list(size)} are not multiples of 32, the coarsest stride; nearest: {nearest}")
    return size


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

    _size = field_validator("input_size")(demand_multiples_of_32)


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
"""The section of a network, chosen by its `name`; without one it is P2Net."""


def describe_model(section: NetworkConfig) -> str:
    """The network in words, e.g. `p2net on resnet50`."""
    return f"{section.name} on {section.backbone}" if hasattr(section, "backbone") else section.name
