"""Which anchors answer for which boxes, and which of them count in a step (Ren et al., NIPS 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from p2net_tf.detection.networks import geometry

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
_MOST_CROWD = 0.5


@dataclass(frozen=True)
class Matcher:
    """Assigns anchors, or proposals, to true boxes by intersection over union.

    Attributes:
        high: from here on an anchor is positive.
        low: below it is negative; between the two it does not count.
        keeps_best: the best anchor of each true box is positive at any overlap above 0, with all that
            are as good.
    """

    high: float
    low: float
    keeps_best: bool = False

    def __call__(self, anchors, boxes, present, crowd=None, unfit=None):
        """`(indices, labels)`, both `[B, A]` int32.

        Args:
            anchors: `[B, A, 4]` or `[1, A, 4]` xyxy.
            boxes: `[B, M, 4]` xyxy of the true boxes.
            present: `[B, M]` bool: what fills the list up is False.
            crowd: `[B, M]` bool: such a box takes no anchor, but one that lies in it by half is no negative.
            unfit: `[B, M]` bool: such a box takes no anchor, but one whose overlap is `low` is no negative.

        Returns:
            The true box of each anchor, the best one at any overlap, and whether the anchor is `POSITIVE`,
            `NEGATIVE` or `IGNORED`.
        """
        anchors = ops.broadcast_to(anchors, (ops.shape(boxes)[0], *ops.shape(anchors)[1:]))
        usable = present
        for others in (crowd, unfit):
            usable = usable if others is None else ops.logical_and(usable, ops.logical_not(others))
        all_overlaps = geometry.iou(anchors, boxes)  # [B, A, M]
        overlaps = ops.where(usable[:, None, :], all_overlaps, -1.0)
        best = ops.max(overlaps, axis=-1)
        labels = ops.where(best >= self.high, POSITIVE, ops.where(best < self.low, NEGATIVE, IGNORED))
        if crowd is not None:
            share = geometry.covered_share(anchors, boxes)
            labels = _hide(labels, share, ops.logical_and(present, crowd), _MOST_CROWD)
        if unfit is not None:
            labels = _hide(labels, all_overlaps, ops.logical_and(present, unfit), self.low)
        if self.keeps_best:
            best_of_box = ops.max(overlaps, axis=1, keepdims=True)
            kept = ops.logical_and(overlaps == best_of_box, best_of_box > 0)
            labels = ops.where(ops.any(kept, axis=-1), POSITIVE, labels)
        return ops.cast(ops.argmax(overlaps, axis=-1), "int32"), ops.cast(labels, "int32")


def _hide(labels, shares, hiding, threshold: float):
    """Negatives that a box of `hiding [B, M]` covers by `threshold` do not count; `shares [B, A, M]`."""
    most = ops.max(ops.where(hiding[:, None, :], shares, 0.0), axis=-1)
    return ops.where(ops.logical_and(labels == NEGATIVE, most >= threshold), IGNORED, labels)


def sample(labels, count: int, positive_share: float, uniform: Callable):
    """A random choice of anchors, `[B, A]` bool.

    Of each picture at most `count` anchors: at most `positive_share` of them positive, the others negative.

    Args:
        labels: `[B, A]` of a `Matcher`; fewer anchors than `count` may be there.
        uniform: gives random numbers in 0..1 of a shape.
    """
    order = uniform(ops.shape(labels))
    positive, negative = labels == POSITIVE, labels == NEGATIVE
    chosen = _first(order, positive, int(count * positive_share))
    room = count - ops.sum(ops.cast(chosen, "int32"), axis=-1, keepdims=True)
    return ops.logical_or(chosen, _first(order, negative, room))


def _first(order, among, count):
    """The `count` of smallest `order` of those that are `among`, `[B, A]` bool."""
    rank = ops.argsort(ops.argsort(ops.where(among, order, 2.0), axis=-1), axis=-1)
    return ops.logical_and(among, ops.cast(rank, "int32") < count)
