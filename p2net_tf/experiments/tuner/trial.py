"""Trials of discrete policies: one fresh network after the other, in one graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.policy_draws import augment
from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.layers.compat import sublayers
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.training.schedules import effective_learning_rate, make_schedule

_WARMUP_SHARE = 0.1
"""Largest part of a trial that the warm-up of the learning rate may take."""
_REPORTED_SHARE = 0.1
"""Part of the steps, the last ones, that the training loss is a mean over."""


class TrialResult(NamedTuple):
    """What training under a policy led to.

    Attributes:
        validation_loss: mean over the people of the outer part, in inference mode, without weight decay.
        validation_accuracy: share of their keypoints that lie where they should (`metrics.KeypointAccuracy`).
        training_loss: mean over the last tenth of the steps, on augmented people, weight decay included.
        seconds: wall time of training and scoring.
    """

    validation_loss: float
    validation_accuracy: float
    training_loss: float
    seconds: float


class PolicyTrials:
    """Trains a fresh network on the inner part of a search under any policy, and scores it on the outer part.

    Network, optimizer and graph exist once: every trial draws their initial values anew, and a policy is an
    argument of the graph (another number of sub-policies or stages traces the augmentation alone). So trials
    cost neither memory nor start-up time, and a trial is a function of (policy, steps, seed).

    A trial trains as `p2net train` would, with three differences: its batch is `search.batch_size`; the
    learning rate's schedule, as it would run over `training.epochs` of the inner part, is stretched over the
    steps of the trial, with a warm-up of at most a tenth of them; and it keeps no moving average of the
    weights, which a few hundred steps would leave near the initial ones.

    Args:
        config: of the experiment.
        inner: people to train on.
        outer: people to score on.
    """

    def __init__(self, config: ExperimentConfig, inner: InMemoryCrops, outer: InMemoryCrops):
        self._inner, self._outer = inner, outer
        self._batch_size = config.search.batch_size
        self._flip_probability = config.augment.flip_probability
        steps_per_epoch = max(1, len(inner) // config.training.batch_size)
        length = config.training.epochs * steps_per_epoch
        warmup = min(config.training.warmup_steps, int(_WARMUP_SHARE * length))
        rate = effective_learning_rate(config.training)
        changes = {"learning_rate": rate, "learning_rate_batch": None, "accumulate": 1}
        changes |= {"ema_momentum": None, "warmup_steps": warmup}
        training = config.training.model_copy(update=changes)
        config = config.model_copy(update={"training": training})
        self._model = build_pose_model(config, inner.skeleton, steps_per_epoch)
        self._schedule = _Stretched(make_schedule(training, steps_per_epoch), length)
        self._model.optimizer.learning_rate = self._schedule
        self._fresh = _FreshValues(self._model, pretrained=config.model.weights is not None)
        self._augment = tf.function(augment, autograph=False)
        crops = tf.TensorSpec((None, *inner.crops.shape[1:]), tf.float32)
        keypoints = tf.TensorSpec((None, *inner.keypoints.shape[1:]), tf.float32)
        self._train = tf.function(self._train_step, (crops, keypoints), autograph=False)
        self._score = tf.function(self._score_batch, (crops, keypoints), autograph=False)
        self._batches = {}

    @property
    def network(self) -> keras.Model:
        """`[B, H, W, 3] ->` heatmaps, as the last trial left it; the next trial starts it anew."""
        return self._model.network

    def run(
        self, policy: Policy, steps: int, seed: int, on_step: Callable[[], object] = lambda: None
    ) -> TrialResult:
        """One trial.

        Args:
            steps: optimizer steps.
            seed: of the initial weights, the order of the people, their flips, and the policy's draws.
            on_step: called after every step, for a progress bar.
        """
        start = time.perf_counter()
        self._fresh.assign(seed)
        self._schedule.steps.assign(steps)
        training_loss = self._train_under(policy, steps, seed, on_step)
        loss, accuracy = self._validate()
        return TrialResult(loss, accuracy, training_loss, time.perf_counter() - start)

    def _train_under(self, policy: Policy, steps: int, seed: int, on_step) -> float:
        tensors, reported = policy.tensors(), max(1, round(_REPORTED_SHARE * steps))
        for number, (crops, keypoints) in enumerate(self._batches_of(seed).take(steps)):
            if number == steps - reported:
                self._model.reset_metrics()
            draws = tf.constant([seed, number], tf.int64)
            logs = self._train(*self._augment(tensors, crops, keypoints, draws))
            on_step()
        return float(logs["loss"])

    def _batches_of(self, seed: int) -> tf.data.Dataset:
        """Kept for the next trial, which mostly has the same seed: making it copies all crops."""
        if seed not in self._batches:
            self._batches = {seed: self._inner.batches(self._batch_size, seed, self._flip_probability)}
        return self._batches[seed]

    def _validate(self) -> tuple[float, float]:
        self._model.reset_metrics()
        total = sum(float(self._score(*batch)) for batch in self._outer.in_order(self._batch_size))
        return total / len(self._outer), float(self._model.accuracy.result())

    def _train_step(self, crops, keypoints):
        return self._model.train_step((crops, keypoints))

    def _score_batch(self, crops, keypoints):
        """The sum of the people's losses; their accuracy goes into the model's metric."""
        heatmaps = self._model.network(crops, training=False)
        self._model.accuracy.update_state(keypoints, heatmaps[HEATMAPS_OUTPUT])
        return tf.reduce_sum(self._model.person_losses(keypoints, heatmaps))


class _Stretched(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of a run of `length` steps, run through in `steps` (a variable) instead."""

    def __init__(self, schedule, length: int):
        self._schedule, self._length = schedule, length
        self.steps = tf.Variable(float(length), name="steps_of_trial")

    def __call__(self, step):
        return self._schedule(ops.cast(step, "float32") * self._length / self.steps)


class _FreshValues:
    """Sets a compiled model back to its start, with kernels drawn anew, in place.

    Kernels are what is random at the start; everything else (biases, batch normalizations, the optimizer's
    moments and step count) gets back the value it has when this is made. So do the kernels of a pretrained
    backbone.
    """

    def __init__(self, model: keras.Model, pretrained: bool):
        network = model.network
        kept = {id(variable) for variable in network.backbone.variables} if pretrained else set()
        layers = [layer for layer in sublayers(network) if hasattr(layer, "kernel_initializer")]
        self._drawn = [
            (layer.kernel, layer.kernel_initializer) for layer in layers if id(layer.kernel) not in kept
        ]
        drawn = {id(kernel) for kernel, _ in self._drawn}
        constant = [v for v in (*network.variables, *model.optimizer.variables) if id(v) not in drawn]
        self._constant = [(variable, variable.numpy()) for variable in constant]

    def assign(self, seed: int) -> None:
        seeds = np.random.SeedSequence(seed).generate_state(len(self._drawn))
        for (kernel, initializer), number in zip(self._drawn, seeds, strict=True):
            options = {**initializer.get_config(), "seed": int(number)}
            kernel.assign(type(initializer).from_config(options)(kernel.shape, kernel.dtype))
        for variable, value in self._constant:
            variable.assign(value)
