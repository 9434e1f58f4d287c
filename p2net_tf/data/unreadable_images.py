"""Which image files are broken, and why.

Most pictures are JPEGs and PNGs without a fault: Pillow decodes them, and nobody waits for TensorFlow. All
others, whether broken or just unusual, TensorFlow judges, as it will in training.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from p2net_tf.data.image_headers import is_file
from p2net_tf.data.image_kinds import HEAD_BYTES, foreign_kind, picture_format
from p2net_tf.data.pillow_images import read_rgb
from p2net_tf.utils.console import progress
from p2net_tf.utils.machine import usable_cpus
from p2net_tf.utils.quiet import import_tensorflow

JPEG_END = b"\xff\xd9"
"""The marker. It occurs in no coded pixels."""
JPEG_TAIL = 16
"""Behind the end of a picture there may be so many bytes less two: editors leave a line break."""
_PNG_SIGN = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGN = b"\xff\xd8\xff"
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers that begin the picture and say how it is coded."""
_SCAN, _FILL = 0xDA, 0xFF
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""But for those of a restart, which the pixels have between them."""
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_TENSORFLOW_WORDS = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:[^\]]*\].*|\s*\[\[.*")


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
    files = np.flatnonzero([is_file(path) for path in distinct.tolist()])
    with progress("decoding images", total=len(files)) as advance:
        for row, sound in zip(files, _sound_pictures(distinct[files].tolist()), strict=True):
            good[row] = sound
            advance(int(sound))
        others = files[~good[files]]
        for row in _decodable_rows(distinct[others], exif_orientation):
            good[others[row]] = True
            advance()
    return {path: unreadable_reason(path, exif_orientation) for path in distinct[~good].tolist()}


def _sound_pictures(paths: Sequence[str]) -> Iterator[bool]:
    with ThreadPoolExecutor(usable_cpus()) as pool:  # Pillow decodes without Python's lock
        yield from pool.map(_is_sound_picture, paths)


def _is_sound_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(len(_PNG_SIGN))
            return head.startswith((_JPEG_SIGN, _PNG_SIGN)) and decodes_anywhere(head + file.read())
    except OSError:
        return False


def _decodable_rows(paths: np.ndarray, exif_orientation: bool) -> Iterator[int]:
    if len(paths):
        import_tensorflow()
        from p2net_tf.data.image_files import decodable_rows

        yield from decodable_rows(paths, exif_orientation)


def decodes_anywhere(contents: bytes) -> bool:
    """Whether these are the bytes of a JPEG or PNG without a fault, which Pillow and TensorFlow both decode.

    False says nothing: it may be a picture of another kind, or one with a fault that does not matter.
    """
    if not (_is_whole_jpeg(contents) or _is_whole_png(contents)):
        return False
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(contents)) as image:
            image.load()
    except Exception:  # Pillow's plug-ins raise almost anything
        return False
    return True


def _is_whole_png(contents: bytes) -> bool:
    """Whether all its chunks are there, with the checksums that they name."""
    if not contents.startswith(_PNG_SIGN):
        return False
    place, kind = len(_PNG_SIGN), b""
    while kind != b"IEND":
        end = place + 8 + int.from_bytes(contents[place : place + 4])
        kind, checksum = contents[place + 4 : place + 8], contents[end : end + 4]
        if len(checksum) < 4 or zlib.crc32(contents[place + 4 : end]) != int.from_bytes(checksum):
            return False
        place = end + 4
    return place == len(contents)


def _is_whole_jpeg(contents: bytes) -> bool:
    """Whether it is of a usual coding, and its end is where it should be."""
    if not contents.startswith(_JPEG_SIGN) or JPEG_END not in contents[-JPEG_TAIL:]:
        return False
    frame = _segment(contents, _FRAMES)
    if frame is None or contents[frame + 1] not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        return False
    # Where another marker interrupts the pixels, Pillow is content with what came before.
    return contents[frame + 1] == _PROGRESSIVE or _is_one_scan(contents)


def _is_one_scan(contents: bytes) -> bool:
    """Whether nothing but the end follows the pixels of the first scan."""
    start = _segment(contents, {_SCAN})
    marker = None if start is None else _MARKER.search(contents, start + 2)
    return marker is not None and marker[0] == JPEG_END and marker.start() >= len(contents) - JPEG_TAIL


def _segment(contents: bytes, markers: set[int]) -> int | None:
    """Where the first segment with one of the markers begins; None where the segments do not lead there."""
    place = 2
    while contents[place : place + 1] == b"\xff" and place + 1 < len(contents):
        marker = contents[place + 1]
        if marker in markers:
            return place
        if marker == _FILL:
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(contents[place + 2 : place + 4])
    return None


def unreadable_reason(path: str, exif_orientation: bool) -> str:
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
    import_tensorflow()
    import tensorflow as tf

    from p2net_tf.data.image_files import decode_image

    try:
        decode_image(contents, exif_orientation)
    except tf.errors.OpError as error:
        words = _first_line(error.message)
        return f"broken {format_} ({words}); `p2net data convert-images` writes it anew"
    return "could not be read at the first attempt"


def _first_line(message: str) -> str:
    """Of an error, without TensorFlow's names of nodes."""
    return _TENSORFLOW_WORDS.sub("", message.strip().partition("\n")[0]).strip()
