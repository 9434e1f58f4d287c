"""A search step with averaged images and targets: equation 6 to the letter, with equation 8's look-ahead."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.autopose.hypergradient import Bilevel, hypergradient, stateless
from p2net_tf.autopose.step import TRAINED, Searcher


class MixtureSearcher(Searcher):
    """The search of the `mixture` relaxation."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.train_relaxed = tf.function(self._train_relaxed, autograph=False)
        self._step = tf.function(self._search, autograph=False)

    def _search(self, inner, outer, number, exploration, dose):
        seeds = stateless_random.sample_seeds(self._seed(number, TRAINED), inner[0].shape[0])
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
            model.intermediate_loss,
            model.final_loss,
            model.intermediate_weight,
            model.final_weight,
        )

    def _train_relaxed(self, batch, number):
        """One optimizer step on the mixture; returns its loss."""
        seeds = stateless_random.sample_seeds(self._seed(number, TRAINED), batch[0].shape[0])
        return self._sum(self._strategy.run(self._replica_train_relaxed, (batch, seeds)))

    def _replica_train_relaxed(self, batch, seeds):
        batch, seeds = self._shares((batch, seeds))
        gradients, loss = self._mixture_gradients(batch, seeds)
        self._update_weights(gradients)
        return loss
