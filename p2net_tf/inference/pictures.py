"""Pictures in whatever form a user has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from p2net_tf.data.image_files import decode_file
from p2net_tf.data.pillow_images import to_rgb
from p2net_tf.data.samples import DataError

PictureSource = Any
"""A path, an array `[H, W, 3]` (uint8, or float in 0..1) or `[H, W]`, or a PIL image."""

_AHEAD = 8
_ROUNDING = 1e-3
"""Resampled floats overshoot 1 a little."""


def as_list(pictures: PictureSource | Sequence[PictureSource]) -> list[PictureSource]:
    """The pictures one by one, where one alone or several may be given."""
    if isinstance(pictures, (list, tuple)):
        return list(pictures)
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        return list(pictures)
    return [pictures]


def load_pictures(sources: Sequence[PictureSource], exif_orientation: bool = True) -> Iterator[np.ndarray]:
    """`load_picture` of each, a few of them ahead, side by side."""
    load = partial(load_picture, exif_orientation=exif_orientation)
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting = iter(sources)
        queue = [pool.submit(load, source) for source in islice(waiting, _AHEAD)]
        while queue:
            yield queue.pop(0).result()
            queue += [pool.submit(load, source) for source in islice(waiting, 1)]


def load_picture(source: PictureSource, exif_orientation: bool = True) -> np.ndarray:
    """`[H, W, 3]` RGB in grey levels 0..255: uint8, or float32 where the source is float.

    Files, of any format that Pillow reads, and PIL images are turned the way their EXIF header says, because
    that is how people took them. Of 16 bits the high byte counts.

    Args:
        exif_orientation: False leaves them as they are stored, as labels of many data sets mean them.

    Raises:
        DataError: it is no picture; names file or shape, and the remedy.
    """
    if isinstance(source, (str, Path)):
        return _of_file(str(source), exif_orientation)
    if isinstance(source, Image.Image):
        return _of_pillow(source, exif_orientation)
    if isinstance(source, (np.ndarray, tf.Tensor)) or hasattr(source, "__array__"):
        return _of_array(np.asarray(source))
    raise DataError(
        f"{type(source).__name__} is no picture: give a path, an array [H, W, 3] (uint8, or float in 0..1) "
        "or a PIL image"
    )


def to_levels(picture: np.ndarray) -> np.ndarray:
    """`load_picture`'s array as uint8, to draw on."""
    return picture if picture.dtype == np.uint8 else np.uint8(np.rint(np.clip(picture, 0, 255)))


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
