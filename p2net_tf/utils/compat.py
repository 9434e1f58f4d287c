"""What this package needs of Keras, TensorFlow and LiteRT that is private to them, and nothing else does.

A release may rename any of it. `tests/utils/test_compat.py` has a test per name, which says what it is for.
What layers and models need, which import no `utils`, is in `p2net_tf/layers/compat.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import keras
import tensorflow as tf

# --- Keras' optimizers


def averages_of(optimizer: keras.optimizers.Optimizer) -> list[tuple[keras.Variable, keras.Variable]]:
    """The `(weight, moving average)` pairs of a built optimizer with `use_ema`.

    `finalize_variable_values` of Keras writes the averages over the weights, which are lost by that.
    """
    averages = optimizer._model_variables_moving_average
    return list(zip(optimizer._trainable_variables, averages, strict=True))


def adam_momentums(optimizer: keras.optimizers.Adam) -> list[keras.Variable]:
    """Moving means of the gradients of a built Adam, in the order of the variables it was built with."""
    return optimizer._momentums


def adam_velocities(optimizer: keras.optimizers.Adam) -> list[keras.Variable]:
    """Moving means of the squared gradients: what Adam divides by, before its first step 0."""
    return optimizer._velocities


def variable_index(optimizer: keras.optimizers.Optimizer, variable) -> int:
    """Place of a variable, also of a replica's copy, among those that the optimizer was built with."""
    return optimizer._get_variable_index(variable)


def gradient_accumulators(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Sums over the micro-batches since the last update, of an optimizer that accumulates gradients."""
    return optimizer._accumulated_gradients


def micro_batches(optimizer: keras.optimizers.Optimizer):
    """Calls of `apply`; the public `iterations` counts updates, which accumulate several of them."""
    return optimizer._iterations


def clip_gradients(optimizer: keras.optimizers.Optimizer, gradients: list) -> list:
    """Clips by `clipnorm`, `global_clipnorm` or `clipvalue`, whichever the optimizer was given."""
    return optimizer._clip_gradients(gradients)


def decays_weight(optimizer: keras.optimizers.Optimizer, variable) -> bool:
    """False for what `exclude_from_weight_decay` named."""
    return optimizer._use_weight_decay(variable)


def learning_rate_of(optimizer: keras.optimizers.Optimizer):
    """The schedule or the variable; the public `learning_rate` is the value at this step."""
    return optimizer._learning_rate


class OptimizerHooks:
    """Before a Keras optimizer among the bases: the places at which `apply` can be changed."""

    def _backend_apply_gradients(self, grads, trainable_variables):
        self.apply_shares(grads, trainable_variables)

    def apply_shares(self, gradients, variables) -> None:
        """All of an update but the step count; gets this replica's share of the gradients."""
        super()._backend_apply_gradients(gradients, variables)

    def _get_current_learning_rate(self):
        return self.current_learning_rate()

    def current_learning_rate(self):
        """What `learning_rate` gives."""
        return super()._get_current_learning_rate()


def merge_replicas(function: Callable, strategy: tf.distribute.Strategy, *values):
    """Calls `function(strategy, *values)` once for all replicas, where the strategy knows such a place.

    The public `ReplicaContext.merge_call` raises under strategies without one (GPUs that reduce by NCCL).
    """
    return tf.__internal__.distribute.interim.maybe_merge_call(function, strategy, *values)


# --- Keras' fit


class FitHooks:
    """Before `keras.Model` among the bases: the places at which `fit` and `evaluate` can be changed."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self.prepare_first_step():
            super()._maybe_symbolic_build(iterator, data_batch)

    def prepare_first_step(self) -> bool:
        """Called before the first step; returns whether Keras should build the model from a batch."""
        return True

    def _make_function(self, step_function):
        return super()._make_function(self.adapt_step(step_function))

    def adapt_step(self, step: Callable) -> Callable:
        """`step(data) -> logs` of one batch, or what is to take its place in the loop."""
        return step


def wrapped_function(found) -> Callable | None:
    """The function of `(y_true, y_pred)` in a loss or metric that wraps one; None of any other."""
    if isinstance(found, keras.metrics.MeanMetricWrapper):
        return found._fn
    return getattr(found, "fn", None) if isinstance(found, keras.losses.Loss) else None


def build_compiled_metrics(model: keras.Model, y_true, y_pred) -> None:
    """Makes the variables of the metrics that `compile` was given, which Keras does at the first batch.

    Args:
        y_true, y_pred: symbolic, as `compute_metrics` will get them.
    """
    if model._compile_metrics is not None and not model._compile_metrics.built:
        model._compile_metrics.build(y_true, y_pred)


class _LossesOfReplica:
    """In place of the list `Layer._losses`: one for each thread, and so for each replica."""

    def __init__(self):
        self._own = threading.local()

    def _losses(self) -> list:
        return self._own.__dict__.setdefault("losses", [])

    def extend(self, losses) -> None:
        self._losses().extend(losses)

    def clear(self) -> None:
        self._losses().clear()

    def __getitem__(self, where):
        return self._losses()[where]


def keep_losses_apart(model: keras.Model) -> None:
    """Lets the losses that layers add be those of one replica.

    Replicas of a MirroredStrategy take turns in the middle of a forward pass, wherever they have something
    to tell each other, and would add to and clear the same lists.
    """
    for layer in model._flatten_layers():
        layer.__dict__["_losses"] = _LossesOfReplica()


# --- LiteRT


def lite_operations(interpreter) -> list[dict]:
    """`{op_name, inputs, outputs}` of a TFLite interpreter's operations, in the order of execution."""
    return interpreter._get_ops_details()
