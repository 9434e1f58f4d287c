"""Attention Partial Module (section 3.3, figure 4a, equations 4 and 5 of the paper)."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.layers.freezing import FreezableLayer


@keras.saving.register_keras_serializable("p2net_tf")
class AttentionPartialModule(FreezableLayer):
    """Weights every channel by what the whole map holds: `U = F * sigmoid(phi(T))`.

    `[B, H, W, C] -> [B, H, W, C]`.

    `T` is the global average of each channel (equation 4) and `phi` a 1x1 convolution to the same number
    of channels (equation 5), so the gate of a channel depends on all of them.

    >>> module = AttentionPartialModule()
    >>> module(ops.ones((1, 4, 4, 8))).shape, module.gates(ops.ones((1, 4, 4, 8))).shape
    (TensorShape([1, 4, 4, 8]), TensorShape([1, 1, 1, 8]))
    """

    def build(self, input_shape):
        self.phi = keras.layers.Conv2D(input_shape[-1], 1, dtype=self.dtype_policy, name="phi")
        self.phi.build((input_shape[0], 1, 1, input_shape[-1]))
        self.built = True

    def call(self, inputs):
        return inputs * self.gates(inputs)

    def gates(self, inputs):
        """`sigmoid(phi(T))` of `[B, H, W, C]`, by which `call` multiplies: `[B, 1, 1, C]` in 0..1."""
        average = ops.mean(inputs, axis=(1, 2), keepdims=True)
        return ops.sigmoid(self.phi(average))

    def compute_output_shape(self, input_shape):
        return input_shape
