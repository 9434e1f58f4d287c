"""The bilevel loop of Auto-Pose (equations 7 and 8): weights on the inner part, the policy on the outer one.

What a search step is depends on the relaxation: see `expectation_searcher.py` and `mixture_searcher.py`. Here
is what both share: training steps of the weights, the state of a search, how replicas split a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment.policies import Policy, augment
from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.mixture import Mixture
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.training.optimizers import Adam
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import Cosine

STREAMS = 4
"""Random streams of one step: the chains of each use, and after it what their operations draw."""
TRAINED = 0
"""Stream of the people that the weights train on."""


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
    """State and steps of a search; a sub-class gives `_step` and `train_relaxed`.

    Args:
        model: compiled `PoseModel`, made in the scope of `strategy`.
        relaxed: the relaxed policy, made in the same scope.
        settings: of the search.
        seed: of all draws.
        strategy: batches are split over its replicas; the result does not depend on their number.
    """

    def __init__(
        self,
        model: PoseModel,
        relaxed: Expectation | Mixture,
        settings: SearchConfig,
        seed: int = 0,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.model, self.relaxed, self.settings, self.seed = model, relaxed, settings, seed
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope():
            self._policy_optimizers = [
                Adam(Cosine(rate, settings.steps), beta_1=0.5)
                for rate in (
                    settings.learning_rate,
                    settings.probability_learning_rate,
                    settings.magnitude_learning_rate,
                )
            ]
            for optimizer, variable in zip(self._policy_optimizers, relaxed.variables, strict=True):
                optimizer.build([variable])
            model.optimizer.build(model.trainable_variables)
        # Graphs of their own, which several kinds of steps call: each is traced and optimised once.
        self._gradients = tf.function(self._all_gradients, autograph=False)
        self._apply = tf.function(self._all_updates, autograph=False)
        self._evaluate = tf.function(self._outer_loss, autograph=False, reduce_retracing=True)

    # --- steps

    def search_step(self, inner, outer, number: int) -> StepRecord:
        """Moves policy and weights by one step.

        Args:
            inner, outer: `(crops [B, H, W, 3], keypoints [B, K, 3])`, plain.
            number: of the step, from 0; decides the draws and the share of exploration.
        """
        settings = self.settings
        done = number / max(1, settings.steps - 1)
        exploration = 1.0 + (settings.exploration - 1.0) * done
        numbers = tf.constant(number, tf.int64), tf.constant(exploration), tf.constant(done)
        record = self._step(inner, outer, *numbers)
        return StepRecord(*(value.numpy() for value in record))

    def train_plain(self, batch):
        """One optimizer step of the weights on a batch as it is; returns its loss."""
        gradients, loss = self._gradients(batch)
        self._apply(gradients)
        return loss

    def outer_loss(self, batches) -> float:
        """Mean validation loss per person over `(crops, keypoints)` batches, inference mode."""
        total, people = 0.0, 0
        for crops, keypoints in batches:
            total += float(self._evaluate(crops, keypoints)) * len(crops)
            people += len(crops)
        return total / people

    def train_discrete(self, policy: Policy):
        """A function `(batch, number)` that trains the weights one step under a discrete policy."""
        tensors = policy.tensors()

        @tf.function
        def augmented(batch, number):
            return augment(tensors, *batch, self._seed(number, TRAINED))

        return lambda batch, number: self.train_plain(augmented(batch, number))

    # --- state

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a step changes."""
        optimizers = [self.model.optimizer, *self._policy_optimizers]
        moments = [variable for optimizer in optimizers for variable in optimizer.variables]
        return [*self.model.network.weights, *self.relaxed.variables, *moments]

    def state(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.variables]

    def restore(self, state: list[np.ndarray]) -> None:
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)

    # --- graphs

    def _all_gradients(self, batch):
        """Each replica's share of the gradient, and the loss of the global batch."""

        def share(*batch):
            return self._weight_gradients(*self._shares(batch))

        gradients, loss = self._strategy.run(share, batch)
        return gradients, self._sum(loss)

    def _all_updates(self, gradients):
        self._strategy.run(self._update_weights, (gradients,))

    def _weight_gradients(self, crops, keypoints):
        """This replica's share of the gradient and of the loss of the global batch."""
        network = self.model.network
        with tf.GradientTape() as tape:
            losses = self.model.person_losses(keypoints, network(crops, training=True))
            loss = tf.reduce_mean(losses) / self.replicas
            total = loss + self.model.penalty()
        variables = [variable.value for variable in network.trainable_variables]
        return tape.gradient(total, variables), loss

    def _update_weights(self, gradients):
        variables = self.model.network.trainable_variables
        self.model.optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def _update_policy(self, gradients):
        """Each replica gives its share; the optimizers add them up."""
        for optimizer, gradient, variable in zip(
            self._policy_optimizers, gradients, self.relaxed.variables, strict=True
        ):
            optimizer.apply_gradients([(gradient, variable)])

    def _outer_loss(self, crops, keypoints):
        return tf.reduce_mean(self.model.person_losses(keypoints, self.model.network(crops, training=False)))

    # --- draws and replicas

    def _seed(self, number, stream: int):
        return tf.stack([tf.constant(self.seed * STREAMS + stream, tf.int64), number])

    @property
    def replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    def _shares(self, values):
        """This replica's rows of tensors that hold the global batch."""
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
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

    def _first(self, value):
        return self._strategy.experimental_local_results(value)[0]
