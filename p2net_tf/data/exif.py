"""The EXIF orientation of a JPEG, read and applied in a TensorFlow graph."""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.data.image_headers import ORIENTATION_TAG

_SEARCH_BYTES = 65536
"""EXIF is the first or second segment of a JPEG, and a segment has at most 64 KB."""
_SHORT = 3


def jpeg_orientation(contents):
    """EXIF orientation (1..8, int32 scalar) of the bytes of a JPEG; 1 where there is none.

    Reads tag 0x0112 of IFD0, in either byte order (Exif 2.3, section 4.6). Other formats yield 1.
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, 0, _SEARCH_BYTES), tf.uint8), tf.int32)
    start = _tiff_start(head)
    return tf.cond(start >= 0, lambda: _ifd0_orientation(head[start:]), lambda: tf.constant(1))


def orient(image, orientation):
    """Turns `[H, W, C]` the way EXIF `orientation` (1..8, int32 scalar) asks, so that it is upright."""
    # The eight cases are a transposition (5..8), then a mirror along x and / or y.
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirror_x = tf.reduce_any(orientation == [2, 3, 6, 7])
    mirror_y = tf.reduce_any(orientation == [3, 4, 7, 8])
    image = tf.cond(mirror_x, lambda: image[:, ::-1], lambda: image)
    return tf.cond(mirror_y, lambda: image[::-1], lambda: image)


def _tiff_start(head):
    """Where the TIFF block of the EXIF segment starts in the `[n]` bytes of a JPEG; -1 without one."""
    # A segment reads: FF E1, two bytes of length, "Exif", 0, 0. The length may be anything.
    pattern = ((0, 0xFF), (1, 0xE1), *((i + 4, byte) for i, byte in enumerate(b"Exif\0\0")))
    padded = tf.pad(head, [[0, 10]])
    count = tf.shape(head)[0]
    match = tf.reduce_all([padded[i : count + i] == byte for i, byte in pattern], axis=0)
    is_jpeg = tf.reduce_all(padded[:2] == [0xFF, 0xD8])
    found = tf.where(match & is_jpeg)[:, 0]
    return tf.cond(tf.size(found) > 0, lambda: tf.cast(found[0], tf.int32) + 10, lambda: tf.constant(-1))


def _ifd0_orientation(tiff):
    """Orientation from the `[n]` int32 bytes of a TIFF block; 1 for anything odd."""
    size = tf.shape(tiff)[0]
    little = tf.reduce_all(tf.pad(tiff, [[0, 2]])[:2] == [0x49, 0x49])

    def number(positions, length):
        """Unsigned numbers of `length` bytes at `positions` `[m]`; bytes beyond the end read as 0."""
        places = positions[:, None] + tf.range(length)
        inside = (places >= 0) & (places < size)
        octets = tf.where(inside, tf.gather(tiff, tf.clip_by_value(places, 0, size - 1)), 0)
        powers = tf.range(length)
        powers = tf.where(little, powers, length - 1 - powers)
        return tf.reduce_sum(tf.bitwise.left_shift(octets, 8 * powers), axis=1)

    def read():
        ifd = number(tf.constant([4]), 4)
        # An offset beyond the bytes at hand (also a negative one, from an overflow) has no entries.
        inside = (ifd[0] > 0) & (ifd[0] < size)
        count = tf.where(inside, tf.minimum(number(ifd, 2)[0], size // 12), 0)
        entries = tf.where(inside, ifd[0], 0) + 2 + 12 * tf.range(count)
        is_orientation = (number(entries, 2) == ORIENTATION_TAG) & (number(entries + 2, 2) == _SHORT)
        values = tf.boolean_mask(number(entries + 8, 2), is_orientation)
        value = tf.concat([values, [1]], axis=0)[0]
        return tf.where((value >= 1) & (value <= 8), value, 1)

    return tf.cond(size > 8, read, lambda: tf.constant(1))
