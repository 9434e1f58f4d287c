"""Pictures in whatever form a user has them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from p2net_tf.data.image_files import decode_file
from p2net_tf.data.pillow_images import to_rgb
from p2net_tf.data.samples import DataError
from p2net_tf.inference.downloads import WEB, fetched

PictureSource = Any
"""A path or an `http` address, an array `[H, W, 3]` (uint8, or float in 0..1) or `[H, W]`, or a PIL image."""

_AHEAD = 8
_ROUNDING = 1e-3
"""Resampled floats overshoot 1 a little."""


def as_pictures(source: PictureSource | Iterable[PictureSource]) -> Iterable[PictureSource]:
    """The pictures one by one, where one alone or several may be given.

    Returns:
        A list; or the source itself, where it gives one picture after the other and may have no end.
    """
    if isinstance(source, list | tuple) or getattr(source, "ndim", None) in (1, 4):
        return list(source)
    # A file gives lines, bytes give numbers, and a dict gives its keys.
    is_other = isinstance(source, str | bytes | bytearray | memoryview | Mapping) or _is_file(source)
    if isinstance(source, Iterable) and not is_other and not hasattr(source, "__array__"):
        return source
    return [source]


def load_pictures(sources: Iterable[PictureSource], exif_orientation: bool = True) -> Iterator[np.ndarray]:
    """`load_numbered` of each, a few of them ahead, side by side."""
    waiting = enumerate(sources)
    with ThreadPoolExecutor(_AHEAD) as pool:
        queue = [pool.submit(load_numbered, *item, exif_orientation) for item in islice(waiting, _AHEAD)]
        while queue:
            yield queue.pop(0).result()
            queue += [pool.submit(load_numbered, *item, exif_orientation) for item in islice(waiting, 1)]


def load_numbered(number: int, source: PictureSource, exif_orientation: bool = True) -> np.ndarray:
    """`load_picture` of one of several.

    Raises:
        DataError: it is no picture; names the file, or the number where there is none.
    """
    try:
        return load_picture(source, exif_orientation)
    except DataError as error:
        if isinstance(source, str | Path):
            raise
        raise DataError(f"picture {number}: {error}") from None


def load_picture(source: PictureSource, exif_orientation: bool = True) -> np.ndarray:
    """`[H, W, 3]` RGB in grey levels 0..255: uint8, or float32 where the source is float.

    Files, of any format that Pillow reads, and PIL images are turned the way their EXIF header says, because
    that is how people took them. Of 16 bits the high byte counts.

    Args:
        exif_orientation: False leaves them as they are stored, as labels of many data sets mean them.

    Raises:
        DataError: it is no picture; names file or shape, and the remedy.
    """
    if isinstance(source, str | Path):
        return _of_word(str(source), exif_orientation)
    if isinstance(source, Image.Image):
        return _of_pillow(source, exif_orientation)
    if isinstance(source, (np.ndarray, tf.Tensor)) or hasattr(source, "__array__"):
        return _of_array(np.asarray(source))
    raise no_picture(source)


def no_picture(source: Any) -> DataError:
    """What is to be said of something that is neither a path nor pixels."""
    is_plain = source is None or isinstance(source, bool | int | float)
    remedy = "give a path, an array [H, W, 3] (uint8, or float in 0..1) or a PIL image"
    if isinstance(source, bytes | bytearray | memoryview) or _is_file(source):
        remedy += "; PIL.Image.open makes one of an open file, or of io.BytesIO(bytes)"
    return DataError(f"{source if is_plain else type(source).__name__} is no picture: {remedy}")


def _is_file(source: Any) -> bool:
    return hasattr(source, "read") and hasattr(source, "seek")


def to_levels(picture: np.ndarray) -> np.ndarray:
    """`load_picture`'s array as uint8, to draw on."""
    return picture if picture.dtype == np.uint8 else np.uint8(np.rint(np.clip(picture, 0, 255)))


def _of_word(word: str, exif_orientation: bool) -> np.ndarray:
    if not word.startswith(WEB):
        return _of_file(word, exif_orientation)
    with tempfile.TemporaryDirectory(prefix="p2net_") as folder:
        file = fetched(word, folder)
        if file == word:
            raise DataError(f"{word}: is a live stream, no picture; give it alone, as a video")
        try:
            return decode_file(file, exif_orientation)
        except ValueError as error:
            raise DataError(f"{word}: {error}") from None


def _of_file(path: str, exif_orientation: bool) -> np.ndarray:
    try:
        return decode_file(path, exif_orientation)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _of_pillow(image: Image.Image, exif_orientation: bool) -> np.ndarray:
    try:
        return to_rgb(image, exif_orientation)
    except (ValueError, OSError) as error:
        raise DataError(f"a PIL image of mode {image.mode} cannot be read: {error}") from None


def _of_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] not in (3, 4) or 0 in array.shape:
        raise DataError(f"an array of shape {list(array.shape)} is no picture; give [H, W, 3]")
    array = array[..., :3]
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"an array of {array.dtype} is no picture; give uint8 in 0..255, or float in 0..1")
    low, high = float(np.min(array)), float(np.max(array))
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise DataError(
            f"a float picture has values from {low:.3g} to {high:.3g}; give floats in 0..1, or grey levels "
            "as uint8"
        )
    return np.clip(array.astype(np.float32), 0, 1) * 255
