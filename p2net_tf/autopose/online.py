"""Steps of the policy beside a training that takes those of the weights: Auto-Pose while learning.

The look-ahead of equation 7 is here the step that the training has just taken, so a step of the policy needs
no gradient of its own: v is that of the validation loss at the weights as they are, and so are the scores of
the people. Beside that it is the step of `expectation_step.py`.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.hypergradient import stateless
from p2net_tf.autopose.step import StepRecord, part_of_step


class OnlineSearcher(ExpectationSearcher):
    """Moves the policy alone; `settings.steps` are its steps."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        weights = self.model.trainable_variables if self.settings.online.memory else []
        with self._strategy.scope():
            self.remembered = [
                keras.Variable(tf.zeros(weight.shape), trainable=False, name="direction")
                for weight in weights
            ]

    def policy_step(self, inner, outer, number: int) -> StepRecord:
        """One step of the policy at the weights as they are.

        Args:
            inner, outer: `(crops [B, H, W, 3], keypoints [B, K, 3])`, plain.
            number: of the step, from 0; decides the draws and how many of them explore.
        """
        done = number / max(1, self.settings.steps - 1)
        exploration = tf.constant(1.0 + (self.settings.exploration - 1.0) * done, tf.float32)
        number = tf.constant(number, tf.int64)
        tables = self._tables()
        direction, outer_loss = self.outer_direction(outer)
        if self.remembered:
            direction = self.remember(direction)
        scored, chains, importance = self.sample_scored(inner, number, exploration)
        scores = self.chain_scores(scored, direction)
        if self.settings.online.scores == "relative":
            scores = self.relative(scored, scores)
        gradients, noise = self.policy_gradients(chains, importance, scores)
        self.update_policy(gradients)
        values = (value.numpy() for value in (*tables, outer_loss, noise))
        *tables, outer_loss, noise = values
        return StepRecord(*tables, np.float32(np.nan), outer_loss, noise)

    @part_of_step
    def relative(self, batch, scores):
        """Scores divided by the losses of their chains."""
        outputs = stateless(self.model.network)

        def on_replica(batch, scores):
            crops, keypoints = batch
            values = [tf.convert_to_tensor(variable) for variable in self.model.network.trainable_variables]
            losses = self.model.person_losses(keypoints, outputs(values, crops))
            return scores / losses

        return self._on_replicas(on_replica, batch, scores)

    @part_of_step
    def remember(self, direction):
        """The mean of `direction` and those before, of which every step forgets some."""
        memory = self.settings.online.memory

        def on_replica(direction):
            for mean, value in zip(self.remembered, direction, strict=True):
                mean.assign(memory * mean + (1.0 - memory) * value)
            return [tf.convert_to_tensor(mean) for mean in self.remembered]

        return self._strategy.run(on_replica, (direction,))

    @part_of_step
    def outer_direction(self, outer):
        """`D v`, v = dLval / dw at the weights as they are (inference mode), and Lval there."""
        network = self.model.network
        outputs = stateless(network, training=False)

        def on_replica(outer):
            crops, keypoints = outer
            values = [tf.convert_to_tensor(variable) for variable in network.trainable_variables]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                losses = self.model.person_losses(keypoints, outputs(values, crops))
                loss = tf.reduce_mean(losses) / self.replicas
            direction = self._reduce(tape.gradient(loss, values))
            return [scale * v for scale, v in zip(self.preconditioner(), direction, strict=True)], loss

        direction, loss = self._on_replicas(on_replica, outer)
        return direction, self._sum(loss)
