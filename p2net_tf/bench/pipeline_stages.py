"""The stages of the input pipeline, each alone on one thread: where its time goes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.bench.timing import timed
from p2net_tf.config import AugmentConfig
from p2net_tf.data.crops import CachingCutter, from_levels, move_keypoints, plain_window
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import open_images
from p2net_tf.data.samples import Samples

PEOPLE = 64
_COLOR = 0.2
"""Strength of the colours, which cost the same at any; the recipe itself may leave them out."""


def stage_measures(
    samples: Samples, crop_size: tuple[int, int], augment: AugmentConfig
) -> dict[str, Callable[[], float]]:
    """Stage -> a measure of its seconds per image, on what the stages before it give."""
    samples = samples.take(slice(PEOPLE))
    count, images, cache = len(samples), open_images(samples), ImageCache()
    cutter = CachingCutter(samples, images, crop_size, cache)
    rows = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([rows, rows], axis=1)
    contents = tf.stack([images.contents(path) for path in samples.image_paths])

    def aim(boxes, keypoints, seeds):
        plain = plain_window(boxes, crop_size)
        windows = sample_window(plain, keypoints, crop_size, augment, samples.skeleton, seeds)
        return move_keypoints(keypoints, windows, crop_size, samples.skeleton)

    people = samples.boxes, samples.keypoints, seeds
    _, matrices = aim(*people)

    def cut(key, known, path, matrix):
        return cutter.cut((key, known), path, matrix)

    def color(crops, seeds):
        return jitter_color(crops, _COLOR, seeds)

    keys, _ = cutter.look_up(rows)
    # Decodes them all, so that they are there.
    _each((keys, tf.zeros([count], tf.bool), samples.image_paths, matrices), cut)()
    found = (keys, tf.ones([count], tf.bool), samples.image_paths, matrices)
    levels = tf.zeros([count, *crop_size, 3], tf.uint8)
    crops = from_levels(levels)
    runs = {
        "read": _each((samples.image_paths,), images.contents),
        "decode": _each((contents,), lambda image: decode_image(image, samples.exif_orientation)),
        "windows and keypoints": _together(people, aim),
        "warp": _each(found, cut),
        "batch": _each((levels,), lambda crop: crop, copies=True),
        "grey levels to 0..1": _together((levels,), from_levels),
        "colour, where it is on": _together((crops, seeds), color),
    }
    return {name: _per_image(timed(run), count) for name, run in runs.items()}


def _per_image(measure: Callable[[], float], count: int) -> Callable[[], float]:
    return lambda: measure() / count


def _together(columns: tuple, stage: Callable) -> Callable[[], object]:
    """Runs `stage` on a whole batch."""
    return _endless(tf.data.Dataset.from_tensors(columns).repeat().map(stage), 1)


def _each(columns: tuple, stage: Callable, copies: bool = False) -> Callable[[], object]:
    """Runs `stage` person by person; what it gives is dropped, or copied into a batch."""
    dataset = tf.data.Dataset.from_tensor_slices(columns).repeat().map(stage)
    if not copies:
        dataset = dataset.map(lambda *results: 0)
    return _endless(dataset, len(columns[0]))


def _endless(dataset: tf.data.Dataset, count: int) -> Callable[[], object]:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    # Nothing runs ahead, and nothing is left out because its result is dropped.
    options.experimental_optimization.apply_default_optimizations = False
    batches = iter((dataset.batch(count) if count > 1 else dataset).with_options(options))
    return lambda: next(batches)
