"""Region proposal network (Ren et al., NIPS 2015): where there may be something."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from p2net_tf.detection.networks import geometry
from p2net_tf.detection.networks.anchors import Anchors
from p2net_tf.detection.networks.box_coder import BoxCoder
from p2net_tf.detection.networks.detection_network import Truth, at_most, grids_of, has_sides
from p2net_tf.detection.networks.matching import POSITIVE, Matcher, sample
from p2net_tf.detection.networks.nms import non_maximum_suppression
from p2net_tf.losses.boxes import binary_cross_entropy, mean_over, smooth_l1

_SMALLEST_SIDE = 1e-3
_NOTHING = -1.0
_BETA = 1 / 9
SAMPLED, POSITIVE_SHARE = 256, 0.5
"""Anchors of a picture that the losses look at."""


@keras.saving.register_keras_serializable("p2net_tf")
class RegionProposals(keras.layers.Layer):
    """A 3x3 convolution, then for each anchor whether there is something, and deltas; the same on all maps.

    `[[B, h, w, C], ...] -> (objectness [[B, h * w * A], ...], deltas [[B, h * w * A, 4], ...])`.

    Args:
        width: channels of the 3x3 convolution.
        per_position: A, anchors of a position.
    """

    def __init__(self, width: int, per_position: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.per_position = per_position
        small = keras.initializers.RandomNormal(stddev=0.01)
        options = {"kernel_initializer": small, "dtype": self.dtype_policy}
        self.conv = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name="conv", **options)
        self.objectness = keras.layers.Conv2D(per_position, 1, name="objectness", **options)
        self.deltas = keras.layers.Conv2D(4 * per_position, 1, name="deltas", **options)

    def build(self, input_shape):
        shape = input_shape[0]
        self.conv.build(shape)
        self.objectness.build((*shape[:-1], self.width))
        self.deltas.build((*shape[:-1], self.width))
        self.built = True

    def call(self, inputs):
        hidden = [self.conv(x) for x in inputs]
        objectness = [ops.reshape(self.objectness(x), (ops.shape(x)[0], -1)) for x in hidden]
        deltas = [ops.reshape(self.deltas(x), (ops.shape(x)[0], -1, 4)) for x in hidden]
        precise = lambda x: ops.cast(x, "float32")  # noqa: E731
        return [precise(x) for x in objectness], [precise(x) for x in deltas]

    def compute_output_shape(self, input_shape):
        counts = [h and w and h * w * self.per_position for _, h, w, _ in input_shape]
        batch = input_shape[0][0]
        return [(batch, n) for n in counts], [(batch, n, 4) for n in counts]

    def get_config(self):
        return {**super().get_config(), "width": self.width, "per_position": self.per_position}


class ProposalRules:
    """From the maps' anchors to the boxes that are looked at again, and to the losses.

    Args:
        nms_threshold: largest overlap of two proposals of one map.
    """

    def __init__(self, anchors: Anchors, nms_threshold: float = 0.7):
        self.anchors = anchors
        self.coder = BoxCoder()
        self.nms_threshold = nms_threshold
        self.matcher = Matcher(high=0.7, low=0.3, keeps_best=True)

    def of_maps(self, maps) -> list:
        return self.anchors(grids_of(maps))

    def proposals(self, anchors, objectness, deltas, sizes, before_nms: int, after_nms: int):
        """`(boxes [B, after_nms, 4], valid [B, after_nms])`, best first.

        Args:
            anchors, objectness, deltas: of each map.
            sizes: `[B, 2]`, see `DetectionNetwork`.
            before_nms: the best of each map that suppression looks at.
        """
        boxes, scores = [], []
        for anchor, objects, delta in zip(anchors, objectness, deltas, strict=True):
            level = self._of_level(anchor, objects, delta, sizes, before_nms, after_nms)
            boxes.append(level[0])
            scores.append(level[1])
        boxes, scores = ops.concatenate(boxes, axis=1), ops.concatenate(scores, axis=1)
        # Each map gave as many as there may be of all.
        scores, best = ops.top_k(scores, after_nms)
        return geometry.rows(boxes, best), scores > _NOTHING

    def _of_level(self, anchors, objectness, deltas, sizes, before_nms: int, after_nms: int):
        count = at_most(before_nms, ops.shape(objectness)[1])
        objectness, best = ops.top_k(ops.stop_gradient(objectness), count)
        anchors = ops.take(anchors, best, axis=0)
        boxes = self.coder.decode(geometry.rows(ops.stop_gradient(deltas), best), anchors)
        boxes = geometry.clip(boxes, sizes)
        scores = ops.where(has_sides(boxes, _SMALLEST_SIDE), ops.sigmoid(objectness), _NOTHING)
        kept, valid = non_maximum_suppression(
            boxes, scores, after_nms, self.nms_threshold, score_threshold=_NOTHING
        )
        return geometry.rows(boxes, kept), ops.where(valid, geometry.rows(scores, kept), _NOTHING)

    def losses(self, anchors, objectness, deltas, truth: Truth, uniform: Callable) -> dict:
        """`{objectness_loss, proposal_box_loss}`, `[B]` each."""
        anchors = ops.concatenate(anchors, axis=0)[None]
        objectness, deltas = ops.concatenate(objectness, axis=1), ops.concatenate(deltas, axis=1)
        index, labels = truth.matched_by(self.matcher, anchors)
        chosen = sample(labels, SAMPLED, POSITIVE_SHARE, uniform)
        positive = labels == POSITIVE
        target = self.coder.encode(geometry.rows(truth.boxes, index), anchors)
        distance = smooth_l1(ops.stop_gradient(target), deltas, _BETA)
        return {
            "objectness_loss": mean_over(binary_cross_entropy(positive, objectness), chosen),
            "proposal_box_loss": mean_over(distance * ops.cast(positive, "float32"), chosen),
        }
