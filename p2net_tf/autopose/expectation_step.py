"""A search step with sampled, hard operations.

One step, from one inner and one outer batch:

1. the inner batch is augmented by chains drawn from the policy, and its gradient g is taken (training mode);
2. the look-ahead w' = w - zeta * D * g, and v = dLval / dw there (inference mode, as a network is used);
3. some of its people, each several times, are augmented by chains that explore, and one forward-mode pass
   gives the scores s_b = <D v, dl_b / dw> of these, from which the policy's gradient follows;
4. the policy steps by it, the weights by g.

The weights meet the policy gradually: the share of people that are augmented for them (`dose`) grows from 0
to 1 during the search. A network that sees a little of every operation from the start soon minds none of the
photometric ones, and then nothing tells them apart.

D is 1 for `inner_step: sgd`, equation 8 to the letter; for `adam` it is what Adam divides by, so that the
look-ahead is the step which the optimizer takes.
"""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.augment.operations import apply_chain
from p2net_tf.autopose.expectation import Chains
from p2net_tf.autopose.hypergradient import jvp_scores, reverse_scores, stateless
from p2net_tf.autopose.step import TRAINED, Searcher

EXPLORED = 2
"""Random stream of the people that are scored; the streams of the weights come before."""
_EPSILON = 1e-5
"""Keeps Adam's divisor off zero where a weight hardly ever moved."""


class ExpectationSearcher(Searcher):
    """The search with sampled, hard operations; the head of the module says how."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._drawn = tf.function(self._draw_and_augment, autograph=False)
        self._judged = tf.function(self._judge, autograph=False)

    def train_relaxed(self, batch, number):
        """One optimizer step under the learned distribution, without exploration; returns its loss."""
        return self.train_plain(self._drawn(batch, number, tf.constant(1.0)))

    def _step(self, inner, outer, number, exploration, dose):
        gradients, inner_loss = self._gradients(self._drawn(inner, number, dose))
        *tables, outer_loss, noise = self._judged(gradients, inner, outer, number, exploration)
        self._apply(gradients)
        return (*tables, inner_loss, outer_loss, noise)

    def _draw_and_augment(self, batch, number, dose):
        """The batch as the weights are to see it."""
        chains, _ = self._draw(batch, number, TRAINED, 0.0)
        return self._augmented(batch, chains, number, TRAINED, dose)

    def _judge(self, gradients, inner, outer, number, exploration):
        """Moves the policy; returns its tables before that, the validation loss and the noise."""
        probes, repeats = self._repeated(inner), self.settings.chains_per_person
        chains, importance = self._draw(probes, number, EXPLORED, exploration, repeats)
        probes = self._augmented(probes, chains, number, EXPLORED)
        tables = (self.relaxed.weights(), self.relaxed.probabilities(), *self.relaxed.magnitudes())
        values = self._strategy.run(self._replica_judge, (gradients, outer, probes, chains, importance))
        return (*(tf.identity(table) for table in tables), *(self._first(value) for value in values))

    def _replica_judge(self, gradients, outer, probes, chains, importance):
        people = tf.cast(tf.shape(importance)[0], tf.float32)
        outer, probes, importance = self._shares((outer, probes, importance))
        chains = Chains(*self._shares(tuple(chains)))
        direction, outer_loss = self._direction(self._reduce(gradients), *outer)
        scores = self._scores(*probes, direction)
        policy_gradients, noise = self._policy_gradients(chains, importance, scores, people)
        self._update_policy(policy_gradients)
        return self._reduce(outer_loss), noise

    def _direction(self, gradients, crops, keypoints):
        """`D v` with v the validation gradient at the look-ahead, and the validation loss there."""
        network = self.model.network
        scales = self._preconditioner(gradients)
        values = [tf.convert_to_tensor(variable) for variable in network.trainable_variables]
        ahead = [
            value - self.settings.zeta * scale * gradient
            for value, scale, gradient in zip(values, scales, gradients, strict=True)
        ]
        outputs = stateless(network, training=False)
        with tf.GradientTape() as tape:
            tape.watch(ahead)
            loss = tf.reduce_mean(self.model.person_losses(keypoints, outputs(ahead, crops))) / self.replicas
        validation = self._reduce(tape.gradient(loss, ahead))
        return [scale * v for scale, v in zip(scales, validation, strict=True)], loss

    def _preconditioner(self, gradients):
        """What Adam multiplies a gradient with, apart from the learning rate; 1 for plain gradient steps."""
        optimizer = self.model.optimizer
        if self.settings.inner_step == "sgd" or not hasattr(optimizer, "_velocities"):
            return [1.0] * len(gradients)
        # With this step's gradient in the mean, as Adam has it: before its first step there is nothing else.
        decay = optimizer.beta_2
        correction = 1.0 - tf.pow(decay, tf.cast(optimizer.iterations + 1, tf.float32))
        velocities = [
            decay * velocity + (1.0 - decay) * tf.square(gradient)
            for velocity, gradient in zip(optimizer._velocities, gradients, strict=True)
        ]
        return [1.0 / (tf.sqrt(velocity / correction) + _EPSILON) for velocity in velocities]

    def _scores(self, crops, keypoints, direction):
        """`[b]` derivatives of the people's losses along `direction`; moving statistics stay as they are."""
        network = self.model.network
        values = [tf.convert_to_tensor(variable) for variable in network.trainable_variables]
        outputs = stateless(network)

        def losses(weights):
            return self.model.person_losses(keypoints, outputs(weights, crops))

        if self.replicas > 1:  # forward mode does not see the statistics of the other replicas
            return reverse_scores(losses, values, direction)
        return jvp_scores(lambda: losses(values), values, direction)

    def _policy_gradients(self, chains, importance, scores, people):
        """This replica's share of the hypergradient, and the noise of alpha's."""
        advantage = importance * (scores - _others_mean(scores, importance, self.settings.chains_per_person))
        with tf.GradientTape() as tape:
            log_probability = self.relaxed.log_probability(chains)
            surrogate = -self.settings.zeta * tf.reduce_sum(advantage * log_probability) / people
        gradients = tape.gradient(surrogate, [variable.value for variable in self.relaxed.variables])
        return gradients, self._noise(gradients[0], chains, advantage, people)

    def _noise(self, gradient, chains, advantage, people):
        """Standard error of alpha's gradient over its norm, from the spread of the people's contributions."""
        lengths = self.relaxed.score_lengths(chains)
        squares = (self.settings.zeta * advantage) ** 2 * lengths
        second_moment = self._reduce(tf.reduce_sum(squares)) / people
        norm = tf.reduce_sum(tf.square(self._reduce(gradient)))
        variance = tf.maximum(second_moment - norm, 0.0) / people
        return tf.sqrt(variance / tf.maximum(norm, 1e-30))

    def _repeated(self, batch):
        """The first people of a batch, each `chains_per_person` times in a row, as many crops as before."""
        repeats = self.settings.chains_per_person
        people = batch[0].shape[0] // repeats
        return tuple(tf.repeat(values[:people], repeats, axis=0) for values in batch)

    def _draw(self, batch, number, stream, exploration, repeats=1):
        return self.relaxed.sample(batch[0].shape[0], self._seed(number, stream), exploration, repeats)

    def _augmented(self, batch, chains, number, stream, dose=1.0):
        """The batch after its chains; of the people only the share `dose` is touched."""
        seed = self._seed(number, stream + 1)
        operations, levels = self.relaxed.operations(chains)
        touched = tf.random.stateless_uniform([batch[0].shape[0], 1], seed) < dose
        return apply_chain(*batch, tf.where(touched, operations, 0), levels, seed)


def _others_mean(scores, importance, repeats: int):
    """`[B]` weighted mean of the scores that the same person got by its other chains: the baseline.

    People differ more than chains do, and what a baseline leaves out of itself does not bias the gradient.
    """
    scores, importance = (tf.reshape(values, [-1, repeats]) for values in (scores, importance))
    # Sums of the others, not of all less the own: where the own is large, rounding would leave only noise.
    others = 1.0 - tf.eye(repeats, dtype=scores.dtype)
    total = tf.matmul(importance, others)
    return tf.reshape(tf.math.divide_no_nan(tf.matmul(importance * scores, others), total), [-1])
