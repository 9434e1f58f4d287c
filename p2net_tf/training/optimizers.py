"""Keras' optimizers with the update of the global batch, and their scale of the loss in float16.

Keras clips each replica's share of a gradient before it adds the shares up, so what clipping does depends on
the number of devices; its gradient accumulation fails under a strategy, hands the schedule micro-batches for
updates, and moves the moving average at each of them. Here the shares are added up first.

Keras also writes an update as some forty operations per variable. A network of many small layers then spends
more of its graph on the optimizer than on itself: half of it in the P2Net of `configs/planted_search.yaml`.
TensorFlow's kernel of Adam does the same arithmetic in one operation, and such a graph is traced, optimised
and run faster.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from p2net_tf.utils.compat import (
    OptimizerHooks,
    adam_momentums,
    adam_velocities,
    averages_of,
    clip_gradients,
    decays_weight,
    gradient_accumulators,
    learning_rate_of,
    merge_replicas,
    micro_batches,
    variable_index,
)


class _GlobalBatch(OptimizerHooks):
    """For a subclass of a Keras optimizer: one update per global batch, the same on every replica.

    In this order: the sum over the replicas, the mean over `gradient_accumulation_steps` micro-batches,
    clipping, weight decay, the step, the moving average. `iterations`, and with it schedules and bias
    corrections, counts updates. What is accumulated is summed over the replicas already, so a checkpoint
    between two updates holds all of it.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.ema_overwrite_frequency:
            raise ValueError("ema_overwrite_frequency is not supported: `AveragedWeights` reads the average")

    def build(self, variables):
        """The average starts as the weights are; Keras' is zero, and may be read before the first update."""
        if self.built:
            return
        super().build(variables)
        if self.use_ema:
            with tf.init_scope():  # a graph that builds its optimizer would start it anew in every step
                for variable, average in averages_of(self):
                    average.assign(variable)

    def apply_shares(self, gradients, variables):
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.gradient_accumulation_steps:
            gradients = self._accumulated(gradients, variables)
        natives = [_native(variable) for variable in variables]
        strategy = tf.distribute.get_strategy()
        merge_replicas(self._update_if_due, strategy, clip_gradients(self, gradients), natives)

    def _accumulated(self, gradients, variables):
        """The mean over the micro-batches, whole where an update is due; the sums then start anew."""
        due, means = self._update_is_due(), []
        for gradient, variable in zip(gradients, variables, strict=True):
            held = gradient_accumulators(self)[variable_index(self, variable)].value
            total = held + tf.convert_to_tensor(gradient)
            held.assign(tf.where(due, tf.zeros_like(total), total))
            means.append(total / self.gradient_accumulation_steps)
        return means

    def _update_is_due(self):
        return (micro_batches(self) + 1) % self.gradient_accumulation_steps == 0

    def _update_if_due(self, strategy, gradients, variables):
        # Seen by all replicas at once: one replica alone may not branch around what all take part in.
        if self.gradient_accumulation_steps:
            due = self._update_is_due()
            ops.cond(due, lambda: self._update(strategy, gradients, variables), lambda: None)
        else:
            self._update(strategy, gradients, variables)

    def _update(self, strategy, gradients, variables) -> None:
        rate = ops.convert_to_tensor(self.learning_rate)
        for gradient, variable in zip(gradients, variables, strict=True):
            strategy.extended.update(variable, self._decay_and_step, args=(gradient, rate), group=False)
        if self.use_ema:
            for variable, average in averages_of(self):
                strategy.extended.update(
                    _native(average), self._move_average, args=(_native(variable),), group=False
                )

    def _decay_and_step(self, variable, gradient, rate):
        if self.weight_decay is not None and decays_weight(self, variable):
            variable.assign_sub(variable * self.weight_decay * tf.cast(rate, variable.dtype))
        self.update_step(gradient, variable, rate)

    def _move_average(self, average, variable):
        # It starts at the first update's weights, as Keras' does.
        momentum = self.ema_momentum * tf.cast(self.iterations > 0, average.dtype)
        average.assign(momentum * average + (1 - momentum) * variable)

    def current_learning_rate(self):
        rate = learning_rate_of(self)
        is_schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        return rate(self.iterations) if is_schedule else super().current_learning_rate()


class _Fused(_GlobalBatch):
    """For a subclass of `keras.optimizers.Adam`; what the kernel cannot do stays with Keras."""

    def _update(self, strategy, gradients, variables):
        # Once, not per variable, and in the precision of any of them.
        step = tf.cast(self.iterations + 1, tf.float64)
        self._powers = tuple(_as_dtype(beta, tf.float64) ** step for beta in (self.beta_1, self.beta_2))
        super()._update(strategy, gradients, variables)

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = variable_index(self, variable)
        momentum, velocity = (of(self)[index].value for of in (adam_momentums, adam_velocities))
        numbers = (*self._powers, learning_rate, self.beta_1, self.beta_2, self.epsilon, gradient)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            **dict(zip(_INPUTS, (_as_dtype(number, variable.dtype) for number in numbers), strict=True)),
        )


_INPUTS = ("beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon", "grad")


def _as_dtype(number, dtype):
    # Not `tf.cast` alone: it would round a Python number to float32 first.
    return tf.cast(number, dtype) if tf.is_tensor(number) else tf.constant(number, dtype)


def _native(variable):
    """The TensorFlow variable, which strategies know, of a Keras variable."""
    return variable.value if isinstance(variable, keras.Variable) else variable


@keras.saving.register_keras_serializable("p2net_tf")
class SGD(_GlobalBatch, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, its arguments and its values."""


@keras.saving.register_keras_serializable("p2net_tf")
class RMSprop(_GlobalBatch, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`, its arguments and its values."""


@keras.saving.register_keras_serializable("p2net_tf")
class Adam(_Fused, keras.optimizers.Adam):
    """`keras.optimizers.Adam` (Kingma & Ba, ICLR 2015), its arguments and its values."""


@keras.saving.register_keras_serializable("p2net_tf")
class AdamW(_Fused, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` (Loshchilov & Hutter, ICLR 2019) that decays kernels alone.

    Biases and the scales and shifts of normalizations keep their size, as is usual: they are few, overfit
    little, and a scale that shrinks takes the signal along. Keras decays everything, and forgets what
    `exclude_from_weight_decay` was told when the optimizer is saved.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])


@keras.saving.register_keras_serializable("p2net_tf")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` that looks at the gradients of all replicas.

    Keras asks the first replica whether its share is finite, as if the shares were added up by then. An
    overflow in another replica would go into the weights of all of them.
    """

    def check_finite(self, grads):
        overflown = tf.cast(tf.logical_not(super().check_finite(grads)), tf.int32)
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, overflown)
        return tf.equal(total, 0)
