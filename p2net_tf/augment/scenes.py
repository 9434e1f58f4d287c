"""How a whole picture is laid on the canvas that a detector trains on.

Everything is drawn in the graph from one seed per picture, for as many pictures at once as there are.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.baseline import CropWindow
from p2net_tf.augment.settings import SceneAugmentConfig

_LAYOUT_DRAWS = (1 << 21) + 3
"""A stream of random numbers apart from those of `p2net_tf.augment.baseline`."""


class Layout(NamedTuple):
    """Where on a canvas a picture lies, or many of them: from its top-left corner on."""

    window: CropWindow
    """The part of the plane of the picture that fills the canvas."""
    sizes: tf.Tensor
    """`[..., 2]` int32, (height, width) of what the canvas shows of the picture."""


def plain_layout(image_sizes, factors, canvas_size: tuple[int, int]) -> Layout:
    """The whole picture, as at inference.

    Args:
        image_sizes: `[B, 2]` int32, (height, width) of the pictures.
        factors: `[B]` float32 from picture to canvas.
        canvas_size: (height, width) of the canvas.
    """
    still = tf.zeros_like(factors)
    return _laid(image_sizes, factors[:, None], canvas_size, shift=tf.zeros([1, 2]), flip=still)


def sample_layout(
    image_sizes, factors, canvas_size: tuple[int, int], config: SceneAugmentConfig, seeds
) -> Layout:
    """Draws augmented layouts; that of a picture depends on its own seed alone.

    Args:
        image_sizes, factors, canvas_size: as for `plain_layout`.
        seeds: `[B, 2]` int64.
    """
    numbers = stateless_random.uniform(stateless_random.fold_in(seeds, _LAYOUT_DRAWS), 5)
    low, high = (tf.math.log(tf.constant(limit, tf.float32)) for limit in config.scale)
    scale = tf.exp(low + (high - low) * numbers[:, 0])
    stretch = 1.0 + config.stretch * (2.0 * numbers[:, 1] - 1.0)
    factors = (factors * scale)[:, None] * tf.stack([1.0 / stretch, stretch], axis=-1)
    flip = tf.cast(numbers[:, 2] < config.flip_probability, tf.float32)
    return _laid(image_sizes, factors, canvas_size, numbers[:, 3:5], flip)


def _laid(image_sizes, factors, canvas_size, shift, flip) -> Layout:
    """
    Args:
        factors: `[B, 1]` or `[B, 2]`, of the height and the width.
        shift: `[B, 2]` in 0..1 (or `[1, 2]`): which part is shown of a picture larger than the canvas.
        flip: `[B]` 1 or 0.
    """
    canvas = tf.constant(canvas_size, tf.float32)
    sizes = tf.cast(image_sizes, tf.float32)
    # Whole pixels, as at inference; the epsilon keeps 288.0 / 256 * 256 from becoming 287.
    scaled = tf.maximum(tf.floor(sizes * factors + 1e-3), 1.0)
    factors = scaled / sizes
    hidden = tf.maximum(scaled - canvas, 0.0)
    offset = tf.floor(shift * (hidden + 1.0))
    offset = tf.minimum(offset, hidden)
    # A mirrored picture, too, begins at the left: the window is then mirrored beforehand.
    mirrored = tf.stack([offset[:, 0], scaled[:, 1] - canvas[1] - offset[:, 1]], axis=-1)
    offset = tf.where(flip[:, None] > 0, mirrored, offset)
    window = CropWindow(
        center=tf.reverse((offset + canvas / 2) / factors, axis=[-1]),
        size=tf.reverse(canvas / factors, axis=[-1]),
        rotation=tf.zeros_like(flip),
        flip=flip,
    )
    return Layout(window, tf.cast(tf.minimum(scaled, canvas), tf.int32))
