"""Image files: their sizes from the header, their pixels, and which of them are broken.

`decode_image` is the one decoder of the project. Training, evaluation and the check of a data set
use it, so a file that passes the check cannot fail in training. It is plain TensorFlow graph code. What it
cannot decode and Pillow can (TIFF, AVIF, JPEG 2000, BMP with a palette ...) is handed to it as a BMP of the
same pixels by `FileReader`, wherever files are read; served graphs have the decoder alone.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from PIL import Image

from p2net_tf.data.exif import ORIENTATION_TAG, TURNED, jpeg_orientation, orient
from p2net_tf.data.image_kinds import HEAD_BYTES, foreign_kind, picture_format
from p2net_tf.data.pillow_images import as_bytes, open_picture, read_rgb
from p2net_tf.utils.console import track

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
_UPRIGHT = 1
_TENSORFLOW_WORDS = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:[^\]]*\].*|\s*\[\[.*")


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
    headers, place = _headers(paths)
    sizes = [size[::-1] if exif_orientation and turn in TURNED else size for size, _, turn in headers]
    formats = np.asarray([format_ for _, format_, _ in headers], str)
    return np.asarray(sizes, np.float32).reshape(-1, 2)[place], formats[place]


def image_orientations(paths: Sequence[str]) -> np.ndarray:
    """`[N]` int, the EXIF orientation (1..8) of every image; 1 where it has none, or is no image."""
    headers, place = _headers(paths)
    return np.asarray([turn for _, _, turn in headers], int)[place]


def unreadable_images(paths: Sequence[str], exif_orientation: bool = False) -> dict[str, str]:
    """Fully decodes every distinct image as training will and tells which ones fail.

    Args:
        paths: image files, repetitions allowed.
        exif_orientation: as training will ask of `decode_image`.

    Returns:
        Path -> reason (`missing`, `empty file`, `truncated JPEG`, `is an HTML page, ...`), in sorted order.
    """
    distinct = np.unique(np.asarray(paths, str).reshape(-1))
    good = np.zeros(len(distinct), bool)
    files = np.flatnonzero([_is_file(path) for path in distinct.tolist()])
    rows = _decodable_rows(distinct[files], exif_orientation)
    for row in track(rows, "decoding images", total=len(files)):
        good[files[row]] = True
    return {path: _reason(path, exif_orientation) for path in distinct[~good].tolist()}


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
    if not _is_file(path):
        raise ValueError(_reason(path, exif_orientation))
    try:
        reader = FileReader([path], exif_orientation)
        return decode_image(reader.contents(0), exif_orientation).numpy()
    except Exception:
        # Outside of a graph what Pillow's plug-ins raise comes through.
        raise ValueError(_reason(path, exif_orientation)) from None


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
        heads = list(pool.map(_head, paths))
    decoders = np.asarray(_decoder_of(tf.constant(heads, tf.string)))
    need = (decoders == _UNKNOWN) & np.asarray([foreign_kind(head) is None and head != b"" for head in heads])
    for row in np.flatnonzero((decoders == _OTHER) | (decoders == _ALPHA_WEBP)):
        if heads[row].startswith(_GIF_SIGN):
            need[row] = _has_clear_color(paths[row])
        if exif_orientation:  # TensorFlow's graph knows the EXIF of JPEG alone.
            need[row] |= _header(paths[row])[2] != _UPRIGHT
    return need, decoders == _JPEG


def _has_clear_color(path: str) -> bool:
    """Whether a GIF has transparent pixels, which TensorFlow paints black."""
    try:
        with warnings.catch_warnings(action="ignore"), open_picture(path) as image:
            return "transparency" in image.info
    except Exception:  # broken, which is told when the pixels are read
        return False


def _is_file(path: str) -> bool:
    """Whether there is something to read that ends: no pipe, and no name that no file can have."""
    return "\0" not in path and os.path.isfile(path)


def _head(path: str) -> bytes:
    if not _is_file(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _headers(paths: Sequence[str]) -> tuple[list, np.ndarray]:
    """`_header` of every distinct path, and where each path is among them."""
    distinct, place = np.unique(np.asarray(paths, str).reshape(-1), return_inverse=True)
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        return list(pool.map(_header, distinct.tolist())), place.reshape(-1)


def _header(path: str) -> tuple[tuple[int, int], str, int]:
    """Stored size (width, height), format and EXIF orientation."""
    if not _is_file(path):
        return (0, 0), "", _UPRIGHT
    try:
        # Pillow warns of large pictures and of odd tags; what fails is told when the pixels are read.
        with warnings.catch_warnings(action="ignore"), open_picture(path) as image:
            turn = image.getexif().get(ORIENTATION_TAG, _UPRIGHT)
            # Of a TIFF Pillow gives the size and the pixels turned already, always.
            known = turn in range(1, 9) and image.format != "TIFF"
            return image.size, image.format or "", turn if known else _UPRIGHT
    except Exception:
        # Pillow's plug-ins raise almost anything on files that are no image, or a broken one.
        return (0, 0), "", _UPRIGHT


def _decodable_rows(paths: np.ndarray, exif_orientation: bool) -> Iterator[int]:
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


def _reason(path: str, exif_orientation: bool) -> str:
    """Why `path` does not decode, in a few words."""
    if "\0" in path or not os.path.exists(path):
        return "missing"
    if not os.path.isfile(path):
        return "is a folder, not an image" if os.path.isdir(path) else "is a pipe or device, not an image"
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not contents:
        return "empty file"
    kind = foreign_kind(contents[:HEAD_BYTES])
    if kind is not None:
        return f"is {kind}"
    return _fault(path, picture_format(contents[:HEAD_BYTES]), contents, exif_orientation)


def _fault(path: str, format_: str | None, contents: bytes, exif_orientation: bool) -> str:
    """Why a picture of `format_` (None: of an unknown one) does not decode."""
    try:
        read_rgb(path, exif_orientation)
    except Image.UnidentifiedImageError:
        return "not an image" if format_ is None else f"broken {format_} (its header is damaged)"
    except Exception as error:
        if "truncated" in str(error).lower():
            return f"truncated {format_ or 'image'}"
        return f"{format_ or 'image'} that cannot be read: {_first_line(str(error))}"
    try:
        decode_image(tf.constant(contents), exif_orientation)
    except tf.errors.OpError as error:
        words = _first_line(error.message)
        return f"broken {format_} ({words}); `p2net data convert-images` writes it anew"
    return "could not be read at the first attempt"


def _first_line(message: str) -> str:
    """Of an error, without TensorFlow's names of nodes."""
    return _TENSORFLOW_WORDS.sub("", message.strip().partition("\n")[0]).strip()
