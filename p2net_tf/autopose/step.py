"""The bilevel loop of Auto-Pose (equations 7 and 8): weights on the inner part, the policy on the outer one.

What a search step is depends on the relaxation: see `expectation_step.py` and `mixture_step.py`. Here is what
both share: the parts that move weights and policy, the state of a search, how replicas split a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.policy_draws import augment
from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.mixture import Mixture
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.training.optimizers import Adam
from p2net_tf.training.pose_model import PoseModel

STREAMS = 4
"""Random streams of one step: the chains of each use, and after it what their operations draw."""
TRAINED = 0
"""Stream of the people that the weights train on."""

part_of_step = tf.function(autograph=False)
"""A part of a step is a graph of its own: several kinds of steps call it, and it is traced once."""


class StepRecord(NamedTuple):
    """What one search step leaves in the trajectory; the policy's tables are those before the step."""

    weights: np.ndarray
    probabilities: np.ndarray
    magnitudes: np.ndarray
    spreads: np.ndarray
    inner_loss: np.ndarray
    outer_loss: np.ndarray
    noise: np.ndarray


class Searcher:
    """State and steps of a search; a sub-class gives `step` and `train_augmented`.

    The parts of a step are public. They take and give the global batch `(crops [B, H, W, 3], keypoints
    [B, K, 3])`; under a strategy a gradient or a score is every replica's share of it.

    Args:
        model: compiled `PoseModel`, made in the scope of `strategy`.
        policy: what is learned, made in the same scope.
        settings: of the search.
        seed: of all draws.
        strategy: batches are split over its replicas; the result does not depend on their number.
    """

    def __init__(
        self,
        model: PoseModel,
        policy: Expectation | Mixture,
        settings: SearchConfig,
        seed: int = 0,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.model, self.policy, self.settings, self.seed = model, policy, settings, seed
        self._strategy = strategy or tf.distribute.get_strategy()
        rates = (
            settings.learning_rate,
            settings.probability_learning_rate,
            settings.magnitude_learning_rate,
        )
        schedules = [keras.optimizers.schedules.CosineDecay(rate, settings.steps) for rate in rates]
        with self._strategy.scope():
            self.policy_optimizers = [Adam(schedule, beta_1=0.5) for schedule in schedules]
            for optimizer, variable in zip(self.policy_optimizers, policy.variables, strict=True):
                optimizer.build([variable])
            model.optimizer.build(model.trainable_variables)
        self._tables = tf.function(policy.tables, autograph=False)

    # --- steps

    def search_step(self, inner, outer, number: int) -> StepRecord:
        """Moves policy and weights by one step.

        Args:
            inner, outer: `(crops [B, H, W, 3], keypoints [B, K, 3])`, plain.
            number: of the step, from 0; decides the draws and how many of them explore.
        """
        tables = self._tables()
        done = number / max(1, self.settings.steps - 1)
        losses = self.step(inner, outer, tf.constant(number, tf.int64), done)
        return StepRecord(*(value.numpy() for value in (*tables, *losses)))

    def step(self, inner, outer, number, done: float):
        """One step of the algorithm, `done` (0..1) of the way through the search.

        Returns:
            Training loss, validation loss at the look-ahead, noise of alpha's gradient (NaN: unknown).
        """
        raise NotImplementedError

    def train_plain(self, batch):
        """One optimizer step of the weights on a batch as it is; returns its loss."""
        gradients, loss = self.weight_gradients(batch)
        self.update_weights(gradients)
        return loss

    def train_augmented(self, batch, number):
        """One optimizer step of the weights under the policy as it is, not exploring; returns its loss."""
        raise NotImplementedError

    def train_discrete(self, policy: Policy):
        """A function `(batch, number)` that trains the weights one step under a discrete policy."""
        tensors = policy.tensors()

        @tf.function(autograph=False)
        def augmented(batch, number):
            return augment(tensors, *batch, self._seed(number, TRAINED))

        return lambda batch, number: self.train_plain(augmented(batch, number))

    def outer_loss(self, batches) -> float:
        """Mean validation loss per person over `(crops, keypoints)` batches, inference mode."""
        total, people = 0.0, 0
        for crops, keypoints in batches:
            total += float(self._mean_loss(crops, keypoints)) * len(crops)
            people += len(crops)
        return total / people

    # --- parts of a step

    @part_of_step
    def weight_gradients(self, batch):
        """dLtrain / dw, which moves the moving statistics as training does, and the training loss."""

        def on_replica(batch):
            crops, keypoints = batch

            def loss():
                losses = self.model.person_losses(keypoints, self.model.network(crops, training=True))
                return tf.reduce_mean(losses) / self.replicas

            return self._loss_gradients(loss)

        gradients, loss = self._on_replicas(on_replica, batch)
        return gradients, self._sum(loss)

    @part_of_step
    def update_weights(self, gradients):
        """One step of the model's optimizer."""

        def on_replica(gradients):
            variables = self.model.network.trainable_variables
            self.model.optimizer.apply_gradients(zip(gradients, variables, strict=True))

        self._strategy.run(on_replica, (gradients,))

    @part_of_step
    def update_policy(self, gradients):
        """One step of the policy's optimizers, which add up the shares of the replicas."""

        def on_replica(gradients):
            for optimizer, gradient, variable in zip(
                self.policy_optimizers, gradients, self.policy.variables, strict=True
            ):
                optimizer.apply_gradients([(gradient, variable)])

        self._strategy.run(on_replica, (gradients,))

    def _loss_gradients(self, loss):
        """The gradient of `loss()` and the penalty by the weights, and the value of `loss()`."""
        with tf.GradientTape() as tape:
            value = loss()
            total = value + self.model.penalty()
        variables = [variable.value for variable in self.model.network.trainable_variables]
        return tape.gradient(total, variables), value

    @tf.function(autograph=False, reduce_retracing=True)
    def _mean_loss(self, crops, keypoints):
        return tf.reduce_mean(self.model.person_losses(keypoints, self.model.network(crops, training=False)))

    # --- state

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a step changes."""
        optimizers = [self.model.optimizer, *self.policy_optimizers]
        moments = [variable for optimizer in optimizers for variable in optimizer.variables]
        return [*self.model.network.weights, *self.policy.variables, *moments]

    def state(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.variables]

    def restore(self, state: list[np.ndarray]) -> None:
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)

    # --- draws and replicas

    def _seed(self, number, stream: int):
        return tf.stack([tf.constant(self.seed * STREAMS + stream, tf.int64), number])

    @property
    def replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    def _on_replicas(self, function, batch, *values):
        """`function` of each replica's rows of the tensors in `batch`, and of its own `values`."""
        return self._strategy.run(
            lambda batch, *values: function(self._rows(batch), *values), (batch, *values)
        )

    def _rows(self, values):
        if self.replicas == 1:
            return values
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group

        def rows(tensor):
            size = tensor.shape[0] // self.replicas
            return tf.ensure_shape(tensor[replica * size : (replica + 1) * size], (size, *tensor.shape[1:]))

        return tf.nest.map_structure(rows, values)

    def _reduce(self, values):
        """Sums over the replicas, inside of one."""
        if self.replicas == 1:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def _sum(self, value):
        """Sums over the replicas, outside of them."""
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
