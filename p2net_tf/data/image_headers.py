"""What is known of image files by their first bytes, without TensorFlow: sizes, formats, orientations."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from p2net_tf.data.image_kinds import HEAD_BYTES
from p2net_tf.data.pillow_images import open_picture

ORIENTATION_TAG = 0x0112
"""Of EXIF."""
TURNED = (5, 6, 7, 8)
"""Orientations that exchange width and height."""
UPRIGHT = 1

_THREADS = 8


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


def is_file(path: str) -> bool:
    """Whether there is something to read that ends: no pipe, and no name that no file can have."""
    return "\0" not in path and os.path.isfile(path)


def read_head(path: str) -> bytes:
    """The first `HEAD_BYTES`; none of what cannot be read."""
    if not is_file(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _headers(paths: Sequence[str]) -> tuple[list, np.ndarray]:
    """`read_header` of every distinct path, and where each path is among them."""
    distinct, place = np.unique(np.asarray(paths, str).reshape(-1), return_inverse=True)
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read_header, distinct.tolist())), place.reshape(-1)


def read_header(path: str) -> tuple[tuple[int, int], str, int]:
    """Stored size (width, height), format and EXIF orientation."""
    if not is_file(path):
        return (0, 0), "", UPRIGHT
    try:
        # Pillow warns of large pictures and of odd tags; what fails is told when the pixels are read.
        with warnings.catch_warnings(action="ignore"), open_picture(path) as image:
            turn = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
            # Of a TIFF Pillow gives the size and the pixels turned already, always.
            known = turn in range(1, 9) and image.format != "TIFF"
            return image.size, image.format or "", turn if known else UPRIGHT
    except Exception:
        # Pillow's plug-ins raise almost anything on files that are no image, or a broken one.
        return (0, 0), "", UPRIGHT
