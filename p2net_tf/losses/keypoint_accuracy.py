"""A keypoint metric cheap enough to watch during training."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.keypoints import heatmaps
from p2net_tf.losses.heatmap import weighs_keypoints


@keras.saving.register_keras_serializable("p2net_tf")
class KeypointAccuracy(keras.metrics.Metric):
    """Share of labeled keypoints found within `threshold` x the person's extent in the crop.

    The extent is the longer side of the box around the labeled keypoints: known for every skeleton, unlike a
    torso or a head. It serves to watch a training; published figures come from `p2net_tf.evaluation`.

    Args:
        threshold: fraction of the extent.
        stride: crop pixels per heatmap pixel.
    """

    def __init__(self, threshold: float = 0.1, stride: int = heatmaps.STRIDE, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        self.stride = stride
        self.hits = self.add_variable((), "zeros", name="hits")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """`y_true` keypoints `[B, K, 3]` in crop pixels, `y_pred` heatmaps `[B, h, w, K]`.

        `sample_weight` `[B]` or `[B, K]`: how much the keypoints of a person, or each, count; None: 1.
        """
        y_true = ops.cast(y_true, "float32")
        predicted, _ = heatmaps.decode(ops.cast(y_pred, "float32"), "sign", stride=self.stride)
        labeled = y_true[..., 2] > 0
        distance = ops.sqrt(ops.sum(ops.square(predicted - y_true[..., :2]), axis=-1))
        reach = self.threshold * _extent(y_true[..., :2], labeled)
        counts = ops.cast(labeled, "float32")
        if sample_weight is not None:
            weights = ops.cast(sample_weight, "float32")
            if not weighs_keypoints(weights, y_pred):
                weights = ops.reshape(weights, (-1, 1))
            counts = counts * weights
        hits = counts * ops.cast(distance <= reach[:, None], "float32")
        self.hits.assign(self.hits + ops.sum(hits))
        self.total.assign(self.total + ops.sum(counts))

    def result(self):
        return ops.divide_no_nan(self.hits, self.total)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold, "stride": self.stride}


def _extent(xy, labeled):
    """`[B]` longer side of the box around the labeled keypoints."""
    seen = labeled[..., None]
    low = ops.min(ops.where(seen, xy, float("inf")), axis=1)
    high = ops.max(ops.where(seen, xy, float("-inf")), axis=1)
    return ops.maximum(ops.max(high - low, axis=-1), 0.0)
