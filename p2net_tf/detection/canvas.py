"""A picture as a detection network takes it: scaled to its size, padded to whole strides."""

from __future__ import annotations

import tensorflow as tf


def whole_strides(pixels: int, stride: int) -> int:
    """`pixels`, rounded up to a multiple of `stride`."""
    return -(-pixels // stride) * stride


def canvas_of(
    picture, shorter_side: int, longer_side: int, stride: int, padding_value, antialias: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`(canvas [1, H, W, 3], size [1, 2], scale [2])` of a picture; runs in a graph.

    As torchvision's `GeneralizedRCNNTransform` does it: the sides are rounded down, and the factors of both
    axes follow from them.

    Args:
        picture: `[h, w, 3]` RGB in grey levels 0..255, of any type.
        shorter_side, longer_side: see `DetectorCard`.
        stride: what H and W are multiples of.
        padding_value: `[3]` colour in 0..1 at the right and bottom.
        antialias: see `DetectorCard`.

    Returns:
        The canvas in 0..1, height and width of the picture on it, and the factors `(y, x)` from the picture
        to the canvas.
    """
    sides = tf.cast(tf.shape(picture)[:2], tf.float64)
    factor = tf.minimum(shorter_side / tf.reduce_min(sides), longer_side / tf.reduce_max(sides))
    size = tf.maximum(tf.cast(tf.floor(sides * factor), tf.int32), 1)
    # As they are: most pictures are large, and of eight bits.
    scaled = tf.image.resize(picture, size, antialias=antialias) / 255
    missing = -size % stride
    padding = tf.constant(padding_value, tf.float32)
    # Padded relative to the colour, since `tf.pad` takes one number for all channels.
    canvas = tf.pad(scaled - padding, [[0, missing[0]], [0, missing[1]], [0, 0]]) + padding
    return canvas[None], size[None], tf.cast(tf.cast(size, tf.float64) / sides, tf.float32)
