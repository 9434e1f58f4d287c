"""The people of a search, in memory: plain crops, decoded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import OPERATIONS
from p2net_tf.autopose.settings import PlantConfig
from p2net_tf.data.lost_pictures import naming_lost_pictures
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import track

_READ_BATCH = 64


@dataclass(frozen=True)
class InMemoryCrops:
    """P people.

    Attributes:
        crops: `[P, H, W, 3]` uint8.
        keypoints: `[P, K, 3]` float32, in crop pixels.
        skeleton: the card of the K keypoints.
    """

    crops: np.ndarray
    keypoints: np.ndarray
    skeleton: Skeleton

    @classmethod
    def read(
        cls, samples: Samples, crop_size: tuple[int, int], box_padding: float = geometry.BOX_PADDING
    ) -> InMemoryCrops:
        """Decodes and crops all of `samples`, without augmentation."""
        crops = np.empty((len(samples), *crop_size, 3), np.uint8)
        keypoints = np.empty((len(samples), samples.skeleton.num_keypoints, 3), np.float32)
        batches = evaluation_dataset(samples, crop_size, _READ_BATCH, box_padding)
        with naming_lost_pictures(samples):
            for batch in track(batches, f"reading {samples.source}", -(-len(samples) // _READ_BATCH)):
                rows = batch["rows"].numpy()
                crops[rows] = np.rint(batch["crops"].numpy() * 255)
                keypoints[rows] = batch["keypoints"].numpy()
        return cls(crops, keypoints, samples.skeleton)

    def __len__(self) -> int:
        return len(self.crops)

    def planted(self, plant: PlantConfig, seed: int) -> InMemoryCrops:
        """A copy with one operation applied to every person."""
        operation = OPERATIONS[plant.operation]
        low, high = plant.magnitude
        crops, keypoints = self.crops.copy(), self.keypoints.copy()
        for start in range(0, len(self), _READ_BATCH):
            rows = slice(start, min(start + _READ_BATCH, len(self)))
            seeds = stateless_random.sample_seeds(tf.constant([seed, start], tf.int64), rows.stop - start)
            level = low + (high - low) * stateless_random.uniform(stateless_random.fold_in(seeds, 0), 1)[:, 0]
            images = tf.cast(self.crops[rows], tf.float32) / 255.0
            images, moved = operation(images, self.keypoints[rows], level, seeds)
            crops[rows], keypoints[rows] = np.rint(images.numpy() * 255), moved.numpy()
        return InMemoryCrops(crops, keypoints, self.skeleton)

    def batches(self, batch_size: int, seed: int, flip_probability: float = 0.0, start: int = 0):
        """Endless `tf.data` batches `(crops [B, H, W, 3] float32 in 0..1, keypoints [B, K, 3])`.

        Batch t is a function of (seed, t) alone: rows of a permutation per epoch, and a flip per person.

        Args:
            flip_probability: of mirroring a person, left and right keypoints exchanged.
            start: number of the first batch, for resuming.
        """
        size = min(batch_size, len(self))
        per_epoch = len(self) // size
        crops, keypoints = tf.constant(self.crops), tf.constant(self.keypoints)
        permutation, width = self.skeleton.flip_permutation, self.crops.shape[2]

        def load(number):
            epoch, place = number // per_epoch, number % per_epoch
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            order = tf.random.experimental.stateless_shuffle(tf.range(len(self)), key)
            rows = tf.slice(order, [tf.cast(place, tf.int32) * size], [size])
            images = tf.cast(tf.gather(crops, rows), tf.float32) / 255.0
            points = tf.gather(keypoints, rows)
            seeds = stateless_random.sample_seeds(tf.stack([tf.constant(seed + 1, tf.int64), number]), size)
            flips = stateless_random.uniform(seeds, 1) < flip_probability
            images = tf.where(flips[:, :, None, None], images[:, :, ::-1], images)
            mirrored = geometry.flip_keypoints(points, width, permutation)
            return images, tf.where(flips[:, :, None], mirrored, points)

        numbers = tf.data.Dataset.range(start, tf.int64.max)
        return numbers.map(load, num_parallel_calls=2, deterministic=True).prefetch(2)

    def in_order(self, batch_size: int):
        """One pass of `(crops, keypoints)` batches; the last may be smaller."""
        rows = tf.data.Dataset.from_tensor_slices((self.crops, self.keypoints)).batch(batch_size)
        return rows.map(lambda crops, keypoints: (tf.cast(crops, tf.float32) / 255.0, keypoints))
