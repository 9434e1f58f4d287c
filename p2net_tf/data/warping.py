"""The crops of a whole batch at once, out of images of any sizes, in the graph.

TensorFlow's projective transform works out the place of every pixel once per channel, one image at a time:
1.2 ms of a core for a crop of 256 x 192, where this needs 0.35. Pixels are one int32 each, so that a read
fetches three channels, and all images of a batch lie in one row, so that one program serves them all. XLA
compiles several programs, not one: it would work out the places again for every channel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from p2net_tf.keypoints import geometry

_CHANNEL_BITS = (0, 8, 16)
_BLACK = 0
"""Place of the pixel that is read outside of an image."""
_FAR = 2.0**24
"""Beyond it no coordinate is exact."""
_ROUNDING = 1
"""Pixels around a window, for coordinates that are rounded in another order."""


class PackedImages(NamedTuple):
    """Images, or the windows of them that are needed, one after the other in a row of pixels."""

    pixels: tf.Tensor
    """`[P]` int32, red in the lowest byte; the first one is black, and of no image."""
    starts: tf.Tensor
    """`[B]` int32: where the first pixel of each image lies, or would lie if all of it were there."""
    strides: tf.Tensor
    """`[B]` int32: from a pixel to the one below it."""
    sizes: tf.Tensor
    """`[B, 2]` int32, (height, width) of the images."""


def pack_images(levels: tf.RaggedTensor, corners, widths, sizes) -> PackedImages:
    """The windows of a batch of images as `warp_packed` reads them.

    Args:
        levels: `[B, (3 h w)]` uint8, the grey levels of each window.
        corners: `[B, 2]` int32, (top, left) of the windows in their images.
        widths: `[B]` int32, of the windows.
        sizes: `[B, 2]` int32, (height, width) of the whole images.
    """
    # A pixel of 3 bytes per number would be padded to 4 one at a time; in one program it is 0.1 ms of 0.8.
    pixels = _program(_pack)(_pad_to_power_of_two(levels.flat_values))
    starts = 1 + tf.cast(levels.row_starts(), tf.int32) // 3 - corners[:, 0] * widths - corners[:, 1]
    return PackedImages(pixels, starts, widths, sizes)


def pack_pixels(image: np.ndarray) -> np.ndarray:
    """`[h, w, 3]` uint8 -> `[h * w]` int32: a pixel per number."""
    pixels = np.zeros((*image.shape[:2], 4), np.uint8)
    pixels[..., :3] = image
    return pixels.reshape(-1).view("<i4")


def pixels_read(matrices, crop_size: tuple[int, int]):
    """`[..., 4]` int32, (top, left, bottom, right) around all pixels that a crop is read from.

    They may lie outside of the image, too.

    Args:
        matrices: `[..., 2, 3]` float32, image -> crop.
    """
    height, width = crop_size
    right, bottom = width - 0.5, height - 0.5
    corners = tf.constant([[0.5, 0.5], [right, 0.5], [0.5, bottom], [right, bottom]])
    places = geometry.transform_points(corners, geometry.invert_affine(matrices))[..., ::-1] - 0.5
    first = tf.floor(tf.reduce_min(places, axis=-2)) - _ROUNDING
    last = tf.floor(tf.reduce_max(places, axis=-2)) + 1 + _ROUNDING
    window = tf.concat([first, last + 1], axis=-1)
    return tf.cast(tf.clip_by_value(window, -_FAR, _FAR), tf.int32)


def of_reduced(matrices, ratios):
    """`[B, 2, 3]` from images that were decoded at a fraction of their size, `1 / ratios [B]`, to crops.

    Args:
        matrices: `[B, 2, 3]` float32, from whole images to crops.
    """
    ratios = tf.cast(ratios, tf.float32)
    return matrices * tf.stack([ratios, ratios, tf.ones_like(ratios)], axis=-1)[:, None, :]


def warp_packed(images: PackedImages, matrices, crop_size: tuple[int, int], repeat_edges: bool = False):
    """`crops.warp` of a batch, equal to it but for rounding.

    Args:
        images: an image, or the window that its crop is read from, for each crop. XLA compiles anew for every
            number of pixels.
        matrices: `[B, 2, 3]` float32, image -> crop.
        repeat_edges: outside of an image its nearest pixel is read, as `tf.image.resize` does, and not black.

    Returns:
        `[B, H, W, 3]` float32 in 0..1.
    """
    places, fractions = _program(_places, crop_size, repeat_edges)(
        images.starts, images.strides, images.sizes, geometry.invert_affine(matrices)
    )
    return _program(_mix)(_program(_read)(images.pixels, places), fractions)


def _pad_to_power_of_two(levels):
    """A black pixel, the grey levels `[3 * P]`, and zeros behind them, so that few lengths occur."""
    count = tf.size(levels) // 3 + 1
    length = tf.cast(count, tf.float64)
    power = tf.cast(tf.math.ceil(tf.math.log(length) / tf.math.log(tf.constant(2.0, tf.float64))), tf.int32)
    rest = tf.zeros([3 * (tf.bitwise.left_shift(1, power) - count)], tf.uint8)
    return tf.concat([tf.zeros([3], tf.uint8), levels, rest], axis=0)


def _pack(levels):
    red, green, blue = tf.unstack(tf.cast(tf.reshape(levels, [-1, 3]), tf.int32), axis=1)
    return red + green * 2 ** _CHANNEL_BITS[1] + blue * 2 ** _CHANNEL_BITS[2]


@functools.lru_cache
def _program(function: Callable, *options) -> Callable:
    return tf.function(functools.partial(function, *options), jit_compile=True, autograph=False)


def _places(crop_size, repeat_edges, starts, strides, sizes, inverses):
    """Places `4 x [B, H, W]` of the four pixels around every point, and where between them it lies, `2 x`."""
    columns = tf.range(crop_size[1], dtype=tf.float32)[None, None, :] + 0.5
    rows = tf.range(crop_size[0], dtype=tf.float32)[None, :, None] + 0.5
    across, down = (
        inverses[:, axis, 0, None, None] * columns
        + inverses[:, axis, 1, None, None] * rows
        + inverses[:, axis, 2, None, None]
        - 0.5
        for axis in (0, 1)
    )
    (left, x), (top, y) = (
        _split(positions, length, repeat_edges)
        for positions, length in ((across, sizes[:, 1]), (down, sizes[:, 0]))
    )
    starts, strides, height, width = (
        numbers[:, None, None] for numbers in (starts, strides, sizes[:, 0], sizes[:, 1])
    )

    def place(row, column):
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return tf.where(inside, starts + row * strides + column, _BLACK)

    return tuple(place(top + below, left + beside) for below in (0, 1) for beside in (0, 1)), (x, y)


def _split(positions, length, repeat_edges):
    """Index of the pixel before each position, and the rest; far outside it is the nearest pixel outside."""
    length = length[:, None, None]
    last = tf.cast(length - 1, tf.float32)
    inside = (
        tf.clip_by_value(positions, 0.0, last)
        if repeat_edges
        else tf.clip_by_value(positions, -1.0, last + 1)
    )
    index = tf.minimum(tf.cast(tf.floor(inside), tf.int32), length - 1)
    return index, inside - tf.cast(index, tf.float32)


def _read(pixels, places):
    return tuple(tf.gather(pixels, place) for place in places)


def _mix(neighbours, fractions):
    """Bilinear interpolation."""
    upper_left, upper_right, lower_left, lower_right = map(_channels, neighbours)
    x, y = (fraction[..., None] for fraction in fractions)
    upper = upper_left + x * (upper_right - upper_left)
    lower = lower_left + x * (lower_right - lower_left)
    return (upper + y * (lower - upper)) * (1 / 255)


def _channels(pixels):
    """`[B, H, W]` -> `[B, H, W, 3]`."""
    channels = tf.bitwise.right_shift(pixels[..., None], tf.constant(_CHANNEL_BITS))
    return tf.cast(tf.bitwise.bitwise_and(channels, 255), tf.float32)
