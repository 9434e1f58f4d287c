"""The stages of the input pipeline, each alone on one thread: where its time goes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.bench.timing import timed
from p2net_tf.config import AugmentConfig
from p2net_tf.data.crops import move_keypoints, plain_window
from p2net_tf.data.cutters import HostCutter
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.image_files import decode_pixels
from p2net_tf.data.image_sources import open_images
from p2net_tf.data.samples import Samples

_COLOR = 0.2
"""Strength of the colours, which cost the same at any; the recipe itself may leave them out."""


def stage_measures(
    samples: Samples, crop_size: tuple[int, int], augment: AugmentConfig
) -> dict[str, Callable[[], float]]:
    """Stage -> a measure of its seconds per image, on what the stages before it give for all the samples."""
    count, images = len(samples), open_images(samples)
    cutter = HostCutter(samples, images, crop_size, ImageCache())
    rows = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([rows, rows], axis=1)
    contents = [images.read(row) for row in range(count)]

    @tf.function(autograph=False)
    def aim(boxes, keypoints):
        plain = plain_window(boxes, crop_size)
        windows = sample_window(plain, keypoints, crop_size, augment, samples.skeleton, seeds)
        return move_keypoints(keypoints, windows, crop_size, samples.skeleton)

    @tf.function(autograph=False)
    def color(crops):
        return jitter_color(crops, _COLOR, seeds)

    people = tf.constant(samples.boxes), tf.constant(samples.keypoints)
    matrices = aim(*people)[1].numpy()
    numbers = rows.numpy()
    crops = tf.constant(cutter.cut(numbers, numbers, matrices)[0])
    stages = {
        "read": lambda: [images.read(row) for row in range(count)],
        "decode": lambda: [decode_pixels(image, samples.exif_orientation) for image in contents],
        "windows and keypoints": lambda: aim(*people),
        "warp, grey levels to 0..1": lambda: cutter.cut(numbers, numbers, matrices),
        "colour, where it is on": lambda: color(crops),
    }
    return {name: _per_image(timed(stage), count) for name, stage in stages.items()}


def _per_image(measure: Callable[[], float], count: int) -> Callable[[], float]:
    return lambda: measure() / count
