"""The `expectation` relaxation: the training loss is the mean over *sampled, hard* operations.

Every person draws a chain c: a sub-policy k, and per stage an operation o from softmax(alpha[k, n]), whether
it is applied, and its level. The training loss E_c l(w; c(x)) is linear in the probabilities of the chains,
so equation 8 needs first derivatives alone (search.md):

    d Lval / d a = -zeta * E_c [ s_c * d log p(c) / da ],     s = <v, dl / dw> of each person

This is exact where a person's loss depends on that person's chain alone. Batch statistics couple people: a
chain also moves the losses of the B - 1 others, each in the order of 1/B, and s of one person does not see
that, so what is left out need not fade with B. Measured against all joint chains on four small random P2Nets
(alpha's gradient, 4 outcomes, 2 and 4 people): relative errors of 0.7 to 7.3, cosines of -0.2 to 0.7.

The level of an operation is one of 0..10 with log-probability theta1 * x + theta2 * x^2 + const,
x = (level - 5) / 5: uniform at the start, able to lean, to narrow and to widen with two numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment.operations import LEVELS, OPERATION_NAMES
from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.space import SearchSpace, discretize

_LEVELS = np.arange(LEVELS + 1)
_IDENTITY = OPERATION_NAMES.index("Identity")


class Chains(NamedTuple):
    """What B people drew: sub-policy `[B]`, and per stage `[B, N]` an outcome and a level 0..10.

    Outcomes 0..O-1: this candidate was applied. Outcome O: nothing happened.
    """

    sub_policy: tf.Tensor
    outcome: tf.Tensor
    level: tf.Tensor


class Expectation:
    """The learned distribution over chains.

    Args:
        space: what is searched.
        probability: with which an operation is applied at the start.
        dtype: float64 for exactness tests.
    """

    def __init__(self, space: SearchSpace, probability: float = 0.5, dtype="float32"):
        self.space = space
        self.dtype = tf.as_dtype(dtype)
        start = math.log(probability / (1.0 - probability))
        self.alpha = keras.Variable(np.zeros(space.shape), dtype=dtype, name="alpha")
        self.probability = keras.Variable(np.full(space.shape, start), dtype=dtype, name="probability")
        self.magnitude = keras.Variable(np.zeros((*space.shape, 2)), dtype=dtype, name="magnitude")
        # Identity is never "applied": it is the other way for nothing to happen.
        self._acts = tf.constant([name != "Identity" for name in space.operations], self.dtype)

    @property
    def variables(self) -> list[keras.Variable]:
        """alpha `[K, N, O]`, logits of the probabilities `[K, N, O]`, thetas of the levels `[K, N, O, 2]`."""
        return [self.alpha, self.probability, self.magnitude]

    def weights(self):
        """Mixing weights `[K, N, O]`, softmax(alpha)."""
        return tf.nn.softmax(self.alpha)

    def probabilities(self):
        """`[K, N, O]` with which each operation is applied."""
        return tf.sigmoid(self.probability.value)

    def outcomes(self):
        """`[K, N, O + 1]` probabilities of what happens at a stage: a candidate is applied, or nothing.

        An operation that was drawn and not applied leaves no trace, so all these cases are one. Telling them
        apart would add noise to the gradient and nothing else.
        """
        weights = self.weights()
        applied = weights * self.probabilities() * self._acts
        # Not 1 - the sum of these: rounding would make a small rest 0 or negative, and its logarithm NaN.
        left = tf.sigmoid(-self.probability.value) * self._acts + (1.0 - self._acts)
        return tf.concat([applied, tf.reduce_sum(weights * left, axis=-1, keepdims=True)], axis=-1)

    def level_log_probabilities(self):
        """`[K, N, O, 11]`."""
        x = tf.constant((_LEVELS - 5.0) / 5.0, self.dtype)
        return tf.nn.log_softmax(tf.einsum("knof,fl->knol", self.magnitude.value, tf.stack([x, x * x])))

    def magnitudes(self):
        """Mean level and standard deviation, each `[K, N, O]`."""
        shares = tf.exp(self.level_log_probabilities())
        levels = tf.constant(_LEVELS, self.dtype)
        mean = tf.reduce_sum(shares * levels, axis=-1)
        return mean, tf.sqrt(tf.reduce_sum(shares * (levels - mean[..., None]) ** 2, axis=-1))

    def tables(self):
        """Weights, probabilities, mean levels and their standard deviations, each `[K, N, O]`."""
        return (self.weights(), self.probabilities(), *self.magnitudes())

    def sample(self, batch: int, seed, exploration, repeats: int = 1) -> tuple[Chains, tf.Tensor]:
        """Draws B chains; outcomes from (1 - exploration) * p + exploration * uniform.

        Sub-policies and outcomes are stratified over the people: each gets its share of them in every step.

        Args:
            batch: B, a multiple of `repeats`.
            seed: `[2]` integers.
            exploration: 0..1.
            repeats: chains that each person draws, in a row. They are independent of each other, so the
                others of a person are a baseline without bias.

        Returns:
            `(chains, importance [B])`, the probability of the drawn outcomes over that of the proposal.
        """
        sub_policies = self.space.sub_policies
        uniform = tf.concat([self._acts, tf.ones([1], self.dtype)], axis=0)
        uniform /= tf.reduce_sum(uniform)
        outcomes = self.outcomes()
        exploration = tf.cast(exploration, self.dtype)
        proposal = (1.0 - exploration) * outcomes + exploration * uniform
        strata, numbers = self._draws(batch, seed, repeats)
        k = tf.minimum(tf.cast(strata[:, 0] * sub_policies, tf.int32), sub_policies - 1)
        outcome = _inverse(tf.gather(proposal, k), strata[:, 1:])
        chains = Chains(k, outcome, tf.zeros_like(outcome))
        level = _inverse(tf.exp(self._levels_of(chains)), numbers)
        ratio = self._of_outcome(outcomes, chains) / self._of_outcome(proposal, chains)
        return Chains(k, outcome, level), tf.reduce_prod(ratio, axis=-1)

    def _draws(self, batch: int, seed, repeats: int):
        """Stratified uniform numbers `[B, 1 + N]` and plain ones `[B, N]`."""
        stages, people = self.space.stages, batch // repeats
        streams = [seed + tf.constant([0, stream << 42], tf.int64) for stream in range(3)]
        keys = tf.random.stateless_uniform([1 + stages, repeats, people], streams[0])
        ranks = tf.cast(tf.argsort(tf.argsort(keys)), self.dtype)
        offsets = tf.random.stateless_uniform(tf.shape(keys), streams[1], dtype=self.dtype)
        strata = tf.transpose((ranks + offsets) / tf.cast(people, self.dtype))
        strata = tf.reshape(strata, [batch, 1 + stages])
        return strata, tf.random.stateless_uniform([batch, stages], streams[2], dtype=self.dtype)

    def operations(self, chains: Chains):
        """What `augment.operations.apply_chain` takes: `(operations [B, N] int32, levels [B, N] float32)`."""
        rows = tf.constant([*self.space.rows, _IDENTITY])
        return tf.gather(rows, chains.outcome), tf.cast(chains.level, tf.float32)

    def log_probability(self, chains: Chains):
        """`[B]` log p(c), differentiable with respect to `variables`."""
        outcome = tf.math.log(self._of_outcome(self.outcomes(), chains))
        level = tf.gather(self._levels_of(chains), chains.level, axis=-1, batch_dims=2)
        # Where nothing happened no level was seen.
        happened = tf.cast(chains.outcome < len(self.space.operations), self.dtype)
        return tf.reduce_sum(outcome + happened * level, axis=-1) - math.log(self.space.sub_policies)

    def _of_outcome(self, table, chains: Chains):
        """`[B, N]` of a `[K, N, O + 1]` table."""
        return tf.gather(tf.gather(table, chains.sub_policy), chains.outcome, axis=2, batch_dims=2)

    def _levels_of(self, chains: Chains):
        """`[B, N, 11]` log-probabilities of the levels of what each person drew."""
        candidate = tf.minimum(chains.outcome, len(self.space.operations) - 1)
        tables = tf.gather(self.level_log_probabilities(), chains.sub_policy)
        return tf.gather(tables, candidate, axis=2, batch_dims=2)

    def score_lengths(self, chains: Chains):
        """`[B]` squared lengths of d log p(c) / d alpha."""
        weights, applied = self.weights(), self.probabilities() * self._acts
        happens = tf.reduce_sum(weights * applied, axis=-1, keepdims=True)
        nothing = self.outcomes()[..., -1:]
        # d log p(o) / d alpha = onehot(o) - w, and for nothing -w * (applied - happens) / p(nothing).
        unit = tf.eye(len(self.space.operations), dtype=self.dtype)
        of_candidate = tf.reduce_sum((unit - weights[:, :, None]) ** 2, axis=-1)
        of_nothing = tf.reduce_sum((weights * (applied - happens) / nothing) ** 2, axis=-1)
        lengths = tf.concat([of_candidate, of_nothing[..., None]], axis=-1)
        return tf.reduce_sum(self._of_outcome(lengths, chains), axis=-1)

    def discretize(self, name: str = "learned", provenance: dict | None = None) -> Policy:
        """The most likely operations; the levels' standard deviation becomes that of a uniform draw."""
        *tables, deviation = self.tables()
        spread = np.minimum(math.sqrt(3.0) * deviation, LEVELS / 2)
        return discretize(self.space, *tables, spread, name, provenance)


def _inverse(shares, numbers):
    """Indices `[B, N]` into the last axis of `shares [B, N, C]`, by the inverse of their cumulative sum."""
    # Not >: the number 0 must pass a first share of 0.
    passed = tf.cast(numbers[..., None] >= tf.cumsum(shares, axis=-1), tf.int32)
    return tf.minimum(tf.reduce_sum(passed, axis=-1), shares.shape[-1] - 1)
