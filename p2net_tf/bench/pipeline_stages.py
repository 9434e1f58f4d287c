"""The stages of the input pipeline, each alone on one thread: where its time goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.bench.timing import timed
from p2net_tf.data.crops import move_keypoints, plain_window
from p2net_tf.data.decode_ratios import decode_ratios
from p2net_tf.data.image_sources import open_images
from p2net_tf.data.image_windows import EVERYTHING, decode_window
from p2net_tf.data.samples import Samples
from p2net_tf.data.warping import pack_images, pixels_read, warp_packed

_COLOR = 0.2
"""Strength of the colours, which cost the same at any; the recipe itself may leave them out."""


def stage_measures(
    samples: Samples, crop_size: tuple[int, int], augment: AugmentConfig
) -> dict[str, Callable[[], float]]:
    """Stage -> a measure of its seconds per image, on what the stages before it give for all the samples."""
    count, images = len(samples), open_images(samples)
    rows = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([rows, rows], axis=1)

    ratios = decode_ratios(samples, crop_size, augment)
    decoding = {"exif_orientation": samples.exif_orientation, "ratios": np.unique(ratios).tolist()}

    @tf.function(autograph=False)
    def decode(contents, window, ratio):
        found = decode_window(contents, window, ratio, **decoding)
        return tf.reshape(found.image, [-1]), found.corner, tf.shape(found.image)[1], found.size

    def decode_all(windows, ratios):
        return [decode(*given) for given in zip(contents, windows, ratios, strict=True)]

    @tf.function(autograph=False)
    def aim(boxes, keypoints):
        plain = plain_window(boxes, crop_size)
        windows = sample_window(plain, keypoints, crop_size, augment, samples.skeleton, seeds)
        return move_keypoints(keypoints, windows, crop_size, samples.skeleton)

    @tf.function(autograph=False)
    def pack(levels, corners, widths, sizes):
        return pack_images(levels, corners, widths, sizes)

    @tf.function(autograph=False)
    def warp(packed, matrices):
        return warp_packed(packed, matrices, crop_size)

    @tf.function(autograph=False)
    def color(crops):
        return jitter_color(crops, _COLOR, seeds)

    people = tf.constant(samples.boxes), tf.constant(samples.keypoints)
    contents = [images.contents(row) for row in rows]
    matrices = aim(*people)[1]
    windows = tf.unstack(pixels_read(matrices, crop_size))
    everything, whole = [tf.constant(EVERYTHING)] * count, [tf.constant(1)] * count
    levels, *columns = zip(*decode_all(windows, whole), strict=True)
    windowed = tf.ragged.stack(levels), *map(tf.stack, columns)
    packed = pack(*windowed)
    crops = warp(packed, matrices)
    stages = {
        "read": lambda: [images.contents(row) for row in rows],
        "decode, whole": lambda: decode_all(everything, whole),
        "decode, windows": lambda: decode_all(windows, whole),
        "decode, windows reduced": lambda: decode_all(windows, map(tf.constant, ratios)),
        "windows and keypoints": lambda: aim(*people),
        "pack": lambda: pack(*windowed),
        "warp, grey levels to 0..1": lambda: warp(packed, matrices),
        "colour, where it is on": lambda: color(crops),
    }
    return {name: _per_image(timed(stage), count) for name, stage in stages.items()}


def _per_image(measure: Callable[[], float], count: int) -> Callable[[], float]:
    return lambda: measure() / count
