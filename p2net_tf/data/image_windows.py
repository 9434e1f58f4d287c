"""The part of an image file that a crop is read from, decoded without the rest.

A person takes up a part of most pictures. A JPEG is decoded inside a window alone: libjpeg-turbo leaves out
the inverse transform of the other blocks. It can also be decoded at a half, a quarter or an eighth of its
size, where a crop shows the window smaller: each pixel is then the mean of those that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from p2net_tf.data.exif import jpeg_orientation, orient
from p2net_tf.data.image_files import DCT_METHOD, decode_other, is_jpeg
from p2net_tf.data.unreadable_images import JPEG_END, JPEG_TAIL

RATIOS = (1, 2, 4, 8)
"""What a JPEG can be decoded at a fraction of its size by."""
EVERYTHING = (0, 0, 2**24, 2**24)
"""A window around any picture."""
_SMOOTHING = 2
"""Pixels at the edges of a window of a JPEG that are off: its chroma is smoothed with what lies beyond."""


class ImageWindow(NamedTuple):
    """A window of a picture that was decoded."""

    image: tf.Tensor
    """`[h, w, 3]` uint8."""
    corner: tf.Tensor
    """`[2]` int32, (top, left) of the window in the picture, both at the size of decoding."""
    size: tf.Tensor
    """`[2]` int32, (height, width) of the whole picture at that size."""
    ratio: tf.Tensor
    """int32: a decoded pixel covers a square of `ratio` pixels of the picture on each side."""


def decode_window(
    contents,
    window=EVERYTHING,
    ratio=1,
    ratios: Sequence[int] = (1,),
    exif_orientation: bool = False,
    only_jpegs: bool = False,
) -> ImageWindow:
    """`image_files.decode_image` of a window, in a graph; at full size equal to it bit for bit.

    A JPEG without its end, as an interrupted download or a full disk leaves it, fails whatever the window is.
    One that is damaged in its middle, behind the window, is not noticed: none of these pixels are asked for.
    `unreadable_images`, which looks at all data before a training, decodes whole pictures.

    Args:
        contents: scalar string tensor, the bytes of the file.
        window: `[4]` int32, (top, left, bottom, right) in pixels of the picture; it may lie outside of it. At
            least these pixels are decoded.
        ratio: int32 scalar, one of `ratios`: the fraction of the size that a JPEG is decoded at. Other kinds
            are decoded at full size; so is a turned JPEG whose sides it does not divide.
        ratios: those that occur; each costs a branch of the graph.
        exif_orientation: turn a JPEG the way its EXIF header says; the window is one of the turned picture.
        only_jpegs: no other kind comes, so that they need not be told apart.

    Raises:
        tf.errors.InvalidArgumentError: as of `decode_image`.
    """
    window, ratio = tf.convert_to_tensor(window, tf.int32), tf.convert_to_tensor(ratio, tf.int32)

    def upright_jpeg():
        # What lacks its end is decoded whole, and so fails: no decoder comes to the end of a window's file.
        needed = tf.where(_has_end(contents), window, EVERYTHING)
        return _chosen(ratio, ratios, lambda given: _decode_jpeg(contents, needed, given))

    def jpeg():
        if not exif_orientation:
            return upright_jpeg()
        orientation = jpeg_orientation(contents)
        turned = lambda: _decode_turned(contents, window, ratio, ratios, orientation)  # noqa: E731
        return tf.cond(orientation == 1, upright_jpeg, turned)

    def other():
        return _cut(decode_other(contents), window, 1)

    found = jpeg() if only_jpegs else tf.cond(is_jpeg(contents), jpeg, other)
    found.image.set_shape([None, None, 3])
    return found


def cut_window(found: ImageWindow, window) -> ImageWindow:
    """A smaller window out of one, at the size of decoding: nothing outside of `found` is in it.

    Args:
        window: `[4]` int32, (top, left, bottom, right).
    """
    sides = tf.shape(found.image)[:2]
    first = tf.clip_by_value(window[:2] - found.corner, 0, sides - 1)
    last = tf.clip_by_value(window[2:] - found.corner, first + 1, sides)
    image = tf.slice(found.image, tf.concat([first, [0]], axis=0), tf.concat([last - first, [3]], axis=0))
    return found._replace(image=image, corner=found.corner + first)


def _has_end(contents):
    """Whether the marker that ends a JPEG is among the last bytes of the file.

    A picture with more behind it is decoded whole for nothing.
    """
    places = range(-JPEG_TAIL, 1 - len(JPEG_END))
    ends = tf.strings.substr(contents, list(places), [len(JPEG_END)] * len(places))
    return tf.reduce_any(ends == JPEG_END)


def _decode_jpeg(contents, window, ratio: int) -> ImageWindow:
    size = _reduced(tf.io.extract_jpeg_shape(contents)[:2], ratio)
    corner, sides = _within(window, size, ratio)
    image = tf.io.decode_and_crop_jpeg(
        contents, tf.concat([corner, sides], axis=0), channels=3, ratio=ratio, dct_method=DCT_METHOD
    )
    return ImageWindow(image, corner, size, tf.constant(ratio))


def _decode_turned(contents, window, ratio, ratios: Sequence[int], orientation) -> ImageWindow:
    """The whole picture is decoded and turned first: pixels are grouped from its stored corner."""
    divides = tf.reduce_all(tf.io.extract_jpeg_shape(contents)[:2] % ratio == 0)

    def decode(given: int):
        image = tf.io.decode_jpeg(contents, channels=3, ratio=given, dct_method=DCT_METHOD)
        return _cut(orient(image, orientation), window, given)

    return _chosen(tf.where(divides, ratio, 1), sorted({1, *ratios}), decode)


def _cut(image, window, ratio: int) -> ImageWindow:
    size = tf.shape(image)[:2]
    corner, sides = _within(window, size, ratio)
    whole = ImageWindow(image, tf.zeros([2], tf.int32), size, tf.constant(ratio))
    return cut_window(whole, tf.concat([corner, corner + sides], axis=0))


def _within(window, size, ratio: int):
    """`(corner, sides)` of what of a window lies in a decoded picture of a size; at least one pixel."""
    first = window[:2] // ratio - _SMOOTHING
    last = _reduced(window[2:], ratio) + _SMOOTHING
    first = tf.clip_by_value(first, 0, size - 1)
    return first, tf.clip_by_value(last, first + 1, size) - first


def _reduced(length, ratio: int):
    """As libjpeg has it: what is left over becomes a pixel of its own."""
    return (length + (ratio - 1)) // ratio


def _chosen(ratio, ratios: Sequence[int], decode: Callable[[int], ImageWindow]) -> ImageWindow:
    """`decode` of that one of the ratios; `tf.switch_case` costs more than a chain of `tf.cond`."""
    first, *others = ratios
    if not others:
        return decode(first)
    return tf.cond(ratio == first, lambda: decode(first), lambda: _chosen(ratio, others, decode))
