"""A budget of gradient steps: what a search takes from it, and a training cut to what is left."""

from __future__ import annotations

import math

from p2net_tf.autopose.settings import policy_steps
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.cells import ExperimentError

_EPOCHS = range(5, 21)
"""An epoch is the way from one checkpoint to the next here; about ten of them make a cell."""
_TYPICAL_EPOCHS = 10
_SHARE = 0.1
"""Of a cell's steps: what the warm-up and the average of the weights span at most."""


def check_budget(budget: int) -> None:
    """Raises:
    ExperimentError: no number of steps that makes equal epochs; names one near it that does.
    """
    if budget < 1 or not cut_epochs(budget):
        near = range(max(1, budget - _EPOCHS.stop), max(1, budget) + _EPOCHS.stop)
        better = min(filter(cut_epochs, near), key=lambda steps: abs(steps - budget))
        raise ExperimentError(
            f"a budget of {budget} cannot be cut into {_EPOCHS.start} to {_EPOCHS.stop - 1} equal "
            f"epochs; take {better}"
        )


def cut_epochs(steps: int) -> tuple[int, int] | None:
    """`(epochs, steps of each)` whose product is `steps`, with the number of epochs in 5..20 nearest to 10.

    Of less than five steps each is an epoch. None where no number of epochs fits, as for primes above 20.
    """
    if 1 <= steps < _EPOCHS.start:
        return steps, 1
    fitting = [epochs for epochs in _EPOCHS if steps > 0 and steps % epochs == 0]
    if not fitting:
        return None
    epochs = min(fitting, key=lambda number: abs(number - _TYPICAL_EPOCHS))
    return epochs, steps // epochs


def charge(cost: float, budget: int) -> int:
    """Whole steps that a search of `cost` gradient-step equivalents takes from the budget.

    Rounded up to the next number that leaves a training of equal epochs (`cut_epochs`): seldom more than two
    steps, and never to the advantage of the search.

    Raises:
        ExperimentError: nothing is left to train with.
    """
    for steps in range(math.ceil(cost), budget):
        if cut_epochs(budget - steps):
            return steps
    raise ExperimentError(
        f"the search cost {cost:.0f} of {budget} gradient steps, which leaves none to train with; "
        "give a larger budget or a shorter search"
    )


POLICY_STEP_COST = 2.8
"""Gradient steps that a step of the policy beside the training is worth: the gradient of the look-ahead 1.0,
the forward-mode pass 0.9, and the validation gradient 0.9 where its batch is as large as the training's
(`p2net bench search`)."""
_VALIDATION_COST = 0.9


def online_cost(config: ExperimentConfig, budget: int) -> float:
    """Gradient steps that the policy costs in a training that gets what is left of `budget`."""
    search, size = config.search, config.training.batch_size
    share = (search.outer_batch_size or size) / size
    price = POLICY_STEP_COST + _VALIDATION_COST * (share - 1.0)
    most = max(steps for steps in range(budget + 1) if steps + price * policy_steps(search, steps) <= budget)
    return price * policy_steps(search, most)


def cut_training(config: ExperimentConfig, steps: int) -> ExperimentConfig:
    """The configuration of a training of so many steps, which `cut_epochs` can cut."""
    training, (epochs, length) = config.training, cut_epochs(steps)
    # What suits a run of days would leave a short one little but its warm-up and its initial weights, and the
    # shortest, those of arms that searched, least.
    window = max(0.0, 1.0 - 1.0 / (_SHARE * steps))
    changes = {
        "epochs": epochs,
        "steps_per_epoch": length,
        "schedule": "cosine",
        "warmup_steps": min(training.warmup_steps, int(_SHARE * steps)),
        "ema_momentum": None if training.ema_momentum is None else min(training.ema_momentum, window),
        # The last network is scored: choosing the best of several would favour who has more epochs.
        "validation_every": epochs,
    }
    return config.model_copy(update={"training": training.model_copy(update=changes)})
