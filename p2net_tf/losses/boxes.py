"""The losses of box deltas and of what a box holds, `[B]` of a batch of pictures."""

from __future__ import annotations

import keras
from keras import ops


def smooth_l1(true_deltas, deltas, beta: float):
    """`[...]` of `[..., 4]`: squares below `beta`, distances above it (Girshick, ICCV 2015).

    Args:
        beta: where the two meet, with one slope; 0 takes distances alone.
    """
    distance = ops.abs(ops.cast(deltas, "float32") - true_deltas)
    if beta == 0:
        return ops.sum(distance, axis=-1)
    return ops.sum(
        ops.where(distance < beta, 0.5 * ops.square(distance) / beta, distance - 0.5 * beta), axis=-1
    )


def cross_entropy(classes, logits):
    """`[...]` of class numbers `[...]` and logits `[..., K]`."""
    return keras.losses.sparse_categorical_crossentropy(
        classes, ops.cast(logits, "float32"), from_logits=True
    )


def binary_cross_entropy(positive, logits):
    """`[...]` of whether and logits, both `[...]`."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - logits * ops.cast(positive, "float32")


def mean_over(values, chosen):
    """`[B]` means of `values [B, A]` where `chosen [B, A]`; 0 where nothing is chosen."""
    chosen = ops.cast(chosen, "float32")
    return ops.sum(values * chosen, axis=-1) / ops.maximum(ops.sum(chosen, axis=-1), 1.0)
