"""Where the pipeline's images come from: files of their own, or the TFRecord shards of `data.records`.

Both give rows of `Samples` in an order, each with a handle, and turn a handle into the bytes of its image.
Orders are functions of (seed, epoch) through stateless draws: `Dataset.shuffle` also follows the global seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import numpy as np
import tensorflow as tf

from p2net_tf.data.image_files import FileReader
from p2net_tf.data.records import read_records, shard_paths, stream_shards
from p2net_tf.data.samples import DataError, Samples

SHUFFLE_BUFFER = 1024
"""Persons of records that are shuffled together; their images are held in memory, about 150 MB of COCO."""
_PARALLEL_SHARDS = 16
MARK = -1
"""The row of an element that is no sample, but has its place among them."""


class Pictures(Protocol):
    """Rows with an image each: `Samples`, or `Scenes`."""

    image_paths: np.ndarray
    exif_orientation: bool
    source: str

    @property
    def records(self) -> str: ...

    def __len__(self) -> int: ...


class ImageFiles:
    """Images in files: any order costs the same. The handle is the row, whose file is read when needed."""

    def __init__(self, samples: Pictures):
        self._count, self._source = len(samples), samples.source
        self._files = FileReader(samples.image_paths, samples.exif_orientation)

    @property
    def only_jpegs(self) -> bool:
        """Whether the pipeline need not tell kinds of images apart."""
        return self._files.only_jpegs

    def refuse_python(self) -> None:
        """For pipelines that run in other processes.

        Raises:
            DataError: some files are read by Pillow, in this process.
        """
        if count := int(self._files.by_pillow.sum()):
            raise DataError(
                f"{self._source}: {count} pictures are TIFF, AVIF or others that a data service cannot "
                "decode; make PNGs of them with `p2net data convert-images`"
            )

    def in_order(self) -> tf.data.Dataset:
        """`(row, handle)` of every sample."""
        return self._twice(tf.range(self._count, dtype=tf.int64))

    def shuffled(self, seed: int, epoch, start=0) -> tf.data.Dataset:
        """`in_order` in the order of an epoch, from a place in it on (int64 scalars, also in a graph)."""
        order = tf.range(self._count, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(order, seed=_seed(seed, epoch))
        return self._twice(order[start:])

    def mark(self) -> tuple:
        """`(row, handle)` of no sample; the handle leads to nothing."""
        return tf.constant(MARK, tf.int64), tf.constant(MARK, tf.int64)

    def contents(self, handle):
        """The bytes of the image."""
        return self._files.contents(handle)

    def _twice(self, rows) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((rows, rows))


class ImageRecords:
    """Images in shards, which are read from front to back. The handle is the bytes themselves.

    An epoch reads the shards side by side, in an order of its own, and shuffles `buffer` persons at a time.
    """

    only_jpegs = False
    """Nobody knows what is in them."""

    def __init__(self, samples: Samples, buffer: int = SHUFFLE_BUFFER):
        if np.any(np.diff(samples.record_rows) <= 0):
            raise ValueError(f"{samples.source}: people of records can only be taken once and in their order")
        self._folder, self._buffer = samples.records, buffer
        self._num_keypoints = samples.skeleton.num_keypoints
        places = np.full(samples.record_rows.max(initial=-1) + 1, -1, np.int64)
        places[samples.record_rows] = np.arange(len(samples))
        # Where a person of the records stands in `samples`; -1 for those that are not used.
        self._places = tf.constant(places)

    def in_order(self) -> tf.data.Dataset:
        people, _ = read_records(self._folder)
        return self._chosen(people)

    def shuffled(self, seed: int, epoch, start=0) -> tf.data.Dataset:
        paths = tf.random.experimental.stateless_shuffle(shard_paths(self._folder), seed=_seed(seed, epoch))
        # TensorFlow's reader fails at a missing file again and again, and never comes to the next one.
        shards = (
            tf.data.Dataset.from_tensor_slices(paths)
            .filter(_exists)
            .interleave(
                lambda path: self._chosen(stream_shards(path, self._num_keypoints)),
                cycle_length=_PARALLEL_SHARDS,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        )
        chunks = shards.batch(self._buffer).prefetch(1).enumerate()

        def mixed(number, chunk):
            rows, images = chunk
            # Epochs and chunks draw from streams of their own, apart from that of the shards.
            chunk_seed = _seed(seed, epoch + (number + 1) * 2**32)
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(rows)), seed=chunk_seed)
            return tf.data.Dataset.from_tensor_slices((tf.gather(rows, order), tf.gather(images, order)))

        return chunks.flat_map(mixed).skip(start)

    def mark(self) -> tuple:
        return tf.constant(MARK, tf.int64), tf.constant(b"")

    def contents(self, handle):
        return handle

    def refuse_python(self) -> None:
        """Records hold nothing that needs it."""

    def _chosen(self, people: tf.data.Dataset) -> tf.data.Dataset:
        """`(row of samples, image bytes)` of the persons that the samples hold."""

        def place(person):
            row = person["record_rows"]
            known = row < len(self._places)
            return tf.where(known, self._places[tf.where(known, row, 0)], -1), person["image"]

        return people.map(place).filter(lambda row, image: row >= 0)


def _exists(path):
    """Whether there is a file, in a graph."""
    pattern = tf.strings.regex_replace(path, r"([*?\[\]\\])", r"\\\1")
    return tf.size(tf.io.matching_files(pattern)) > 0


def open_images(samples: Pictures) -> ImageFiles | ImageRecords:
    """The source of the images of `samples`.

    Raises:
        DataError: the records are not there any more.
    """
    return ImageRecords(samples) if samples.records else ImageFiles(samples)


def _seed(seed: int, number):
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])


def image_readers(samples: Samples, rows: Iterable[int]) -> dict[int, Callable]:
    """A function per row that gives the bytes of its image; records are read once, in their order."""
    distinct = sorted({int(row) for row in rows})
    source = open_images(samples.take(distinct))
    return {distinct[place]: partial(source.contents, handle) for place, handle in source.in_order()}
