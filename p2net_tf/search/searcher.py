"""The bilevel loop of Auto-Pose (equations 7 and 8): weights on the inner part, the policy on the outer one.

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

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment import draws
from p2net_tf.augment.ops import apply_chain
from p2net_tf.augment.policy import Policy, augment
from p2net_tf.config import SearchConfig
from p2net_tf.search.expectation import Chains, Expectation
from p2net_tf.search.hypergradient import Bilevel, hypergradient, jvp_scores, reverse_scores, stateless
from p2net_tf.search.mixture import Mixture
from p2net_tf.search.relaxed import SearchError, make_space
from p2net_tf.training.optimizers import Adam
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import Cosine

_TRAINED, _EXPLORED = 0, 2
"""Random streams of one step: the chains of each use, and after it what their operations draw."""
_STREAMS = 4
_EPSILON = 1e-5
"""Keeps Adam's divisor off zero where a weight hardly ever moved."""


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
    """State and steps of a search; `ExpectationSearcher` and `MixtureSearcher` say what a step is.

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
            return augment(tensors, *batch, self._seed(number, _TRAINED))

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
        return tf.stack([tf.constant(self.seed * _STREAMS + stream, tf.int64), number])

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
        chains, _ = self._draw(batch, number, _TRAINED, 0.0)
        return self._augmented(batch, chains, number, _TRAINED, dose)

    def _judge(self, gradients, inner, outer, number, exploration):
        """Moves the policy; returns its tables before that, the validation loss and the noise."""
        probes, repeats = self._repeated(inner), self.settings.chains_per_person
        chains, importance = self._draw(probes, number, _EXPLORED, exploration, repeats)
        probes = self._augmented(probes, chains, number, _EXPLORED)
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


class MixtureSearcher(Searcher):
    """The search with averaged images and targets: equation 6 to the letter, with equation 8's look-ahead."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.train_relaxed = tf.function(self._train_relaxed, autograph=False)
        self._step = tf.function(self._search, autograph=False)

    def _search(self, inner, outer, number, exploration, dose):
        seeds = draws.sample_seeds(self._seed(number, _TRAINED), inner[0].shape[0])
        tables = (self.relaxed.weights(), self.relaxed.probabilities(), *self.relaxed.magnitudes())
        values = self._strategy.run(self._replica_search, (inner, outer, seeds))
        inner_loss, outer_loss = (self._first(value) for value in values)
        return (*(tf.identity(table) for table in tables), inner_loss, outer_loss, tf.constant(np.nan))

    def _replica_search(self, inner, outer, seeds):
        inner, outer, seeds = self._shares((inner, outer, seeds))
        network = self.model.network
        outputs, judged = stateless(network), stateless(network, training=False)

        def train_loss(weights):
            crops, hypotheses = self.relaxed.mix(*inner, seeds)
            return self._mixture_loss(outputs(weights, crops), hypotheses)

        def validation_loss(weights):
            people = self.model.person_losses(outer[1], judged(weights, outer[0]))
            return tf.reduce_mean(people) / self.replicas

        parameters = [variable.value for variable in self.relaxed.variables]
        problem = Bilevel(
            train_loss, validation_loss, network.trainable_variables, parameters, self.settings.zeta
        )
        found = hypergradient(problem, self.settings.hypergradient or "double_backprop", self._reduce)
        gradients, _ = self._mixture_gradients(inner, seeds)
        self._update_weights(gradients)
        self._update_policy(found.gradients)
        return self._reduce(found.train_loss), self._reduce(found.validation_loss)

    def _mixture_gradients(self, inner, seeds):
        """As `_weight_gradients`, of the mixture; moves the moving statistics, as training does."""
        crops, hypotheses = self.relaxed.mix(*inner, seeds)
        with tf.GradientTape() as tape:
            loss = self._mixture_loss(self.model.network(crops, training=True), hypotheses)
            total = loss + self.model.penalty()
        variables = [variable.value for variable in self.model.network.trainable_variables]
        return tape.gradient(total, variables), loss

    def _mixture_loss(self, outputs, hypotheses):
        model = self.model
        return self.relaxed.loss(
            outputs,
            hypotheses,
            model.parallel_loss,
            model.refine_loss,
            model.parallel_weight,
            model.refine_weight,
        )

    def _train_relaxed(self, batch, number):
        """One optimizer step on the mixture; returns its loss."""
        seeds = draws.sample_seeds(self._seed(number, _TRAINED), batch[0].shape[0])
        return self._sum(self._strategy.run(self._replica_train_relaxed, (batch, seeds)))

    def _replica_train_relaxed(self, batch, seeds):
        batch, seeds = self._shares((batch, seeds))
        gradients, loss = self._mixture_gradients(batch, seeds)
        self._update_weights(gradients)
        return loss


def _others_mean(scores, importance, repeats: int):
    """`[B]` weighted mean of the scores that the same person got by its other chains: the baseline.

    People differ more than chains do, and what a baseline leaves out of itself does not bias the gradient.
    """
    scores, importance = (tf.reshape(values, [-1, repeats]) for values in (scores, importance))
    # Sums of the others, not of all less the own: where the own is large, rounding would leave only noise.
    others = 1.0 - tf.eye(repeats, dtype=scores.dtype)
    total = tf.matmul(importance, others)
    return tf.reshape(tf.math.divide_no_nan(tf.matmul(importance * scores, others), total), [-1])


def make_relaxed(settings: SearchConfig, seed: int) -> Expectation | Mixture:
    """The relaxed policy that `settings` ask for.

    Raises:
        SearchError: unknown operations, or a hypergradient that the relaxation does not have.
    """
    space = make_space(settings.sub_policies, settings.stages, settings.operations)
    if settings.relaxation == "expectation":
        if settings.hypergradient not in (None, "scores"):
            raise SearchError(
                f"search.hypergradient={settings.hypergradient}: `expectation` samples its operations, and "
                "only `scores` sees through that; leave it out, or set search.relaxation=mixture"
            )
        return Expectation(space)
    if settings.hypergradient == "scores":
        raise SearchError(
            "search.hypergradient=scores: belongs to search.relaxation=expectation; for mixture take "
            "double_backprop, unrolled or finite_differences"
        )
    return Mixture(*space, seed)


def make_searcher(
    model: PoseModel,
    relaxed: Expectation | Mixture,
    settings: SearchConfig,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Searcher:
    kind = ExpectationSearcher if isinstance(relaxed, Expectation) else MixtureSearcher
    return kind(model, relaxed, settings, seed, strategy)
