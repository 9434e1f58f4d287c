"""Adam and AdamW with one kernel per variable.

Keras writes an update as some forty operations per variable. A network of many small layers then spends more
of its graph on the optimizer than on itself: half of it in the P2Net of `configs/planted_search.yaml`.
TensorFlow's kernel does the same arithmetic in one operation, and such a graph is traced, optimised and run
faster.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class _Fused:
    """For a subclass of `keras.optimizers.Adam`; what the kernel cannot do stays with Keras."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Once, not per variable, and in the precision of any of them.
        step = tf.cast(self.iterations + 1, tf.float64)
        self._powers = tuple(_as_dtype(beta, tf.float64) ** step for beta in (self.beta_1, self.beta_2))
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        numbers = (*self._powers, learning_rate, self.beta_1, self.beta_2, self.epsilon, gradient)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            **dict(zip(_INPUTS, (_as_dtype(number, variable.dtype) for number in numbers), strict=True)),
        )


def _as_dtype(number, dtype):
    # Not `tf.cast` alone: it would round a Python number to float32 first.
    return tf.cast(number, dtype) if tf.is_tensor(number) else tf.constant(number, dtype)


_INPUTS = ("beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon", "grad")


@keras.saving.register_keras_serializable("p2net_tf")
class Adam(_Fused, keras.optimizers.Adam):
    """`keras.optimizers.Adam` (Kingma & Ba, ICLR 2015), its arguments and its values."""


@keras.saving.register_keras_serializable("p2net_tf")
class AdamW(_Fused, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` (Loshchilov & Hutter, ICLR 2019), its arguments and its values."""
