"""One bilinear resampling of a batch of crops, each by its own matrix: a fast and a differentiable way."""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.keypoints import geometry


def resample(crops, matrices, fill: float = 0.0, differentiable: bool = False):
    """Moves the content of `[B, H, W, C]` crops by `[B, 2, 3]` matrices, crop to crop.

    Args:
        fill: value beyond the border of the input; the outermost half pixel fades into it.
        differentiable: sample with a gather. TensorFlow's kernel has no gradient for its matrix, and that for
            the image is an inverse warp, not the adjoint; the gather has both, at every order.
    """
    inverse = geometry.invert_affine(matrices)
    # The kernel counts pixels by index, our coordinates by corner: p = index + 0.5 on both sides.
    offset = inverse[..., 2] + tf.reduce_sum(inverse[..., :2], axis=-1) * 0.5 - 0.5
    inverse = tf.concat([inverse[..., :2], tf.expand_dims(offset, -1)], axis=-1)
    if differentiable:
        return _gather(crops, inverse, fill)
    transforms = tf.pad(tf.reshape(inverse, [-1, 6]), [[0, 0], [0, 2]])
    return tf.ensure_shape(
        tf.raw_ops.ImageProjectiveTransformV3(
            images=crops,
            transforms=tf.cast(transforms, tf.float32),
            output_shape=crops.shape[1:3],
            fill_value=fill,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        ),
        crops.shape,
    )


def _gather(crops, inverse, fill):
    """`inverse [B, 2, 3]` maps indices of the output to indices of the input."""
    height, width = crops.shape[1], crops.shape[2]
    columns, rows = tf.meshgrid(tf.range(width), tf.range(height))
    grid = tf.cast(tf.stack([columns, rows, tf.ones_like(rows)], axis=-1), crops.dtype)
    source = tf.einsum("hwc,bdc->bdhw", grid, inverse)
    x, y = source[:, 0], source[:, 1]
    left, top = tf.floor(x), tf.floor(y)
    # Not 1 - |x - column|: |.| has gradient 0 at 0, so a whole-pixel shift would feel one neighbour only.
    right_share, lower_share = x - left, y - top
    total = 0.0
    for row, row_weight in ((top, 1.0 - lower_share), (top + 1, lower_share)):
        for column, column_weight in ((left, 1.0 - right_share), (left + 1, right_share)):
            inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
            places = [tf.clip_by_value(row, 0, height - 1), tf.clip_by_value(column, 0, width - 1)]
            values = tf.gather_nd(crops, tf.cast(tf.stack(places, axis=-1), tf.int32), batch_dims=1)
            weight = row_weight * column_weight
            total += weight[..., None] * tf.where(inside[..., None], values, fill)
    return total
