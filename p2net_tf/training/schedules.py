"""Learning-rate schedules and optimizers, from the configuration."""

from __future__ import annotations

import math

import keras
from keras import ops

from p2net_tf.config import TrainingConfig
from p2net_tf.training.optimizers import Adam, AdamW


@keras.saving.register_keras_serializable("p2net_tf")
class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's schedule: the rate is divided by two every `halving_steps` steps (section 4.1)."""

    def __init__(self, learning_rate: float, halving_steps: int):
        self.learning_rate = learning_rate
        self.halving_steps = halving_steps

    def __call__(self, step):
        halvings = ops.floor(ops.cast(step, "float32") / self.halving_steps)
        return self.learning_rate * 0.5**halvings

    def get_config(self):
        return {"learning_rate": self.learning_rate, "halving_steps": self.halving_steps}


@keras.saving.register_keras_serializable("p2net_tf")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from `learning_rate` to zero over `total_steps`."""

    def __init__(self, learning_rate: float, total_steps: int):
        self.learning_rate = learning_rate
        self.total_steps = total_steps

    def __call__(self, step):
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        return self.learning_rate * 0.5 * (1.0 + ops.cos(math.pi * progress))

    def get_config(self):
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps}


@keras.saving.register_keras_serializable("p2net_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Scales another schedule from zero to one over the first `warmup_steps` steps."""

    def __init__(self, schedule, warmup_steps: int):
        self.schedule = schedule
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        share = ops.minimum((ops.cast(step, "float32") + 1.0) / self.warmup_steps, 1.0)
        return self.schedule(step) * share

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["warmup_steps"])


def make_schedule(config: TrainingConfig, steps_per_epoch: int):
    """The schedule that `config` names, in optimizer steps."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        schedule = Cosine(rate, config.epochs * steps_per_epoch)
    else:
        never = config.schedule == "constant"
        # CPN, whose sentence the paper repeats, counts samples: 3.6 M of them are 112,500 steps of 32.
        steps = 2**62 if never else max(1, config.halving_samples // config.batch_size)
        schedule = Halving(rate, steps)
    return WarmUp(schedule, config.warmup_steps) if config.warmup_steps else schedule


def make_optimizer(config: TrainingConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names; `adam` and `sgd` leave weight decay to `PoseModel`'s L2 penalty."""
    options = {
        "learning_rate": make_schedule(config, steps_per_epoch),
        "use_ema": config.ema_momentum is not None,
        "ema_momentum": config.ema_momentum if config.ema_momentum is not None else 0.99,
    }
    if config.optimizer == "adamw":
        return AdamW(weight_decay=config.weight_decay, **options)
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, **options)
    return Adam(**options)
