"""One training of a detector (`configs/detector_<network>_<dataset>.yaml`), chosen by `task: detect`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, field_validator

from p2net_tf.augment.settings import SceneAugmentConfig
from p2net_tf.config.model import demand_multiples_of_32
from p2net_tf.data.boxes.settings import PERSON, BoxDatasetConfig
from p2net_tf.detection.settings import DetectorEvaluationConfig
from p2net_tf.training.settings import DetectorTrainingConfig
from p2net_tf.utils.yaml_files import Section

Backbone = Literal["resnet18", "resnet50", "resnet101", "resnet152", "small", "detnet59", "small_detnet"]


class DetectorDataConfig(Section):
    train: list[BoxDatasetConfig]
    validation: list[BoxDatasetConfig] = []
    """Watched during training and used to choose the best checkpoint; never the test part."""
    test: list[BoxDatasetConfig] = []
    """Scored once, by `p2net evaluate` and at the end of `p2net train`; each source under its own name."""
    classes: tuple[str, ...] = (PERSON,)
    """Names of the classes that are learned, as the data sets have them; empty for all that they have. One of
    them is `person`."""
    cache_mb: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Keep all training images decoded in memory if they need no more than this; `auto`: than a quarter of
    what is available. No batch depends on it."""
    wait_minutes: Annotated[float, Field(ge=0)] = 0.0
    """How long a training waits for pictures that are gone, such as a network disk that is restarted, before
    it saves itself and ends."""

    @field_validator("classes")
    @classmethod
    def _holds_persons(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes and PERSON not in classes:
            raise ValueError(f"{list(classes)} must hold '{PERSON}', which poses are estimated of")
        if len(set(classes)) < len(classes):
            raise ValueError(f"{list(classes)} has a name twice; keep one")
        return classes


class DetectionNetworkConfig(Section):
    """What every detection network has."""

    input_size: tuple[PositiveInt, PositiveInt] = (640, 640)
    """(height, width) of the canvas that pictures are laid on in training, multiples of 32."""
    shorter_side: PositiveInt | None = None
    """Pixels that a picture's shorter side is scaled to, unless its longer one would exceed `longer_side`;
    at inference, and in training before `augment`. None: the shorter side of `input_size`."""
    longer_side: PositiveInt | None = None
    """None: the longer side of `input_size`."""
    synchronized_batch_norm: bool | None = None
    """None: synchronized where there is more than one replica."""
    freeze_batch_norm: bool = False
    """Batch normalization keeps its statistics in training, as in fine-tuning with few pictures a batch."""
    weights: str | None = None
    """`imagenet` downloads those of a ResNet backbone on first use; else a detector's `.keras` file or run
    folder to start from: of the same network, if for other classes."""
    candidates: PositiveInt | None = None
    """Boxes of a picture that are looked at before suppression; None: as many as the network usually has."""

    _size = field_validator("input_size")(demand_multiples_of_32)

    @property
    def sides(self) -> tuple[int, int]:
        """Shorter and longer side of a picture at inference."""
        return (
            self.shorter_side or min(self.input_size),
            self.longer_side or max(self.input_size),
        )


class TwoStageConfig(DetectionNetworkConfig):
    """What networks have that propose boxes and look at them again."""

    proposals: PositiveInt = 1000
    """Boxes that are looked at again."""
    training_candidates: PositiveInt = 2000
    """Anchors of each map that suppression looks at in training."""
    box_samples: PositiveInt = 512
    """Proposals of a picture that are looked at again in training."""
    anchor_sizes: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (
        32, 64, 128, 256, 512,
    )  # fmt: skip
    """In pixels: one of each of the five maps, or all five on the only one."""


class FasterRCNNConfig(TwoStageConfig):
    name: Literal["faster_rcnn"] = "faster_rcnn"
    backbone: Backbone = "resnet50"
    backbone_width: PositiveInt = 32
    """small backbones only: channels at stride 4."""
    backbone_blocks: PositiveInt = 2
    """small backbones only: residual blocks of each stage."""
    pyramid_width: PositiveInt = 256
    """Channels of the pyramid."""
    head_width: PositiveInt = 1024
    """Of the two dense layers."""


ValidRange = tuple[Annotated[float, Field(ge=0)], PositiveFloat]


class TridentNetConfig(TwoStageConfig):
    name: Literal["tridentnet"]
    backbone: Literal["resnet50", "resnet101", "resnet152"] = "resnet101"
    trident_blocks: Annotated[int, Field(ge=0)] = 10
    """Blocks of three branches at the end of C4; 0: the plain network."""
    small_width: PositiveInt | None = None
    """Where it is given, channels at stride 4 of a small ResNet of bottlenecks in place of `backbone`."""
    valid_ranges: tuple[ValidRange, ValidRange, ValidRange] | None = None
    """Least and largest root of the area, in pixels, of the objects that each branch learns from;
    None: the published ones, for pictures of 800 pixels. The middle branch works alone at inference."""


class OneStageConfig(DetectionNetworkConfig):
    name: Literal["one_stage"]
    backbone: Backbone = "resnet50"
    backbone_width: PositiveInt = 32
    """small backbones only: channels at stride 4."""
    backbone_blocks: PositiveInt = 2
    """small backbones only: residual blocks of each stage."""
    pyramid_width: PositiveInt = 256
    """Channels of the pyramid and of the heads."""
    head_depth: PositiveInt = 4
    """Hidden convolutions of each head."""
    head_norm: bool = False
    """Batch normalization behind each of them, for networks that start from random weights."""
    first_level: Annotated[int, Field(ge=0, le=3)] = 1
    """The backbone's maps from this one on: 0 is stride 4, 1 is stride 8."""
    top: Literal["pool", "convolutions"] | None = "convolutions"
    """Coarser maps on top of the pyramid: one, two or none."""
    anchor_sizes: tuple[PositiveFloat, ...] | None = None
    """Of each map, in pixels; None: 4 times its stride."""
    scales: tuple[PositiveFloat, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    """Factors of these sizes."""
    ratios: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0)
    """Heights divided by widths."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.25
    gamma: Annotated[float, Field(ge=0)] = 1.5
    """Of the focal loss (section 4.1 of the paper)."""


def _name_of(section) -> str:
    if isinstance(section, dict):
        return str(section.get("name", "faster_rcnn"))
    return str(getattr(section, "name", "faster_rcnn"))


DetectorModelConfig = Annotated[
    Annotated[FasterRCNNConfig, Tag("faster_rcnn")]
    | Annotated[TridentNetConfig, Tag("tridentnet")]
    | Annotated[OneStageConfig, Tag("one_stage")],
    Discriminator(_name_of),
]


class DetectorExperimentConfig(Section):
    """Everything that decides the outcome of the training of a detector."""

    task: Literal["detect"]
    name: str
    seed: int = 0
    data: DetectorDataConfig
    augment: SceneAugmentConfig = SceneAugmentConfig()
    model: DetectorModelConfig = FasterRCNNConfig()
    training: DetectorTrainingConfig = DetectorTrainingConfig()
    evaluation: DetectorEvaluationConfig = DetectorEvaluationConfig()
