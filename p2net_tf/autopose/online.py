"""Steps of the policy beside a training that takes those of the weights: Auto-Pose while learning.

The look-ahead of equation 7 is here the step that the training has just taken, so a step of the policy needs
no gradient of its own: v is that of the validation loss at the weights as they are, and so are the scores of
the people. Beside that it is the step of `expectation_step.py`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.hypergradient import stateless
from p2net_tf.autopose.step import StepRecord, part_of_step


class OnlineSearcher(ExpectationSearcher):
    """Moves the policy alone; `settings.steps` are its steps."""

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
        scored, chains, importance = self.sample_scored(inner, number, exploration)
        scores = self.chain_scores(scored, direction)
        gradients, noise = self.policy_gradients(chains, importance, scores)
        self.update_policy(gradients)
        values = (value.numpy() for value in (*tables, outer_loss, noise))
        *tables, outer_loss, noise = values
        return StepRecord(*tables, np.float32(np.nan), outer_loss, noise)

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
