"""Pictures that were there when the work began, and are not any more: a disk or a network share that went."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from p2net_tf.data.image_sources import Pictures
from p2net_tf.data.samples import DataError
from p2net_tf.data.unreadable_images import unreadable_images

FRUITLESS = "not one picture could be read in a whole pass over the data"
"""What the training pipeline says instead of trying forever."""
_TRIED = 8
"""Pictures that are opened to see whether they are back."""


class LostPicturesError(DataError):
    """Pictures cannot be read any more; the message names them, or their folder."""


@contextmanager
def naming_lost_pictures(*parts: Pictures) -> Iterator[None]:
    """Turns what TensorFlow says of the pictures of some samples that went into one line.

    Raises:
        LostPicturesError: in a whole pass not one could be read, or one of those in the block cannot.
    """
    try:
        yield
    except tf.errors.OpError as error:
        words = _whole_part(error, parts) or next(filter(None, map(_first_lost, parts)), None)
        if words is None:
            raise
        raise LostPicturesError(words) from error


def _whole_part(error: Exception, parts: Sequence[Pictures]) -> str | None:
    """What is said where all pictures of a part are gone; None where they are not."""
    if FRUITLESS not in str(error):
        return None
    gone = [part for part in parts if not can_be_read(part)]
    return f"{place_of_pictures([*gone, *parts][0])}: {FRUITLESS}; bring the pictures back"


def can_be_read(samples: Pictures) -> bool:
    """Whether any of a few pictures, spread over `samples`, can be."""
    paths = _shards(samples) if samples.records else samples.image_paths
    return _opens(paths[np.unique(np.linspace(0, len(paths) - 1, _TRIED).astype(int))])


def place_of_pictures(samples: Pictures) -> str:
    """The folder that all of them lie in."""
    if samples.records:
        return samples.records
    return os.path.commonpath(
        {os.path.dirname(os.path.abspath(path)) for path in samples.image_paths.tolist()}
    )


def _shards(samples: Pictures) -> np.ndarray:
    try:
        names = [name for name in os.listdir(samples.records) if name.endswith(".tfrecord")]
    except OSError:
        return np.array([samples.records])
    return np.array([os.path.join(samples.records, name) for name in names] or [samples.records])


def _opens(paths: Sequence[str]) -> bool:
    return any(_fault(path) is None for path in paths)


def _first_lost(samples: Pictures) -> str | None:
    """What is said of the first picture that cannot be read; None where all can."""
    place = place_of_pictures(samples)
    if samples.records:
        return None if _opens(_shards(samples)) else f"{place}: the shards cannot be read; bring them back"
    paths = np.unique(samples.image_paths).tolist()
    for path in paths:
        if (fault := _fault(path)) is not None:
            return f"{path}: {fault}; bring it back, and all others of {place}"
    broken = unreadable_images(paths, samples.exif_orientation)  # there, but cut off, say
    return next((f"{path}: {reason}; bring it back" for path, reason in broken.items()), None)


def _fault(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return None if file.read(1) else "empty file"
    except OSError as error:
        return error.strerror or str(error)
