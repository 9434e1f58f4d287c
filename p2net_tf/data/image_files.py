"""Image files: their sizes from the header, their pixels, and which of them are broken.

`decode_image` is the one decoder of the project. Training, evaluation and the check of a data set
use it, so a file that passes the check cannot fail in training. It is plain TensorFlow graph code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from PIL import Image

from p2net_tf.utils.console import track

_EXIF_SEARCH_BYTES = 65536
"""EXIF is the first or second segment of a JPEG, and a segment has at most 64 KB."""
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP"}
_ORIENTATION_TAG = 0x0112
_TURNED = (5, 6, 7, 8)
"""Orientations that exchange width and height."""
_SHORT = 3
_HEADER_THREADS = 8
_BATCH = 16


def image_sizes(paths: Sequence[str]) -> np.ndarray:
    """(width, height) of every image in stored pixels (EXIF does not turn them), read from the headers.

    Returns:
        `[N, 2]` float32; zeros where the file is missing or is not an image.
    """
    return image_headers(paths)[0]


def image_headers(paths: Sequence[str], exif_orientation: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and formats of images, read from their headers; repeated paths are read once.

    Args:
        paths: image files.
        exif_orientation: give the sizes as `decode_image` with this flag would return them.

    Returns:
        `(sizes [N, 2] float32 (width, height), formats [N] str)`, formats as Pillow names them (`JPEG`,
        `PNG`, ...); zeros and "" where the file is missing or is not an image.
    """
    paths = np.asarray(paths, str).reshape(-1)
    distinct, place = np.unique(paths, return_inverse=True)
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        headers = list(pool.map(lambda path: _header(path, exif_orientation), distinct.tolist()))
    sizes = np.asarray([size for size, _ in headers], np.float32).reshape(-1, 2)
    formats = np.asarray([format_ for _, format_ in headers], str)
    return sizes[place.reshape(-1)], formats[place.reshape(-1)]


def unreadable_images(paths: Sequence[str], exif_orientation: bool = False) -> dict[str, str]:
    """Fully decodes every distinct image with `decode_image` and tells which ones fail.

    Args:
        paths: image files, repetitions allowed.
        exif_orientation: as training will ask of `decode_image`.

    Returns:
        Path -> reason (`missing`, `empty file`, `truncated JPEG`, `not an image`, ...), in sorted order.
    """
    distinct = np.unique(np.asarray(paths, str).reshape(-1))
    good = np.zeros(len(distinct), bool)
    for row in track(_decodable_rows(distinct, exif_orientation), "decoding images", total=len(distinct)):
        good[row] = True
    return {path: _reason(path, exif_orientation) for path in distinct[~good].tolist()}


def decode_image(contents, exif_orientation: bool = False):
    """Decodes a JPEG, PNG, GIF (first frame), BMP or WebP to RGB, in a graph.

    Args:
        contents: scalar string tensor, the bytes of the file; its name does not matter.
        exif_orientation: turn a JPEG the way its EXIF header says. TensorFlow's decoders never do.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are truncated or not an image.
    """
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return orient(image, jpeg_orientation(contents)) if exif_orientation else image


def jpeg_orientation(contents):
    """EXIF orientation (1..8, int32 scalar) of the bytes of a JPEG; 1 where there is none.

    Reads tag 0x0112 of IFD0, in either byte order (Exif 2.3, section 4.6). Other formats yield 1.
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, 0, _EXIF_SEARCH_BYTES), tf.uint8), tf.int32)
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
        is_orientation = (number(entries, 2) == _ORIENTATION_TAG) & (number(entries + 2, 2) == _SHORT)
        values = tf.boolean_mask(number(entries + 8, 2), is_orientation)
        value = tf.concat([values, [1]], axis=0)[0]
        return tf.where((value >= 1) & (value <= 8), value, 1)

    return tf.cond(size > 8, read, lambda: tf.constant(1))


def _header(path: str, exif_orientation: bool) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(path) as image:
            size, format_ = image.size, image.format or ""
            turned = False
            if exif_orientation and format_ == "JPEG":
                turned = image.getexif().get(_ORIENTATION_TAG) in _TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # What Pillow's plug-ins raise on files that are no image, or a broken one.
        return (0, 0), ""
    return (size[::-1] if turned else size), format_


def _decodable_rows(paths: np.ndarray, exif_orientation: bool) -> Iterator[int]:
    """The indices of the paths that decode, as they come."""

    def decoded_row(row, path):
        image = decode_image(tf.io.read_file(path), exif_orientation)
        # The pixels must be used, or the graph optimiser prunes the decoder.
        return row + tf.cast(tf.reduce_min(tf.shape(image)) < 0, tf.int64)

    rows = np.arange(len(paths), dtype=np.int64)
    dataset = tf.data.Dataset.from_tensor_slices((rows, paths.astype(object)))
    options = tf.data.Options()
    options.deterministic = False
    dataset = dataset.map(decoded_row, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().batch(_BATCH)
    for rows in dataset.with_options(options).as_numpy_iterator():
        yield from rows.tolist()


def _reason(path: str, exif_orientation: bool) -> str:
    """Why `path` does not decode, in a few words."""
    if not os.path.isfile(path):
        return "missing" if not os.path.exists(path) else "not a file"
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not contents:
        return "empty file"
    kind = next((kind for magic, kind in _MAGIC.items() if contents.startswith(magic)), None)
    if kind is None:
        return "not an image"
    if _is_truncated(path):
        return f"truncated {kind}"
    try:
        decode_image(tf.constant(contents), exif_orientation)
    except tf.errors.OpError as error:
        return f"broken {kind} ({error.message.splitlines()[0].strip()})"
    return "could not be read at the first attempt"


def _is_truncated(path: str) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "truncated" in str(error).lower()
    return False
