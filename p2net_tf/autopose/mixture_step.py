"""A search step with averaged images and targets: equation 6 to the letter, with equation 8's look-ahead."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.autopose.hypergradient import Bilevel, hypergradient, stateless
from p2net_tf.autopose.step import TRAINED, Searcher, part_of_step


class MixtureSearcher(Searcher):
    """The search of the `mixture` relaxation."""

    def step(self, inner, outer, number, done):
        policy_gradients, inner_loss, outer_loss = self.policy_gradients(inner, outer, number)
        gradients, _ = self.mixed_weight_gradients(inner, number)
        self.update_policy(policy_gradients)
        self.update_weights(gradients)
        return inner_loss, outer_loss, tf.constant(np.nan)

    def train_augmented(self, batch, number):
        gradients, loss = self.mixed_weight_gradients(batch, number)
        self.update_weights(gradients)
        return loss

    # --- parts of a step

    @part_of_step
    def policy_gradients(self, inner, outer, number):
        """The hypergradient of the policy's variables, Ltrain at w and Lval at the look-ahead."""
        network = self.model.network
        outputs, judged = stateless(network), stateless(network, training=False)

        def on_replica(batch):
            inner, outer, seeds = batch

            def train_loss(weights):
                crops, hypotheses = self.policy.mix(*inner, seeds)
                return self._mixture_loss(outputs(weights, crops), hypotheses)

            def validation_loss(weights):
                people = self.model.person_losses(outer[1], judged(weights, outer[0]))
                return tf.reduce_mean(people) / self.replicas

            parameters = [variable.value for variable in self.policy.variables]
            problem = Bilevel(
                train_loss, validation_loss, network.trainable_variables, parameters, self.settings.zeta
            )
            return hypergradient(problem, self.settings.hypergradient or "double_backprop", self._reduce)

        found = self._on_replicas(on_replica, (inner, outer, self._person_seeds(inner, number)))
        return found.gradients, self._sum(found.train_loss), self._sum(found.validation_loss)

    @part_of_step
    def mixed_weight_gradients(self, batch, number):
        """As `weight_gradients`, of the mixture."""

        def on_replica(rows):
            batch, seeds = rows
            crops, hypotheses = self.policy.mix(*batch, seeds)
            return self._loss_gradients(
                lambda: self._mixture_loss(self.model.network(crops, training=True), hypotheses)
            )

        gradients, loss = self._on_replicas(on_replica, (batch, self._person_seeds(batch, number)))
        return gradients, self._sum(loss)

    def _person_seeds(self, batch, number):
        return stateless_random.sample_seeds(self._seed(number, TRAINED), batch[0].shape[0])

    def _mixture_loss(self, outputs, hypotheses):
        model = self.model
        return self.policy.loss(
            outputs,
            hypotheses,
            model.intermediate_loss,
            model.final_loss,
            model.intermediate_weight,
            model.final_weight,
        )
