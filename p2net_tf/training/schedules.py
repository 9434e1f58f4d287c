"""Learning-rate schedules and optimizers, from the configuration."""

from __future__ import annotations

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay

from p2net_tf.training.optimizers import SGD, Adam, AdamW, LossScaleOptimizer, RMSprop
from p2net_tf.training.settings import TrainingConfig


@keras.saving.register_keras_serializable("p2net_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Scales another schedule from zero to one over the first `warmup_steps` steps.

    Keras' own warm-up belongs to its cosine, which it puts off until the warm-up has ended.
    """

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
    """The schedule that `config` names, in updates of the weights; `steps_per_epoch` counts batches."""
    rate = effective_learning_rate(config)
    if config.schedule == "cosine":
        schedule = CosineDecay(rate, max(1, config.epochs * steps_per_epoch // config.accumulate))
    elif config.schedule == "steps":
        schedule = _steps(rate, config, steps_per_epoch)
    elif config.schedule == "constant":
        schedule = ExponentialDecay(rate, decay_steps=1, decay_rate=1.0)
    else:
        # CPN, whose sentence the paper repeats (section 4.1), counts samples: 3.6 M of them are 112,500 steps
        # of 32.
        steps = max(1, config.halving_samples // effective_batch(config))
        schedule = ExponentialDecay(rate, steps, decay_rate=0.5, staircase=True)
    return WarmUp(schedule, config.warmup_steps) if config.warmup_steps else schedule


def _steps(rate: float, config: TrainingConfig, steps_per_epoch: int):
    """One value for each stretch between `decay_epochs`; Keras counts the boundary to the stretch before."""
    boundaries = [epoch * steps_per_epoch // config.accumulate - 1 for epoch in config.decay_epochs]
    values = [rate * config.decay_factor**falls for falls in range(len(boundaries) + 1)]
    return PiecewiseConstantDecay(boundaries, values)


def effective_batch(config: TrainingConfig) -> int:
    """People per update of the weights, over all replicas and accumulated batches."""
    return config.batch_size * config.accumulate


def effective_learning_rate(config: TrainingConfig) -> float:
    """`learning_rate`, scaled linearly from the batch it is stated for to the effective one.

    Goyal et al., "Accurate, Large Minibatch SGD", 2017. For much larger batches they warm up, too.
    """
    batch = effective_batch(config)
    return config.learning_rate * batch / (config.learning_rate_batch or batch)


def describe_learning_rate(config: TrainingConfig, things: str = "people") -> str:
    """In words: the effective rate, where it comes from, and what becomes of it.

    Args:
        things: what samples are.
    """
    words = f"learning rate {effective_learning_rate(config):.4g}"
    words += f", {effective_batch(config)} {things} per update"
    if config.accumulate > 1:
        words += f" ({config.accumulate} batches of {config.batch_size})"
    if config.learning_rate_batch is not None:
        words += f", stated as {config.learning_rate:.4g} for {config.learning_rate_batch}"
    if config.warmup_steps:
        words += f"; rises over the first {config.warmup_steps} updates"
    return f"{words}; {_course(config, things)}"


def _course(config: TrainingConfig, things: str) -> str:
    return {
        "halving": f"halved every {config.halving_samples} {things}",
        "steps": f"times {config.decay_factor:.4g} after epochs {', '.join(map(str, config.decay_epochs))}",
        "cosine": "falls along a cosine to 0",
        "constant": "stays",
    }[config.schedule]


def make_optimizer(config: TrainingConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names; all but `adamw` leave weight decay to `PoseModel`'s L2 penalty.

    For `mixed_float16` it scales the loss. The scale wraps the optimizer: `learning_rate` and `iterations`
    are those of the inner one, which also keeps the moving average.
    """
    options = {
        "learning_rate": make_schedule(config, steps_per_epoch),
        "global_clipnorm": config.clip_norm,
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        "use_ema": config.ema_momentum is not None,
        "ema_momentum": config.ema_momentum if config.ema_momentum is not None else 0.99,
    }
    if config.optimizer == "adamw":
        optimizer = AdamW(weight_decay=config.weight_decay, **options)
    elif config.optimizer == "sgd":
        optimizer = SGD(momentum=0.9, **options)
    elif config.optimizer == "rmsprop":
        # Torch's numbers, which the Stacked Hourglass was published with; Keras has epsilon under the root.
        optimizer = RMSprop(rho=0.99, epsilon=1e-8**2, **options)
    else:
        optimizer = Adam(**options)
    return LossScaleOptimizer(optimizer) if config.precision == "mixed_float16" else optimizer
