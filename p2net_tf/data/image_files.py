"""Image files: their pixels.

`decode_image` is the one decoder of the project. Training, evaluation and the check of a data set
use it, so a file that passes the check cannot fail in training. It is plain TensorFlow graph code. What it
cannot decode and Pillow can (TIFF, AVIF, JPEG 2000, BMP with a palette ...) is handed to it as a BMP of the
same pixels by `FileReader`, wherever files are read; served graphs have the decoder alone.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from p2net_tf.data.exif import jpeg_orientation, orient
from p2net_tf.data.image_headers import UPRIGHT, is_file, read_head, read_header
from p2net_tf.data.image_kinds import foreign_kind
from p2net_tf.data.pillow_images import as_bytes, open_picture
from p2net_tf.data.unreadable_images import unreadable_reason

_HEADER_THREADS = 8
_BATCH = 16
DCT_METHOD = "INTEGER_ACCURATE"
"""Of every JPEG: see `decode_image`."""
_JPEG_SIGN = b"\xff\xd8\xff"
_GIF_SIGN = b"GIF8"
_SIGN_BYTES = 34
"""Behind these the kind of a BMP and of a WebP is known."""
_UNKNOWN, _OTHER, _ALPHA_WEBP, _JPEG = range(4)
"""Branches of `decode_image`."""


def decode_image(contents, exif_orientation: bool = False):
    """Decodes a JPEG, PNG, GIF (first frame), BMP or WebP in a graph, as Pillow's `convert("RGB")` does.

    JPEGs bit for bit: by the accurate DCT and the smooth upsampling of the chroma that Pillow and OpenCV use
    too. TensorFlow's own default is a fast DCT, up to 25 grey levels off on COCO. The DCT itself costs
    nothing (2.6 against 2.7 ms a picture of COCO, 0.20 against 0.20 ms of LSP, called one by one on 2 shared
    cores); telling the formats apart in a pipeline does: 2.2 ms against 1.6 ms before (COCO).

    Alpha is dropped. Of 16 bits the high byte counts. Transparent pixels of a GIF are black here; of a GIF
    that has some `FileReader` has Pillow's pixels, which show the color that they have in the palette.

    Args:
        contents: scalar string tensor, the bytes of the file; its name does not matter.
        exif_orientation: turn a JPEG the way its EXIF header says. TensorFlow's decoders never do.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are truncated or not an image, a BMP with a palette or
            packed pixels, or an animated WebP.
    """
    contents = tf.convert_to_tensor(contents)
    if tf.executing_eagerly():
        return _decode(contents, exif_orientation)
    return _decoder(exif_orientation)(contents)


@functools.cache
def _decoder(exif_orientation: bool):
    """`decode_image` as a function of the graph, which is traced once and not for every pipeline anew.

    A second, for what then reads a handful of pictures.
    """
    return tf.function(
        functools.partial(_decode, exif_orientation=exif_orientation),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )


def is_jpeg(contents):
    """Whether the bytes of a file are those of a JPEG, in a graph."""
    return tf.strings.substr(contents, 0, len(_JPEG_SIGN)) == _JPEG_SIGN


def _decode(contents, exif_orientation: bool):
    # JPEGs have a short way past the dozens of small operations that tell the others apart.
    image = tf.cond(
        is_jpeg(contents),
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method=DCT_METHOD),
        lambda: decode_other(contents),
    )
    image.set_shape([None, None, 3])
    return orient(image, jpeg_orientation(contents)) if exif_orientation else image


def decode_file(path: str, exif_orientation: bool = False) -> np.ndarray:
    """`[H, W, 3]` uint8 of a file, by `decode_image` or Pillow.

    Raises:
        ValueError: it cannot be read; says why.
    """
    if not is_file(path):
        raise ValueError(unreadable_reason(path, exif_orientation))
    try:
        reader = FileReader([path], exif_orientation)
        return decode_image(reader.contents(0), exif_orientation).numpy()
    except Exception:
        # Outside of a graph what Pillow's plug-ins raise comes through.
        raise ValueError(unreadable_reason(path, exif_orientation)) from None


def portable_bytes(path: str, exif_orientation: bool = False) -> bytes:
    """The bytes of a file, as they are where `decode_image` reads them right, else those of a PNG with its
    pixels.

    Args:
        exif_orientation: as `decode_image` will be asked.

    Raises:
        Exception: what Pillow's plug-ins raise on a broken file.
    """
    if FileReader([path], exif_orientation).by_pillow[0]:
        return as_bytes(path, exif_orientation, "PNG")
    with open(path, "rb") as file:
        return file.read()


class FileReader:
    """Reads files as bytes for `decode_image`, in a graph; those it cannot decode come from Pillow, as BMP.

    Args:
        paths: `[N]`; names need not be UTF-8.
        exif_orientation: as `decode_image` will be asked.
    """

    def __init__(self, paths: Sequence[str], exif_orientation: bool):
        distinct, place = np.unique(np.asarray(paths, str).reshape(-1), return_inverse=True)
        by_pillow, jpegs = _kinds(distinct.tolist(), exif_orientation)
        self.by_pillow = by_pillow[place.reshape(-1)]
        """`[N]` bool, whose files Pillow reads. Where there are none, the graph holds no Python."""
        self.only_jpegs = bool(jpegs.all())
        """Whether all of them are."""
        self._paths = tf.constant([os.fsencode(path) for path in np.asarray(paths, str).tolist()], tf.string)
        self._exif_orientation = exif_orientation

    def contents(self, row):
        """The bytes of the file of a row (int scalar)."""
        path = self._paths[row]
        if not self.by_pillow.any():
            return tf.io.read_file(path)
        return tf.cond(
            tf.constant(self.by_pillow)[row],
            lambda: tf.ensure_shape(tf.numpy_function(self._converted, [path], tf.string), ()),
            lambda: tf.io.read_file(path),
        )

    def _converted(self, path) -> bytes:
        # TensorFlow hands over bytes in a graph, and an array of them outside.
        return as_bytes(os.fsdecode(np.asarray(path, object).item()), self._exif_orientation)


def decode_other(contents):
    """`decode_image` of what is no JPEG."""
    decoder = _decoder_of(contents)

    def decode_alpha():
        alpha = decoder == _ALPHA_WEBP
        webp = lambda: tf.io.decode_webp(contents, channels=4)[0, ..., :3]  # noqa: E731
        return tf.cond(alpha, webp, lambda: _refused(contents))

    # Not `tf.switch_case`: in a pipeline it costs 1.3 ms a picture of COCO, even on the way not taken.
    plain = lambda: tf.io.decode_image(contents, channels=3, expand_animations=False)  # noqa: E731
    return tf.cond(decoder == _OTHER, plain, decode_alpha)


def _decoder_of(contents):
    """Which branch of `decode_image` reads each of the strings `[...]`, int32 `[...]`."""
    head = tf.cast(tf.io.decode_raw(contents, tf.uint8, fixed_length=_SIGN_BYTES), tf.int32)

    def reads(sign: bytes, place: int = 0):
        return tf.reduce_all(head[..., place : place + len(sign)] == list(sign), axis=-1)

    def bit(place: int, mask: int):
        return tf.bitwise.bitwise_and(head[..., place], mask) > 0

    # https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader: 40 bytes or more, with
    # bits per pixel at 28 and compression at 30. Palettes and packed bits give wrong colors.
    bmp = reads(b"BM") & (head[..., 14] >= 40) & ((head[..., 28] == 24) | (head[..., 28] == 32))
    bmp &= reads(bytes(4), 30)
    # https://developers.google.com/speed/webp/docs/riff_container: flags at 20,
    # or those of lossless data at 24.
    webp, extended = reads(b"RIFF") & reads(b"WEBP", 8), reads(b"VP8X", 12)
    webp &= ~(extended & bit(20, 0x02))
    alpha = webp & ((extended & bit(20, 0x10)) | (reads(b"VP8L", 12) & bit(24, 0x10)))
    other = reads(b"\x89PNG\r\n\x1a\n") | reads(b"GIF8") | bmp | (webp & ~alpha)
    kinds = {_JPEG: reads(_JPEG_SIGN), _OTHER: other, _ALPHA_WEBP: alpha}
    return tf.add_n([kind * tf.cast(found, tf.int32) for kind, found in kinds.items()])


def _refused(contents):
    words = (
        "not an image that can be read here: neither JPEG, PNG, GIF, WebP (not animated) nor BMP (24 or 32 "
        "bits, without a palette); convert it to PNG or JPEG"
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(contents) < 0, [words])]):
        return tf.zeros((1, 1, 3), tf.uint8)


def _kinds(paths: Sequence[str], exif_orientation: bool) -> tuple[np.ndarray, np.ndarray]:
    """`[N]` bool: there is something, and `decode_image` would not read it, or not turn it as asked; and
    `[N]` bool: it is a JPEG."""
    if not len(paths):
        return np.zeros(0, bool), np.zeros(0, bool)
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        heads = list(pool.map(read_head, paths))
    decoders = np.asarray(_decoder_of(tf.constant(heads, tf.string)))
    need = (decoders == _UNKNOWN) & np.asarray([foreign_kind(head) is None and head != b"" for head in heads])
    for row in np.flatnonzero((decoders == _OTHER) | (decoders == _ALPHA_WEBP)):
        if heads[row].startswith(_GIF_SIGN):
            need[row] = _has_clear_color(paths[row])
        if exif_orientation:  # TensorFlow's graph knows the EXIF of JPEG alone.
            need[row] |= read_header(paths[row])[2] != UPRIGHT
    return need, decoders == _JPEG


def _has_clear_color(path: str) -> bool:
    """Whether a GIF has transparent pixels, which TensorFlow paints black."""
    try:
        with warnings.catch_warnings(action="ignore"), open_picture(path) as image:
            return "transparency" in image.info
    except Exception:  # broken, which is told when the pixels are read
        return False


def decodable_rows(paths: np.ndarray, exif_orientation: bool) -> Iterator[int]:
    """The indices of the paths that decode, as they come."""
    reader = FileReader(paths.tolist(), exif_orientation)

    def decoded_row(row):
        image = decode_image(reader.contents(row), exif_orientation)
        # The pixels must be used, or the graph optimiser prunes the decoder.
        return row + tf.cast(tf.reduce_min(tf.shape(image)) < 0, tf.int64)

    options = tf.data.Options()
    options.deterministic = False
    dataset = tf.data.Dataset.range(len(paths))
    dataset = dataset.map(decoded_row, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().batch(_BATCH)
    for rows in dataset.with_options(options).as_numpy_iterator():
        yield from rows.tolist()
