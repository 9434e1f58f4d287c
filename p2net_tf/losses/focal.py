"""Focal loss (Lin et al., ICCV 2017) of one-stage detectors."""

from __future__ import annotations

import keras
from keras import ops

ALPHA, GAMMA = 0.25, 1.5
"""Section 3.1 of the paper."""


@keras.saving.register_keras_serializable("p2net_tf")
class FocalLoss(keras.losses.Loss):
    """Cross entropy of each class for itself, in which what is certain already hardly counts.

    `y_true [B, A, K]` is 1 for the class of a positive anchor, 0 for all others, and -1 in all classes of an
    anchor that does not count; `y_pred [B, A, K]` are logits. The loss of a picture is the sum over its
    anchors and classes, divided by the number of its positive anchors, at least 1.

    Args:
        alpha: weight of positives; negatives have `1 - alpha`.
        gamma: how fast what is certain loses weight.
    """

    def __init__(self, alpha: float = ALPHA, gamma: float = GAMMA, name="focal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        target = ops.cast(ops.maximum(y_true, 0), "float32")
        # Without `apply_class_balancing` Keras leaves alpha out, without a word. It takes means over classes.
        losses = (
            keras.losses.binary_focal_crossentropy(
                target,
                y_pred,
                apply_class_balancing=True,
                alpha=self.alpha,
                gamma=self.gamma,
                from_logits=True,
            )
            * (y_pred.shape[-1])
        )
        counts = ops.cast(ops.all(y_true >= 0, axis=-1), "float32")
        positives = ops.sum(target * counts[..., None], axis=(1, 2))
        return ops.sum(losses * counts, axis=-1) / ops.maximum(positives, 1.0)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}
