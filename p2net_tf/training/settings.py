"""The sections `loss` and `training` of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from p2net_tf.utils.yaml_files import Probability, Section


class LossConfig(Section):
    sigma: PositiveFloat = 2.0
    """Standard deviation of the target Gaussians, in heatmap pixels."""
    ohkm: PositiveInt | None = None
    """Hard keypoints that the loss of the prediction keeps. None takes what the network was published with:
    the paper's 10 of 17, scaled to the skeleton, for P2Net and CPN, all keypoints for others."""
    intermediate_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the heatmaps on the way to the prediction; their losses are averaged."""
    final_weight: Annotated[float, Field(ge=0)] = 1.0
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
    freeze: tuple[str, ...] = ()
    """Layers that are not trained, nor the statistics of their batch normalizations: `backbone`, or names
    such as `pyramid_net` and `parallel_net` (`network.layers`). For fine-tuning with `model.weights`."""
    ema_momentum: Probability | None = None
    """Keep an exponential moving average of the weights, evaluate and save with it."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Of the layers; weights, batch statistics, heatmaps, losses and updates stay float32. mixed_float16
    scales its loss. Half precision is for GPUs and TPUs, and for CPUs that have instructions for it: one
    without took 6.4 times as long in float16 as in float32, measured on the gradient of a convolution."""
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


class DetectorTrainingConfig(TrainingConfig):
    """The same for a detector; the defaults are those of section 4.1 of the paper."""

    epochs: PositiveInt = 100
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "sgd"
    learning_rate: PositiveFloat = 0.08
    learning_rate_batch: PositiveInt | None = 32
    """Batch that `learning_rate` is meant for. With another one, `batch_size * accumulate`, it is scaled
    linearly (Goyal et al., 2017); None takes it as it is."""
    schedule: Literal["halving", "steps", "cosine", "constant"] = "steps"
    decay_epochs: tuple[PositiveInt, ...] = (70, 90)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    early_stopping: PositiveInt | None = None
    """Stop after so many validations in a row without a higher AP; None goes on to the last epoch."""
