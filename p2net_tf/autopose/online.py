"""Steps of the policy beside a training that takes those of the weights: Auto-Pose while learning.

A step of the policy is that of `expectation_step.py` at the weights as they are, its look-ahead included: w'
is where the optimizer would go with a batch drawn from the policy as training draws it. Without it v points
where the network is going anyway, and a policy follows what makes training easy, not what helps. The people
who are scored are others than those of the look-ahead, which w' and Adam's scales have already seen.
"""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import apply_chain
from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.hypergradient import stateless
from p2net_tf.autopose.settings import OnlineConfig
from p2net_tf.autopose.step import TRAINED, StepRecord, part_of_step


class OnlineSearcher(ExpectationSearcher):
    """Moves the policy alone; `settings.steps` are its steps."""

    def policy_step(self, trained, scored, outer, number: int) -> StepRecord:
        """One step of the policy; the weights stay as they are.

        Args:
            trained, scored, outer: `(crops [B, H, W, 3], keypoints [B, K, 3])`, plain: the people of the
                look-ahead, those whose chains are compared, and those who judge.
            number: of the step, from 0; decides the draws and how many of them explore.
        """
        done = number / max(1, self.settings.steps - 1)
        exploration = tf.constant(1.0 + (self.settings.exploration - 1.0) * done, tf.float32)
        number = tf.constant(number, tf.int64)
        tables = self._tables()
        gradients, inner_loss = self.training_gradients(self.draw_trained(trained, number))
        direction, outer_loss = self.lookahead_direction(gradients, outer)
        people, chains, importance = self.sample_scored(scored, number, exploration)
        scores = self.chain_scores(people, direction)
        if self.settings.online.scores == "relative":
            scores = self.relative(people, scores)
        gradients, noise = self.policy_gradients(chains, importance, scores)
        self.update_policy(gradients)
        values = (value.numpy() for value in (*tables, inner_loss, outer_loss, noise))
        return StepRecord(*values)

    @part_of_step
    def draw_trained(self, batch, number):
        """`batch` as training sees it."""
        seed, size = self._seed(number, TRAINED), batch[0].shape[0]
        operations, levels = draw_chains(self.policy, self.settings.online, size, seed)
        return apply_chain(*batch, operations, levels, stateless_random.sample_seeds(seed, size))

    @part_of_step
    def training_gradients(self, batch):
        """As `weight_gradients`, and the moving statistics stay as they are."""
        network = self.model.network
        outputs = stateless(network)

        def on_replica(batch):
            crops, keypoints = batch

            def loss():
                values = [tf.convert_to_tensor(variable) for variable in network.trainable_variables]
                losses = self.model.person_losses(keypoints, outputs(values, crops))
                return tf.reduce_mean(losses) / self.replicas

            return self._loss_gradients(loss)

        gradients, loss = self._on_replicas(on_replica, batch)
        return gradients, self._sum(loss)

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


def draw_chains(policy: Expectation, online: OnlineConfig, batch: int, seed):
    """What people in training get: operations and levels `[batch, draws]`, of independent draws."""
    drawn = []
    for draw in range(online.draws):
        chains, _ = policy.sample(batch, seed + tf.constant([draw << 32, 0], tf.int64), online.uniform)
        drawn.append(policy.operations(chains))
    return [tf.concat(values, axis=1) for values in zip(*drawn, strict=True)]
