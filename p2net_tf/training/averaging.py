"""The moving average of the weights: validated, saved and served instead of the last step's weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.layers import BatchNormalization
from p2net_tf.layers.compat import sublayers
from p2net_tf.utils.compat import averages_of

CALIBRATION_BATCHES = 32
"""Batches that the statistics of averaged weights are measured on."""


class AveragedWeights:
    """While open, the model holds the moving average of its weights, if its optimizer keeps one.

    The moving statistics of its batch normalizations belong to the weights of the last steps. Averaged
    weights are smaller, since the noise of the steps cancels, and give other statistics: a P2Net on LSP lost
    9 points of accuracy to that. So the statistics are measured anew for them, on training batches
    (Izmailov et al., UAI 2018), and taken back at the end.

    Args:
        model: a compiled `PoseModel`, or any model with a `network`.
        calibration: of the model's network, on a few dozen training batches; None leaves the statistics
            alone.
    """

    def __init__(self, model: keras.Model, calibration: Calibration | None = None):
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # behind a loss scale
        self._pairs = []
        if optimizer.use_ema:
            self._pairs = averages_of(optimizer)
        self._calibration = calibration if self._pairs else None

    def __enter__(self):
        self._exchange()
        if self._calibration:
            self._held = self._calibration.statistics()
            try:
                self._calibration.measure()
            except BaseException:
                self.__exit__()
                raise

    def __exit__(self, *_):
        if self._calibration:
            self._calibration.assign(self._held)
        self._exchange()

    def _exchange(self):
        """By copying. `keras.callbacks.SwapEMAWeights` adds and subtracts, which rounds the weights."""
        for weight, average in self._pairs:
            held = weight.numpy()
            weight.assign(average.numpy())
            average.assign(held)


class Calibration:
    """Measures the batch statistics of a network with the weights it has, again and again in one graph.

    Args:
        network: `[B, H, W, 3] ->` heatmaps.
        batches: `(crops, keypoints)` or `TrainingBatch`es, also distributed ones; the statistics become their
            mean over these batches.
        augmentation: of `(crops, keypoints)`, where the batches come plain.
    """

    def __init__(
        self, network: keras.Model, batches: tf.data.Dataset, augmentation: keras.layers.Layer | None = None
    ):
        self._network, self._batches, self._augmentation = network, batches, augmentation
        self._norms = [x for x in sublayers(network) if isinstance(x, BatchNormalization)]
        self._forward = tf.function(self._forward_once, autograph=False, reduce_retracing=True)

    def statistics(self) -> list[np.ndarray]:
        """Moving means and variances, layer by layer."""
        return [variable.numpy() for variable in self._variables()]

    def assign(self, statistics: list[np.ndarray]) -> None:
        for variable, value in zip(self._variables(), statistics, strict=True):
            variable.assign(value)

    def measure(self) -> None:
        total, count = None, 0
        for batch in self._batches:
            self._forward(*batch[:2])
            found = self.statistics()
            total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
            count += 1
        if count:
            self.assign([value / count for value in total])

    def _variables(self):
        return [variable for norm in self._norms for variable in (norm.moving_mean, norm.moving_variance)]

    def _on_replica(self, crops, keypoints):
        if self._augmentation is not None:
            crops, _ = self._augmentation((crops, keypoints), training=True)
        return self._network(crops, training=True)

    def _forward_once(self, crops, keypoints):
        """Without momentum the moving statistics become those of this batch; it is read while tracing."""
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.momentum = 0.0
        try:
            self._network.distribute_strategy.run(self._on_replica, (crops, keypoints))
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum
