"""Aimed persons to batches of crops, here or anywhere.

There are two kernels for one function (`crops.warp`). Evaluation and export take TensorFlow's, which needs
1.7 ms of a core for 256 x 192, because it works out the place of every pixel once per channel. OpenCV needs
0.2 to 0.3 ms. So training cuts by OpenCV; its crops are in whole grey levels, the nearest ones with OpenCV 5,
up to 1.2 away with OpenCV 4.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from p2net_tf.console import messages
from p2net_tf.data.crops import from_levels, warp
from p2net_tf.data.host_calls import host_call
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.image_files import decode_image, decode_pixels
from p2net_tf.data.image_sources import ImageFiles, ImageRecords
from p2net_tf.data.samples import Samples
from p2net_tf.data.service import distribute

_ALIGNMENT = 64
"""Bytes. TensorFlow takes over an array that begins at a multiple of this, and copies any other."""


class Aimed(NamedTuple):
    """Persons of whom is known where their crops are taken."""

    rows: tf.Tensor
    """`[B]` int64, of the samples."""
    draws: tf.Tensor
    """`[B]` int64, their numbers in the endless sequence of persons."""
    handles: tf.Tensor
    """`[B]`, of their images, from the source of these."""
    matrices: tf.Tensor
    """`[B, 2, 3]`, image -> crop."""
    keypoints: tf.Tensor
    """`[B, K, 3]` in crop pixels."""


class TrainingBatch(NamedTuple):
    """What a training step gets, and where it comes from."""

    crops: tf.Tensor
    """`[B, H, W, 3]` float32 in 0..1."""
    keypoints: tf.Tensor
    """`[B, K, 3]` in crop pixels."""
    rows: tf.Tensor
    """`[B]` int64: which of the samples these are."""
    draws: tf.Tensor
    """`[B]` int64: their numbers in the endless sequence of persons; a run goes on at the next one."""


class HostCutter:
    """Cuts by OpenCV in this process, out of images that stay in memory once they are decoded.

    Args:
        cache: where they stay; None decodes every time.
    """

    def __init__(
        self,
        samples: Samples,
        images: ImageFiles | ImageRecords,
        crop_size: tuple[int, int],
        cache: ImageCache | None = None,
    ):
        self._samples, self._images, self._crop_size = samples, images, crop_size
        self._cache = ImageCache(0) if cache is None else cache
        self._complained: set[str] = set()

    def batches(self, aimed: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """`TrainingBatch`es of whole `Aimed` batches of any size; who has a broken image is left out."""

        def cut(people: Aimed):
            arguments = [people.rows, people.handles, people.matrices]
            crops, whole = tf.numpy_function(host_call(self.cut), arguments, (tf.float32, tf.bool))
            crops.set_shape([None, *self._crop_size, 3])
            whole.set_shape([None])
            batch = TrainingBatch(crops, people.keypoints, people.rows, people.draws)

            def without_broken():
                return TrainingBatch(*(tf.boolean_mask(column, whole) for column in batch))

            return tf.cond(tf.reduce_all(whole), lambda: batch, without_broken)

        return in_parallel(aimed, cut).rebatch(batch_size, drop_remainder=True)

    def cut(
        self, rows: np.ndarray, handles: np.ndarray, matrices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`(crops [B, H, W, 3] float32 in 0..1, whether they are there [B] bool)`."""
        crops = _aligned((len(rows), *self._crop_size, 3))
        whole = np.ones(len(rows), bool)
        # The indices of pixels, not their corners, on both sides.
        matrices = matrices.astype(np.float64)
        matrices[:, :, 2] += matrices[:, :, :2].sum(axis=2) * 0.5 - 0.5
        for place, (row, handle, matrix) in enumerate(zip(rows, handles, matrices, strict=True)):
            try:
                pixels = self._pixels(row, handle)
            except (OSError, tf.errors.OpError) as error:
                self._complain(self._samples.image_paths[row], error)
                whole[place] = False
                continue
            crop = cv2.warpAffine(pixels, matrix, self._crop_size[::-1], flags=cv2.INTER_LINEAR)
            np.copyto(crops[place], cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB))
            crops[place] *= np.float32(1 / 255)
        return crops, whole

    def _pixels(self, row: int, handle) -> np.ndarray:
        """`[h, w, 4]` uint8: OpenCV warps four channels in two thirds of the time that it needs for three."""
        key = self._samples.records, self._samples.image_paths[row]
        found = self._cache.get(key)
        if found is not None:
            return found
        decoded = decode_pixels(self._images.read(handle), self._samples.exif_orientation)
        pixels = cv2.cvtColor(decoded, cv2.COLOR_RGB2RGBA)
        self._cache.put(key, pixels)
        return pixels

    def _complain(self, path: str, error: OSError | tf.errors.OpError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            reason = getattr(error, "message", None) or error.strerror
            messages.print(f"[yellow]left out[/yellow] {path}: {reason}", soft_wrap=True)


class GraphCutter:
    """Cuts by TensorFlow alone, decoding every time, so that the workers of a tf.data service can do it.

    Args:
        service: address of the dispatcher.
    """

    def __init__(
        self,
        samples: Samples,
        images: ImageFiles | ImageRecords,
        crop_size: tuple[int, int],
        service: str,
    ):
        self._images, self._exif, self._crop_size = images, samples.exif_orientation, crop_size
        self._service = service

    def batches(self, aimed: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """As those of `HostCutter`, but in any order."""

        def cut(person: Aimed):
            image = decode_image(self._images.contents(person.handles), self._exif)
            levels = tf.cast(tf.round(warp(image, person.matrices, self._crop_size) * 255), tf.uint8)
            return TrainingBatch(levels, person.keypoints, person.rows, person.draws)

        def received(batch: TrainingBatch):
            return batch._replace(crops=from_levels(batch.crops))

        crops = in_parallel(aimed.unbatch(), cut).ignore_errors(log_warning=True)
        # Grey levels travel in a quarter of the bytes.
        batches = distribute(crops.batch(batch_size, drop_remainder=True), self._service)
        return in_parallel(batches, received)


def in_parallel(dataset: tf.data.Dataset, load) -> tf.data.Dataset:
    """`load` of every element, side by side but in the same order, whatever the global options are."""
    return dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An empty float32 array that TensorFlow need not copy."""
    size = 4 * int(np.prod(shape))
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)
