"""The two losses of the paper: L2 on all keypoints, and L2* on the hard ones (section 4.1).

Both compare heatmaps with *keypoints*: the target Gaussians are drawn here, on the device, so no host
process ever does. The squared error of a keypoint is divided by the energy of its Gaussian,
`pi * sigma ** 2`: an all-zero prediction costs exactly 1 per keypoint, at any resolution and sigma.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from p2net_tf.keypoints import heatmaps

PAPER_OHKM, PAPER_KEYPOINTS = 10, 17


def default_ohkm(num_keypoints: int) -> int:
    """The paper's 10 hard keypoints of COCO's 17, scaled to another skeleton."""
    return max(1, round(PAPER_OHKM / PAPER_KEYPOINTS * num_keypoints))


def mean_loss(losses: list, like):
    """Of the heatmaps that a network is supervised by on the way; zeros as `like` where it has none."""
    return sum(losses) / len(losses) if losses else ops.zeros_like(like)


@keras.saving.register_keras_serializable("p2net_tf")
class HeatmapLoss(keras.losses.Loss):
    """L2: squared error of the heatmaps, averaged over the labeled keypoints of each person.

    `y_true` are keypoints `[B, K, 3]` (x, y, visibility) in crop pixels, `y_pred` heatmaps `[B, h, w, K]`.
    A person without a labeled keypoint costs 0. Heatmaps of nothing cost 1:

    >>> keypoints, nothing = ops.array([[[64.0, 64.0, 2.0]]]), ops.zeros((1, 32, 32, 1))
    >>> round(float(HeatmapLoss(sigma=2.0)(keypoints, nothing)), 4)
    1.0

    `y_true` may also be a pair of soft targets, `(heatmaps [B, h, w, K], labels [B, K] in 0..1)`: what
    mixtures of augmentations have (equation 6). A label is then the weight of its keypoint's error and
    counts as that part of a keypoint in the mean; below one whole keypoint a person weighs less. With
    labels of 0 and 1 this is the loss of keypoints.

    Heatmaps in half precision are compared in float32, and the targets drawn in it: a bfloat16 has steps of
    a whole pixel from 128 on.

    `sample_weight` multiplies the loss of a person `[B]`, or the error of a keypoint `[B, K]`. As everywhere
    in Keras it is no part of the divisor: a weight of 2 for everybody is twice the loss.

    Args:
        sigma: standard deviation of the targets, in heatmap pixels.
        stride: crop pixels per heatmap pixel.
    """

    def __init__(self, sigma: float = 2.0, stride: int = heatmaps.STRIDE, name="heatmap_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sigma = sigma
        self.stride = stride

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None or not weighs_keypoints(sample_weight, y_pred):
            return super().__call__(y_true, y_pred, sample_weight)
        return _OfWeightedKeypoints(self, sample_weight)(y_true, y_pred)

    def call(self, y_true, y_pred, keypoint_weights=None):
        y_pred = _in_full_precision(y_pred)
        target, labels = self._target(y_true, y_pred)
        squared = ops.sum(ops.square(y_pred - target), axis=(1, 2)) / (math.pi * self.sigma**2)
        errors = squared * labels
        if keypoint_weights is not None:
            errors = errors * ops.cast(keypoint_weights, errors.dtype)
        return self.per_person(errors, labels)

    def per_person(self, errors, labels):
        """`[B]` from the errors `[B, K]`, which are 0 where there is no label, and the labels `[B, K]`."""
        return ops.sum(errors, axis=-1) / ops.maximum(ops.sum(labels, axis=-1), 1.0)

    def _target(self, y_true, y_pred):
        if isinstance(y_true, tuple):
            return y_true
        target = heatmaps.encode(y_true, tuple(y_pred.shape[1:3]), self.sigma, self.stride)
        return target, ops.cast(y_true[..., 2] > 0, y_pred.dtype)

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma, "stride": self.stride}


@keras.saving.register_keras_serializable("p2net_tf")
class OHKMLoss(HeatmapLoss):
    """L2*: online hard keypoint mining. Only the `hard` largest errors of each person count.

    Of a person with fewer labeled keypoints all count, and the mean is over those that do:
    `k = min(hard, labeled)`. (Peers divide by the fixed `hard`.) Soft targets are ranked by their weighted
    errors, and `labeled` is the sum of their labels. Keypoints with a `sample_weight` of their own are ranked
    by their weighted errors, too: by what they cost.

    Args:
        hard: keypoints kept per person; the paper's alpha = 10 of 17.
    """

    def __init__(self, hard: int = PAPER_OHKM, name="ohkm_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hard = hard

    def per_person(self, errors, labels):
        kept = min(self.hard, errors.shape[-1])
        # Errors of unlabeled keypoints are 0, the smallest possible: they only fill the list up.
        hardest, _ = ops.top_k(errors, kept, sorted=False)
        return ops.sum(hardest, axis=-1) / ops.clip(ops.sum(labels, axis=-1), 1.0, float(kept))

    def get_config(self):
        return {**super().get_config(), "hard": self.hard}


class _OfWeightedKeypoints(keras.losses.Loss):
    """A `HeatmapLoss` under the weights of keypoints, reduced as it is."""

    def __init__(self, loss: HeatmapLoss, weights):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self._loss, self._weights = loss, weights

    def call(self, y_true, y_pred):
        return self._loss.call(y_true, y_pred, self._weights)


def weighs_keypoints(weights, heatmaps) -> bool:
    """Whether `weights` are `[B, K]`, of the keypoints of `heatmaps [B, h, w, K]`, not `[B]` of persons.

    Raises:
        ValueError: they are neither.
    """
    shape, keypoints = tuple(weights.shape), heatmaps.shape[-1]
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return False
    if len(shape) == 2 and shape[1] == keypoints:
        return True
    raise ValueError(
        f"sample weights of the shape {list(shape)}: give [B], one for each person, or [B, {keypoints}], one "
        "for each keypoint"
    )


def _in_full_precision(heatmaps):
    half = keras.backend.standardize_dtype(heatmaps.dtype) in ("float16", "bfloat16")
    return ops.cast(heatmaps, "float32") if half else heatmaps
