"""The hand-crafted augmentation of SimpleBaseline and HRNet: half body, scale, rotation and flip of a crop.

Geometry is sampled *before* the crop is taken, so the image is resampled only once. Everything is
drawn in the graph from one seed per person, for as many persons at once as there are.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons.skeleton import Skeleton

_HALF_BODY_PADDING = 1.5
"""Room around a half body, as in HRNet."""
_WINDOW_DRAWS, _NORMAL_DRAWS, _COLOR_DRAWS = range(1 << 21, (1 << 21) + 3)
"""Streams of random numbers apart from each other and from those of a policy, which takes the same seeds."""


class CropWindow(NamedTuple):
    """Where a crop is taken, or many of them: the leading axes of all columns are the same."""

    center: tf.Tensor
    """`[..., 2]` in image pixels."""
    size: tf.Tensor
    """`[..., 2]`, width and height in image pixels."""
    rotation: tf.Tensor
    """`[...]` degrees."""
    flip: tf.Tensor
    """`[...]` 1 where the crop is mirrored, else 0."""


def sample_window(
    window: CropWindow, keypoints, crop_size: tuple[int, int], config: AugmentConfig, skeleton: Skeleton, seed
) -> CropWindow:
    """Draws augmented windows, all at once; that of a person depends on its own seed alone.

    Args:
        window: the plain windows of the persons' boxes.
        keypoints: `[..., K, 3]` in image pixels.
        crop_size: (height, width) of the crops.
        seed: `[..., 2]` int64.
    """
    uniform = tf.unstack(_numbers(stateless_random.uniform, seed, _WINDOW_DRAWS, 6), axis=-1)
    normal = tf.unstack(_numbers(stateless_random.normal, seed, _NORMAL_DRAWS, 2), axis=-1)
    center, size = _half_body(window, keypoints, crop_size, config, skeleton, uniform[0], uniform[1])
    factor = tf.clip_by_value(1.0 + config.scale * normal[0], 1.0 - config.scale, 1.0 + config.scale)
    rotation = tf.clip_by_value(config.rotation * normal[1], -2 * config.rotation, 2 * config.rotation)
    turned = tf.cast(uniform[2] < config.rotation_probability, tf.float32)
    size = size * factor[..., None]
    shift = (tf.stack(uniform[3:5], axis=-1) * 2.0 - 1.0) * config.translation
    return CropWindow(
        center=center + shift * size,
        size=size,
        rotation=window.rotation + rotation * turned,
        flip=tf.cast(uniform[5] < config.flip_probability, tf.float32),
    )


def smallest_windows(
    window: CropWindow, keypoints, crop_size: tuple[int, int], config: AugmentConfig, skeleton: Skeleton
):
    """`[..., 2]` sizes below which `sample_window` draws no window of these persons.

    Args:
        as of `sample_window`.
    """
    sizes = [
        _half_body(window, keypoints, crop_size, config, skeleton, chance=0.0, side=side)[1]
        for side in (0.0, 1.0)
    ]
    return tf.minimum(window.size, tf.minimum(*sizes)) * (1.0 - config.scale)


def jitter_color(crops, strength: float, seed):
    """Changes brightness, contrast and saturation of `[..., H, W, 3]` crops by up to `strength`, within 0..1.

    Args:
        seed: `[..., 2]` int64, one per crop.
    """
    if not strength:
        return crops
    factors = 1.0 + strength * (2.0 * _numbers(stateless_random.uniform, seed, _COLOR_DRAWS, 3) - 1.0)
    brightness, contrast, saturation = tf.unstack(factors[..., None, None, None, :], axis=-1)
    grey = tf.reduce_mean(crops, axis=-1, keepdims=True)
    crops = grey + saturation * (crops - grey)
    mean = tf.reduce_mean(grey, axis=(-3, -2), keepdims=True)
    return tf.clip_by_value((mean + contrast * (crops - mean)) * brightness, 0.0, 1.0)


def _half_body(window, keypoints, crop_size, config, skeleton, chance, side):
    """The windows of the upper or lower half, for some of the people with enough labeled keypoints."""
    labeled = keypoints[..., 2] > 0
    upper_row = tf.constant([k in skeleton.upper_body for k in range(skeleton.num_keypoints)])
    upper, lower = labeled & upper_row, labeled & ~upper_row
    # HRNet draws the side from a normal distribution by mistake; a fair coin is meant. A half with fewer
    # than three keypoints is not shown.
    enough_upper, enough_lower = _count(upper) > 2, _count(lower) > 2
    take_upper = enough_upper & ((side < 0.5) | ~enough_lower)
    half = tf.where(take_upper[..., None], upper, lower)
    applies = (
        (chance < config.half_body_probability)
        & (_count(labeled) > config.half_body_min_keypoints)
        & (enough_upper | enough_lower)
    )
    box = geometry.keypoint_box(tf.where(half[..., None], keypoints, 0.0))
    height, width = crop_size
    _, half_size = geometry.box_center_and_size(box, width / height, _HALF_BODY_PADDING)
    weights = tf.cast(half, tf.float32)[..., None]
    count = tf.maximum(tf.reduce_sum(weights, axis=-2), 1.0)
    half_center = tf.reduce_sum(keypoints[..., :2] * weights, axis=-2) / count
    applies = (applies & (half_size[..., 0] > 1.0))[..., None]
    return tf.where(applies, half_center, window.center), tf.where(applies, half_size, window.size)


def _count(mask):
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=-1)


def _numbers(draw, seed, stream: int, count: int):
    """`[..., count]` random numbers of a stream of their own, from seeds `[..., 2]`."""
    numbers = draw(stateless_random.fold_in(tf.reshape(seed, [-1, 2]), stream), count)
    return tf.reshape(numbers, tf.concat([tf.shape(seed)[:-1], [count]], axis=0))
