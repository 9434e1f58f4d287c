"""What `PoseModel.compile` may be given in Keras' words: losses and metrics of `(keypoints, heatmaps)`.

The target of every output of a network is the same keypoints. What Keras brings along compares a prediction
with a target of the same shape value by value; here that has no meaning, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from p2net_tf.losses.heatmap import HeatmapLoss
from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy
from p2net_tf.utils.compat import wrapped_function

_LOGGED = {"loss", "intermediate_loss", "final_loss", "accuracy"}
_ACCURACY = {"accuracy", "acc"}
_HOW = "write one of (keypoints [B, K, 3], heatmaps [B, h, w, K]), such as"


class OutputLosses:
    """The losses of a network's outputs, which take the place of the paper's.

    Args:
        loss: of `(keypoints, heatmaps)`, for every output, or a dict of such by output: a `keras.losses.Loss`
            or a function that gives `[B]` or a scalar.
        loss_weights: a number for all, or a dict by output; None is 1.
        outputs: names of the network's outputs.

    Attributes:
        trackers: the running means of each, `<output>_loss`, where there are several.

    Raises:
        ValueError: something that has no meaning here; says what would.
    """

    def __init__(self, loss: Any, loss_weights: Any, outputs: Sequence[str]):
        if isinstance(loss, list | tuple):
            raise ValueError(
                "loss: a list does not say which output is meant; give a dict by output: "
                f"{', '.join(outputs)}"
            )
        by_output = loss if isinstance(loss, dict) else dict.fromkeys(outputs, loss)
        _demand_outputs("loss", by_output, outputs)
        self._losses = {name: _checked_loss(one) for name, one in by_output.items() if one is not None}
        if not self._losses:
            raise ValueError("loss: none of the outputs has one")
        if loss_weights is None or _is_number(loss_weights):
            loss_weights = dict.fromkeys(self._losses, 1.0 if loss_weights is None else loss_weights)
        if not isinstance(loss_weights, dict):
            raise ValueError("loss_weights: give a number, or a dict by output")
        _demand_outputs("loss_weights", loss_weights, list(self._losses))
        for name, weight in loss_weights.items():
            if not _is_number(weight):
                raise ValueError(f"loss_weights of '{name}': {weight!r} is no number")
        self._factors = {name: float(loss_weights.get(name, 1.0)) for name in self._losses}
        several = len(self._losses) > 1
        self._trackers = {name: keras.metrics.Mean(name=f"{name}_loss") for name in self._losses if several}

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        return list(self._trackers.values())

    def __call__(self, keypoints, heatmaps: dict, weights=None):
        """This replica's share of the weighted sum; keeps the means of each, which are not weighted."""
        total, replicas = 0.0, tf.distribute.get_strategy().num_replicas_in_sync
        for name, loss in self._losses.items():
            value = _Weighted(loss, weights)(keypoints, heatmaps[name])
            if name in self._trackers:
                self._trackers[name].update_state(value * replicas, sample_weight=tf.shape(keypoints)[0])
            total += self._factors[name] * value
        return total


def checked_metrics(metrics: Any, outputs: Sequence[str], argument: str = "metrics") -> Any:
    """The `metrics` or `weighted_metrics` that Keras is to be given.

    A list is of the prediction, `heatmaps`, whatever other outputs the network is supervised by. A dict names
    outputs. `accuracy` of the prediction is always there.

    Raises:
        ValueError: something that has no meaning here; says what would.
    """
    if isinstance(metrics, dict):
        _demand_outputs(argument, metrics, outputs)
        return {
            name: [_of_output(one, argument, outputs) for one in _as_list(some)]
            for name, some in metrics.items()
            if some is not None
        }
    if not isinstance(metrics, list | tuple):
        return metrics
    if any(isinstance(one, list | tuple) for one in metrics):
        raise ValueError(
            f"{argument}: a list of lists does not say which output is meant; give a dict by output: "
            f"{', '.join(outputs)}"
        )
    kept = [one for one in metrics if not (isinstance(one, str) and one in _ACCURACY)]
    return [_checked_metric(one, argument, outputs) for one in kept] or None


class _Function(keras.losses.Loss):
    """A function of `(keypoints, heatmaps)` as a loss."""

    def __init__(self, function: Callable):
        super().__init__(name=getattr(function, "__name__", type(function).__name__))
        self._function = function

    def call(self, y_true, y_pred):
        return self._function(y_true, y_pred)


class _Weighted(keras.losses.Loss):
    """A loss under the weights of persons or keypoints, the same on any number of replicas.

    Keras does not divide a scalar by the replicas, nor spread the weights of persons over values of several
    axes.
    """

    def __init__(self, loss: keras.losses.Loss, weights):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self._loss, self._weights = loss, weights

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(self._loss, HeatmapLoss):
            return self._loss(y_true, y_pred, self._weights)
        return super().__call__(y_true, y_pred)

    def call(self, y_true, y_pred):
        values = ops.convert_to_tensor(self._loss.call(y_true, y_pred))
        if len(values.shape) == 0:
            values = ops.broadcast_to(values, ops.shape(y_true)[:1])
        return values if self._weights is None else values * self._spread(values)

    def _spread(self, values):
        weights = ops.cast(self._weights, values.dtype)
        if len(weights.shape) == 2 and weights.shape[1] == 1:
            weights = weights[:, 0]
        if len(weights.shape) == 1:
            return ops.reshape(weights, (-1, *[1] * (len(values.shape) - 1)))
        if values.shape[1:] == weights.shape[1:]:
            return weights
        raise ValueError(
            f"the loss '{self.name}' gives values of the shape {list(values.shape)}, which weights of the "
            f"shape {list(weights.shape)} do not fit; let it give [B, K], or weigh persons with [B]"
        )


def _checked_loss(loss: Any) -> keras.losses.Loss:
    found = keras.losses.get(loss)
    if _is_of_keras(found) or _compares_values(found):
        raise ValueError(
            f"loss={_words(loss)}: compares heatmaps with keypoints value by value, which have other shapes; "
            f"{_HOW} p2net_tf.losses.HeatmapLoss(), or leave loss out: the paper's is the default"
        )
    if not isinstance(found, keras.losses.Loss):
        return _Function(found)
    if found.reduction in (None, "none"):
        raise ValueError(f"loss={_words(loss)}: its reduction is None, and a loss must be one number")
    return found


def _of_output(metric: Any, argument: str, outputs: Sequence[str]) -> Any:
    """Keras puts the name of the output before that of the metric."""
    if isinstance(metric, str) and metric in _ACCURACY:
        return KeypointAccuracy(name=metric)
    return _checked_metric(metric, argument, outputs)


def _checked_metric(metric: Any, argument: str, outputs: Sequence[str]) -> Any:
    found = keras.metrics.get(metric)
    wraps = type(found) is keras.metrics.MeanMetricWrapper
    if _compares_values(found) or (_is_of_keras(found) and not wraps):
        raise ValueError(
            f"{argument}={_words(metric)}: compares heatmaps with keypoints value by value, which have other "
            f"shapes; {_HOW} p2net_tf.losses.KeypointAccuracy(0.2, name='accuracy_0.2')"
        )
    name = getattr(found, "name", getattr(found, "__name__", None))
    if name in _LOGGED or name in {f"{output}_loss" for output in outputs}:
        raise ValueError(f"{argument}: '{name}' is logged already; give your metric another name")
    return found


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float | np.number) and not isinstance(given, bool)


def _compares_values(found: Any) -> bool:
    """A class of yours above one of Keras that wraps a function of the prediction and its like."""
    function = wrapped_function(found)
    return function is not None and _is_of_keras(function)


def _is_of_keras(found: Any) -> bool:
    module = getattr(found, "__module__", None) or type(found).__module__
    return module.partition(".")[0] == "keras"


def _words(given: Any) -> str:
    return f"'{given}'" if isinstance(given, str) else getattr(given, "name", None) or str(given)


def _as_list(some: Any) -> list:
    return list(some) if isinstance(some, list | tuple) else [some]


def _demand_outputs(argument: str, named: dict, outputs: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(outputs))
    if unknown:
        raise ValueError(f"{argument}: there is no output '{unknown[0]}'; there are {', '.join(outputs)}")
