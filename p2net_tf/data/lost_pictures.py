"""Pictures that were there when the work began, and are not any more: a disk or a network share that went."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from p2net_tf.data.image_files import unreadable_images
from p2net_tf.data.samples import DataError, Samples

FRUITLESS = "not one picture could be read in a whole pass over the data"
"""What the training pipeline says instead of trying forever."""
_TRIED = 8
"""Pictures that are opened to see whether they are back."""


class LostPicturesError(DataError):
    """Pictures cannot be read any more; the message names them, or their folder."""


@contextmanager
def naming_lost_pictures(samples: Samples) -> Iterator[None]:
    """Turns what TensorFlow says of the pictures of `samples` that went into one line.

    Raises:
        LostPicturesError: in a whole pass not one could be read, or one of those in the block cannot.
    """
    try:
        yield
    except tf.errors.OpError as error:
        place = place_of_pictures(samples)
        if FRUITLESS in str(error):
            raise LostPicturesError(f"{place}: {FRUITLESS}; bring the pictures back") from error
        if samples.records and not _opens(_shards(samples)):
            raise LostPicturesError(f"{place}: the shards cannot be read; bring them back") from error
        lost = None if samples.records else _first_lost(samples)
        if lost is None:
            raise
        raise LostPicturesError(f"{lost}; bring it back, and all others of {place}") from error


def can_be_read(samples: Samples) -> bool:
    """Whether any of a few pictures, spread over `samples`, can be."""
    paths = _shards(samples) if samples.records else samples.image_paths
    return _opens(paths[np.unique(np.linspace(0, len(paths) - 1, _TRIED).astype(int))])


def place_of_pictures(samples: Samples) -> str:
    """The folder that all of them lie in."""
    if samples.records:
        return samples.records
    return os.path.commonpath(
        {os.path.dirname(os.path.abspath(path)) for path in samples.image_paths.tolist()}
    )


def _shards(samples: Samples) -> np.ndarray:
    try:
        names = [name for name in os.listdir(samples.records) if name.endswith(".tfrecord")]
    except OSError:
        return np.array([samples.records])
    return np.array([os.path.join(samples.records, name) for name in names] or [samples.records])


def _opens(paths: Sequence[str]) -> bool:
    return any(_fault(path) is None for path in paths)


def _first_lost(samples: Samples) -> str | None:
    """`path: why` of the first picture that cannot be read; None where all can."""
    paths = np.unique(samples.image_paths).tolist()
    for path in paths:
        if (fault := _fault(path)) is not None:
            return f"{path}: {fault}"
    broken = unreadable_images(paths, samples.exif_orientation)  # there, but cut off, say
    return next((f"{path}: {reason}" for path, reason in broken.items()), None)


def _fault(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return None if file.read(1) else "empty file"
    except OSError as error:
        return error.strerror or str(error)
