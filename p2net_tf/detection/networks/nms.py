"""Non-maximum suppression: of boxes that overlap, the best alone."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.detection.networks import geometry

_SCORELESS = -1e30


def non_maximum_suppression(
    boxes,
    scores,
    max_boxes: int,
    iou_threshold: float,
    score_threshold: float | None = None,
    groups=None,
):
    """Greedy: the best box stays, those that overlap it by more than `iou_threshold` go, and so on.

    Args:
        boxes: `[B, N, 4]` xyxy.
        scores: `[B, N]`.
        max_boxes: how many are kept at most.
        score_threshold: boxes that do not score above it are not looked at; None looks at all.
        groups: `[B, N]` whole numbers; boxes of different groups (classes, maps of a pyramid) do not suppress
            each other. None: all of one group.

    Returns:
        `indices [B, max_boxes]` int32 of the boxes that stay, best first, and `valid [B, max_boxes]` bool:
        where fewer stay, the rest is False and its index 0.

    On TensorFlow boxes of one group go through its own operation, which LiteRT has as one builtin. Everything
    else is `keras.ops`.
    """
    if score_threshold is not None:
        scores = ops.where(scores > score_threshold, scores, _SCORELESS)
    if groups is None and keras.backend.backend() == "tensorflow":
        return _by_tensorflow(boxes, scores, max_boxes, iou_threshold)
    return _by_fixed_point(boxes, scores, max_boxes, iou_threshold, groups)


def _by_tensorflow(boxes, scores, max_boxes, iou_threshold):
    import tensorflow as tf  # the only operation of the networks that has no home in keras.ops

    def of_picture(boxes, scores):
        # Not `tf.image`'s: it knows how many stay by the size of what comes back, and LiteRT fills that up.
        indices, _, count = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes,
            scores=scores,
            max_output_size=max_boxes,
            iou_threshold=iou_threshold,
            score_threshold=_SCORELESS / 2,
            soft_nms_sigma=0.0,
            pad_to_max_output_size=True,
        )
        return tf.reshape(indices, [max_boxes]), tf.range(max_boxes) < count

    if boxes.shape[0] == 1:
        indices, valid = of_picture(boxes[0], scores[0])
        return indices[None], valid[None]
    return tf.map_fn(
        lambda picture: of_picture(*picture), (boxes, scores), fn_output_signature=(tf.int32, tf.bool)
    )


def _by_fixed_point(boxes, scores, max_boxes, iou_threshold, groups):
    """A box stays exactly if no better box that stays overlaps it.

    Read as an assignment, that sentence is right for one more box of the order with every repetition, and
    for most pictures after a few: it is repeated until nothing changes, which is the greedy result.
    """
    order = ops.argsort(-scores, axis=-1)
    boxes, scores = geometry.rows(boxes, order), geometry.rows(scores, order)
    suppresses = geometry.iou(boxes, boxes) > iou_threshold  # [B, better, worse]
    if groups is not None:
        groups = geometry.rows(groups, order)
        suppresses = ops.logical_and(suppresses, groups[:, :, None] == groups[:, None, :])
    place = ops.arange(ops.shape(scores)[1], dtype="int32")
    suppresses = ops.logical_and(suppresses, place[:, None] < place[None, :])
    eligible = scores > _SCORELESS / 2

    def differ(stays, before):
        return ops.any(ops.not_equal(stays, before))

    def repeat(stays, before):
        overlapped = ops.any(ops.logical_and(suppresses, stays[:, :, None]), axis=1)
        return ops.logical_and(eligible, ops.logical_not(overlapped)), stays

    stays, _ = ops.while_loop(differ, repeat, repeat(eligible, eligible))
    return _best_first(stays, order, max_boxes)


def _best_first(stays, order, max_boxes):
    """Indices and validity of the first `max_boxes` boxes of `order [B, N]` that stay."""
    room = ((0, 0), (0, max_boxes))
    order = ops.pad(ops.cast(order, "int32"), room)
    countdown = ops.arange(ops.shape(stays)[1], 0, -1, dtype="int32")
    left, first = ops.top_k(ops.pad(ops.where(stays, countdown, 0), room), max_boxes)
    valid = left > 0
    return ops.where(valid, geometry.rows(order, first), 0), valid
