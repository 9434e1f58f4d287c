"""A search step with sampled, hard operations.

D is 1 for `inner_step: sgd`, equation 8 to the letter; for `adam` it is what Adam multiplies a gradient with,
so that the look-ahead w - zeta * D * g is the step which the optimizer takes.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.augment.operations import apply_chain
from p2net_tf.autopose.hypergradient import jvp_scores, reverse_scores, stateless
from p2net_tf.autopose.step import TRAINED, Searcher, part_of_step
from p2net_tf.utils.compat import adam_velocities

SCORED = 2
"""Random stream of the people that are scored; the streams of the weights come before."""
_EPSILON = 1e-5
"""Keeps Adam's divisor off zero where a weight hardly ever moved."""


class ExpectationSearcher(Searcher):
    """The search with sampled, hard operations."""

    def step(self, inner, outer, number, done):
        """The weights meet the policy gradually: the share of people augmented for them grows with `done`.

        A network that sees a little of every operation from the start soon minds none of the photometric
        ones, and then nothing tells them apart. The scored people explore less and less.
        """
        share = tf.constant(done, tf.float32)
        exploration = tf.constant(1.0 + (self.settings.exploration - 1.0) * done, tf.float32)
        batch = self.sample_augmented(inner, number, share)
        gradients, inner_loss = self.weight_gradients(batch)
        direction, outer_loss = self.lookahead_direction(gradients, outer)
        scored, chains, importance = self.sample_scored(inner, number, exploration)
        scores = self.chain_scores(scored, direction)
        policy_gradients, noise = self.policy_gradients(chains, importance, scores)
        self.update_policy(policy_gradients)
        self.update_weights(gradients)
        return inner_loss, outer_loss, noise

    def train_augmented(self, batch, number):
        return self.train_plain(self.sample_augmented(batch, number, tf.constant(1.0)))

    # --- parts of a step

    @part_of_step
    def sample_augmented(self, batch, number, share):
        """`batch` with hard operations drawn straight from the policy, on `share` (0..1) of its people."""
        size, seed = batch[0].shape[0], self._seed(number, TRAINED + 1)
        chains, _ = self.policy.sample(size, self._seed(number, TRAINED), 0.0)
        operations, levels = self.policy.operations(chains)
        touched = tf.random.stateless_uniform([size, 1], seed) < share
        return apply_chain(*batch, tf.where(touched, operations, 0), levels, seed)

    @part_of_step
    def lookahead_direction(self, gradients, outer):
        """`D v`, v = dLval / dw at the look-ahead (eq. 7, inference mode), and Lval there."""
        network = self.model.network
        outputs = stateless(network, training=False)

        def on_replica(outer, gradients):
            crops, keypoints = outer
            gradients = self._reduce(gradients)
            scales = self.preconditioner(gradients)
            values = [tf.convert_to_tensor(variable) for variable in network.trainable_variables]
            ahead = [
                value - self.settings.zeta * scale * gradient
                for value, scale, gradient in zip(values, scales, gradients, strict=True)
            ]
            with tf.GradientTape() as tape:
                tape.watch(ahead)
                losses = self.model.person_losses(keypoints, outputs(ahead, crops))
                loss = tf.reduce_mean(losses) / self.replicas
            validation = self._reduce(tape.gradient(loss, ahead))
            return [scale * v for scale, v in zip(scales, validation, strict=True)], loss

        direction, loss = self._on_replicas(on_replica, outer, gradients)
        return direction, self._sum(loss)

    def preconditioner(self, gradients=None):
        """D: what Adam multiplies each gradient with, apart from the rate; 1 for plain gradient steps.

        Args:
            gradients: of the step that comes, which Adam's means will hold; None: as they are, which before
                the first step is nothing.
        """
        optimizer = self.model.optimizer
        variables = self.model.network.trainable_variables
        if self.settings.inner_step == "sgd" or not isinstance(optimizer, keras.optimizers.Adam):
            return [1.0] * len(variables)
        decay, steps = optimizer.beta_2, optimizer.iterations
        velocities = [tf.convert_to_tensor(velocity) for velocity in adam_velocities(optimizer)]
        if gradients is not None:
            steps = steps + 1
            velocities = [
                decay * velocity + (1.0 - decay) * tf.square(gradient)
                for velocity, gradient in zip(velocities, gradients, strict=True)
            ]
        correction = 1.0 - tf.pow(decay, tf.cast(steps, tf.float32))
        means = [tf.math.divide_no_nan(velocity, correction) for velocity in velocities]
        return [1.0 / (tf.sqrt(mean) + _EPSILON) for mean in means]

    @part_of_step
    def sample_scored(self, batch, number, exploration):
        """The people to score, under chains that explore (0..1).

        They are the first of `batch`, each `chains_per_person` times in a row, as many crops as before.

        Returns:
            `(augmented batch, its chains, their importance [B])`.
        """
        repeats, seed = self.settings.chains_per_person, self._seed(number, SCORED + 1)
        people = batch[0].shape[0] // repeats
        batch = tuple(tf.repeat(values[:people], repeats, axis=0) for values in batch)
        drawn = self.policy.sample(people * repeats, self._seed(number, SCORED), exploration, repeats)
        chains, importance = drawn
        return apply_chain(*batch, *self.policy.operations(chains), seed), chains, importance

    @part_of_step
    def chain_scores(self, batch, direction):
        """`s [B]`: the derivative of each person's training loss along `direction`, by forward mode."""
        outputs = stateless(self.model.network)

        def on_replica(batch, direction):
            crops, keypoints = batch
            values = [tf.convert_to_tensor(variable) for variable in self.model.network.trainable_variables]

            def losses(weights):
                return self.model.person_losses(keypoints, outputs(weights, crops))

            if self.replicas > 1:  # forward mode does not see the statistics of the other replicas
                return reverse_scores(losses, values, direction)
            return jvp_scores(lambda: losses(values), values, direction)

        return self._on_replicas(on_replica, batch, direction)

    @part_of_step
    def policy_gradients(self, chains, importance, scores):
        """The hypergradient (eq. 8) of the policy's variables, and the noise of alpha's.

        The noise is the standard error over the norm, from the spread of the people's contributions.
        """
        zeta, people = self.settings.zeta, importance.shape[0]

        def on_replica(batch, scores):
            chains, importance = batch
            baseline = _others_mean(scores, importance, self.settings.chains_per_person)
            advantage = importance * (scores - baseline)
            with tf.GradientTape() as tape:
                log_probability = self.policy.log_probability(chains)
                surrogate = -zeta * tf.reduce_sum(advantage * log_probability) / people
            gradients = tape.gradient(surrogate, [variable.value for variable in self.policy.variables])
            squares = (zeta * advantage) ** 2 * self.policy.score_lengths(chains)
            return gradients, self._noise(gradients[0], squares, people)

        gradients, noise = self._on_replicas(on_replica, (chains, importance), scores)
        return gradients, self._strategy.experimental_local_results(noise)[0]

    def _noise(self, gradient, squares, people: int):
        """Of this replica's share of the mean over all `people`; `squares [b]` are their squared lengths."""
        second_moment = self._reduce(tf.reduce_sum(squares)) / people
        norm = tf.reduce_sum(tf.square(self._reduce(gradient)))
        variance = tf.maximum(second_moment - norm, 0.0) / people
        return tf.sqrt(variance / tf.maximum(norm, 1e-30))


def _others_mean(scores, importance, repeats: int):
    """`[B]` weighted mean of the scores that the same person got by its other chains: the baseline.

    People differ more than chains do, and what a baseline leaves out of itself does not bias the gradient.
    """
    scores, importance = (tf.reshape(values, [-1, repeats]) for values in (scores, importance))
    # Sums of the others, not of all less the own: where the own is large, rounding would leave only noise.
    others = 1.0 - tf.eye(repeats, dtype=scores.dtype)
    total = tf.matmul(importance, others)
    return tf.reshape(tf.math.divide_no_nan(tf.matmul(importance * scores, others), total), [-1])
