"""One typed, validated configuration per experiment (`configs/<model>_<dataset>_<height>x<width>.yaml`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from p2net_tf.config_loading import ConfigError, Section, dump_model, find_config, load_model
from p2net_tf.config_networks import ModelConfig, P2NetConfig

__all__ = ["ConfigError", "ExperimentConfig", "dump_config", "load_config"]

_CONFIG_FOLDERS = (Path("configs"), Path(__file__).parent.parent / "configs")

Probability = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=0, le=10)]


class DatasetConfig(Section):
    """One source of people. `root` and `annotations` may hold `${VARIABLE}` or `${VARIABLE:-default}`."""

    format: Literal["coco", "mpii", "lsp", "lspet", "synthetic", "records"]
    root: str
    """Folder of the data set as its archive unpacks; for `records`, which stand alone, that of the shards."""
    split: str = "train"
    """coco: folder and annotation suffix, e.g. `train2017`; lsp: train / test / all; mpii: train / valid."""
    annotations: str | None = None
    """Annotation file, when it does not lie where the format puts it."""
    detections: str | None = None
    """COCO detector-box JSON to take boxes from instead of the ground truth (evaluation only)."""
    rows: tuple[int, int] | None = None
    """Keep the samples [start, stop) only; how a validation part is split off."""
    repeat: PositiveInt = 1
    """How often each of these samples is seen per epoch; not for `records`."""
    size: PositiveInt = 1000
    """synthetic: number of images rendered into `root` where it holds none yet."""
    seed: int = 0
    """synthetic: seed of the renderer."""


class DataConfig(Section):
    skeleton: str = "coco17"
    """A built-in skeleton card or the path of one."""
    train: list[DatasetConfig]
    validation: list[DatasetConfig] = []
    """Watched during training and used to choose the best checkpoint; never the test part."""
    test: list[DatasetConfig] = []
    """Scored once, by `p2net evaluate` and at the end of `p2net train`."""
    box_padding: PositiveFloat = 1.25
    """Factor by which the crop window is larger than the person box."""
    cache_mb: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Keep all training images decoded in memory if they need no more than this; `auto`: than a quarter of
    what is available. No batch depends on it."""
    service: str | None = None
    """Address of a tf.data dispatcher, `grpc://host:port`, whose workers load the training batches. Their
    order then depends on timing, so that a resumed run is not the uninterrupted one bit for bit."""


class AugmentConfig(Section):
    """The hand-crafted baseline (the SimpleBaseline / HRNet recipe)."""

    scale: Annotated[float, Field(ge=0, lt=1)] = 0.35
    """Standard deviation of the factor on the window's size, clipped to once that: 0.35 spans 0.65..1.35."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 45.0
    """Standard deviation of the rotation in degrees, clipped to twice the deviation."""
    rotation_probability: Probability = 0.6
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest shift of the window, as a fraction of its size."""
    flip_probability: Probability = 0.5
    half_body_probability: Probability = 0.3
    half_body_min_keypoints: PositiveInt = 8
    """Half-body crops are for people with more labeled keypoints than this."""
    color: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of brightness, contrast and saturation."""


class LossConfig(Section):
    sigma: PositiveFloat = 2.0
    """Standard deviation of the target Gaussians, in heatmap pixels."""
    ohkm: PositiveInt | None = None
    """Hard keypoints that the loss of the prediction keeps. None takes what the network was published with:
    the paper's 10 of 17, scaled to the skeleton, for P2Net and CPN, all keypoints for others."""
    parallel_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the heatmaps on the way to the prediction; their losses are averaged."""
    refine_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the prediction."""


class TrainingConfig(Section):
    epochs: PositiveInt = 140
    steps_per_epoch: PositiveInt | None = None
    """Batches from one checkpoint to the next; None: one pass over the data."""
    batch_size: PositiveInt = 32
    """Global batch, over all replicas."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged into one update, for a larger batch than fits into memory. Batch
    statistics are still those of `batch_size`."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: PositiveFloat = 5e-4
    learning_rate_batch: PositiveInt | None = None
    """Batch that `learning_rate` is meant for. With another one, `batch_size * accumulate`, it is scaled
    linearly (Goyal et al., 2017); None takes it as it is."""
    schedule: Literal["halving", "steps", "cosine", "constant"] = "halving"
    halving_samples: PositiveInt = 3_600_000
    """halving: the rate is halved each time this many samples were seen."""
    decay_epochs: tuple[PositiveInt, ...] = (170, 200)
    """steps: epochs after each of which the rate falls; those of HRNet, which trains for 210."""
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """steps: what the rate is multiplied by."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Updates over which the rate rises to its value; of use with large batches."""
    clip_norm: PositiveFloat | None = None
    """Longest gradient, as the global norm over all weights; a longer one is shortened to it."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """Of kernels alone: adamw shrinks them by this times the rate, the others pay an L2 penalty."""
    ema_momentum: Probability | None = None
    """Keep an exponential moving average of the weights, evaluate and save with it."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Of the layers; weights, batch statistics, heatmaps, losses and updates stay float32. mixed_float16
    scales its loss. Half precision is for GPUs and TPUs, and for CPUs that have instructions for it."""
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = "auto"
    """auto: multi_worker where `TF_CONFIG` names several workers, mirrored where devices are several."""
    replicas: PositiveInt | None = None
    """Devices to mirror on, of every worker; None takes every GPU, or the one CPU."""
    tpu: str | None = None
    """Name or address of the TPU; None asks the environment, `local` takes the one of this machine."""
    validation_every: PositiveInt = 1
    """Epochs between validations."""
    early_stopping: PositiveInt | None = None
    """Stop after so many validations in a row without a new lowest loss; None goes on to the last epoch."""
    checkpoint_every: PositiveInt = 1000
    """Steps between checkpoints; there is one at the end of every epoch, too."""
    keep_checkpoints: PositiveInt = 2
    deterministic: bool = False
    """Deterministic kernels only. A CPU repeats a run without it, too; a GPU becomes slower by it."""
    jit_compile: bool = False

    @field_validator("decay_epochs")
    @classmethod
    def _rises(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if list(epochs) != sorted(set(epochs)):
            raise ValueError(f"{list(epochs)} must rise: {sorted(set(epochs))}")
        return epochs


class EvaluationConfig(Section):
    """The paper's test recipe."""

    metric: Literal["oks_ap", "pck", "pckh"] = "oks_ap"
    flip_test: bool = True
    filter_sigma: Annotated[float, Field(ge=0)] = 1.0
    """Gaussian filter on the heatmaps, in heatmap pixels; 0 leaves them as they are."""
    decode: Literal["argmax", "quarter_offset", "sign", "sign_inside", "dark"] = "quarter_offset"
    nms: Literal["oks", "soft_oks"] | None = None
    """Suppression between persons of one image; for detector boxes."""
    nms_threshold: Probability = 0.9
    keypoint_threshold: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Keypoints not above this do not count in a pose score. The paper counts all; HRNet's code takes 0.2."""
    batch_size: PositiveInt = 32


class PlantConfig(Section):
    """Makes the outer part of a search differ from the inner one by a known operation, to see it found."""

    operation: str
    """A name of `p2net policy list`."""
    magnitude: tuple[Level, Level] = (0.0, 10.0)
    """Levels between which each person's is drawn; both signs occur."""


class SearchConfig(Section):
    """Auto-Pose: the search of an augmentation policy (section 3.4, equations 6 to 8)."""

    relaxation: Literal["expectation", "mixture"] = "expectation"
    """expectation: sampled hard operations. mixture: equation 6 to the letter, averaged images."""
    hypergradient: Literal["scores", "double_backprop", "unrolled", "finite_differences"] | None = None
    """How equation 8 is computed; None: `scores` for expectation, `double_backprop` for mixture."""
    inner_step: Literal["adam", "sgd"] = "adam"
    """The look-ahead step: as the optimizer scales it, or equation 8's plain gradient step."""
    sub_policies: PositiveInt = 3
    stages: PositiveInt = 2
    operations: list[str] | None = None
    """Candidates; None takes Table 1 and Identity."""
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    """Steps of the weights alone, on plain crops, before the policy moves."""
    steps: PositiveInt = 300
    """Steps of weights and policy."""
    batch_size: PositiveInt = 64
    outer_batch_size: PositiveInt | None = None
    """People per step of the outer part; None: as many as of the inner part."""
    weights_learning_rate: PositiveFloat | None = None
    """None: that of `training`, for its batch."""
    zeta: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 1e-3
    """Inner learning rate of equation 8. Not the training rate: 1e-2 overshoots. Negative: a control, which
    must find the worst operations."""
    learning_rate: PositiveFloat = 0.1
    """Of the mixing weights (Adam, beta 0.5); falls along a cosine to 0, so that noise undoes nothing."""
    probability_learning_rate: Annotated[float, Field(ge=0)] = 0.03
    magnitude_learning_rate: Annotated[float, Field(ge=0)] = 0.1
    chains_per_person: Annotated[int, Field(ge=2)] = 4
    """expectation: chains that each person of a score batch is seen with, to be compared with each other."""
    exploration: Probability = 0.3
    """Share of operations drawn uniformly at the end; it falls from 1, linearly."""
    outer_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share of the training images that make up the outer part; the weights never train on them."""
    people: PositiveInt = 5000
    """At most so many take part (the paper searches on 5k images); their crops are kept in memory."""
    plant: PlantConfig | None = None
    gap_steps: Annotated[int, Field(ge=0)] = 20
    """Training steps after which relaxed and discrete policy are compared."""
    checkpoint_every: PositiveInt = 50
    log_every: PositiveInt = 10

    @field_validator("zeta")
    @classmethod
    def _is_not_zero(cls, zeta: float) -> float:
        if zeta == 0:
            raise ValueError("with zeta 0 the weights do not move, and the gradient is zero (equation 8)")
        return zeta


class TunerConfig(Section):
    """The black-box search to compare Auto-Pose with: keras-tuner over the same space as `search`."""

    algorithm: Literal["random", "hyperband", "bayesian"] = "random"
    trials: PositiveInt = 20
    """Networks trained. With hyperband, whose trials are of different length: as many steps as so many."""
    steps_per_trial: PositiveInt = 200
    """Training steps of a trial; with hyperband, of its longest ones (others take a third or a ninth)."""
    initial_trials: PositiveInt | None = None
    """bayesian: random trials before its model is asked. None: a third of `trials`."""


class ExperimentConfig(Section):
    """Everything that decides the outcome of an experiment."""

    name: str
    seed: int = 0
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    policy: str | None = None
    """An augmentation policy: a YAML file, the folder of a search, or a built-in name (`p2net policy list`).
    It takes the place of `augment`, of which only the flip stays. A path starts from the working folder."""
    model: ModelConfig = P2NetConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    search: SearchConfig = SearchConfig()
    tuner: TunerConfig = TunerConfig()


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Reads an experiment and applies `key=value` overrides such as `training.epochs=3`.

    Args:
        path: a YAML file, or the name of one in `configs/` of the working folder or of the checkout.
        overrides: `key=value` with dotted keys; numbers index lists (`data.train.0.root=/x`), and the
            value is YAML (`model.input_size=[128,96]`).

    Raises:
        ConfigError: no such file, or all its faults, one per line, with place, key and remedy.
    """
    return load_model(ExperimentConfig, find_config(path, _CONFIG_FOLDERS), overrides)


def dump_config(config: ExperimentConfig, path: str | Path) -> None:
    """Writes the resolved configuration as YAML; `load_config` reads it back equal."""
    dump_model(config, path)
