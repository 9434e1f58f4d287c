"""The stages of the input pipeline, each alone on one thread: where its time goes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.bench.timing import timed
from p2net_tf.data.crops import move_keypoints, plain_window
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import open_images
from p2net_tf.data.samples import Samples
from p2net_tf.data.warping import pack_pixels, warp_packed

_COLOR = 0.2
"""Strength of the colours, which cost the same at any; the recipe itself may leave them out."""


def stage_measures(
    samples: Samples, crop_size: tuple[int, int], augment: AugmentConfig
) -> dict[str, Callable[[], float]]:
    """Stage -> a measure of its seconds per image, on what the stages before it give for all the samples."""
    count, images = len(samples), open_images(samples)
    rows = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([rows, rows], axis=1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    def decode(contents):
        image = decode_image(contents, samples.exif_orientation)
        return pack_pixels(image), tf.shape(image)[:2]

    @tf.function(autograph=False)
    def aim(boxes, keypoints):
        plain = plain_window(boxes, crop_size)
        windows = sample_window(plain, keypoints, crop_size, augment, samples.skeleton, seeds)
        return move_keypoints(keypoints, windows, crop_size, samples.skeleton)

    @tf.function(autograph=False)
    def warp(pixels, starts, sizes, matrices):
        return warp_packed(pixels, starts, sizes, matrices, crop_size)

    @tf.function(autograph=False)
    def color(crops):
        return jitter_color(crops, _COLOR, seeds)

    people = tf.constant(samples.boxes), tf.constant(samples.keypoints)
    contents = [images.contents(row) for row in rows]
    decoded, sizes = zip(*map(decode, contents), strict=True)
    starts = tf.cumsum([tf.size(pixels) for pixels in decoded], exclusive=True)
    packed = tf.concat(decoded, axis=0), starts, tf.stack(sizes), aim(*people)[1]
    crops = warp(*packed)
    stages = {
        "read": lambda: [images.contents(row) for row in rows],
        "decode": lambda: [decode(image) for image in contents],
        "windows and keypoints": lambda: aim(*people),
        "warp, grey levels to 0..1": lambda: warp(*packed),
        "colour, where it is on": lambda: color(crops),
    }
    return {name: _per_image(timed(stage), count) for name, stage in stages.items()}


def _per_image(measure: Callable[[], float], count: int) -> Callable[[], float]:
    return lambda: measure() / count
