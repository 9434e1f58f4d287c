"""The hand-crafted augmentation of SimpleBaseline and HRNet: half body, scale, rotation and flip of a crop.

Geometry is sampled *before* the crop is taken, so the image is resampled only once. Everything is
drawn from a stateless seed, in the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf import geometry
from p2net_tf.config import AugmentConfig
from p2net_tf.skeletons import Skeleton

_HALF_BODY_PADDING = 1.5
"""Room around a half body, as in HRNet."""


class CropWindow(NamedTuple):
    """Where a crop is taken: centre `[2]` and size `[2]` in image pixels, rotation in degrees, flip 0/1."""

    center: tf.Tensor
    size: tf.Tensor
    rotation: tf.Tensor
    flip: tf.Tensor


def sample_window(
    window: CropWindow, keypoints, crop_size: tuple[int, int], config: AugmentConfig, skeleton: Skeleton, seed
) -> CropWindow:
    """Draws one augmented window.

    Args:
        window: the plain window of the person's box.
        keypoints: `[K, 3]` in image pixels.
        crop_size: (height, width) of the crop.
        seed: `[2]` int64, stateless.
    """
    uniform = tf.unstack(tf.random.stateless_uniform([6], seed))
    normal = tf.unstack(tf.random.stateless_normal([2], seed + tf.constant([0, 1 << 40], tf.int64)))
    center, size = _half_body(window, keypoints, crop_size, config, skeleton, uniform[0], uniform[1])
    factor = tf.clip_by_value(1.0 + config.scale * normal[0], 1.0 - config.scale, 1.0 + config.scale)
    rotation = tf.clip_by_value(config.rotation * normal[1], -2 * config.rotation, 2 * config.rotation)
    turned = tf.cast(uniform[2] < config.rotation_probability, tf.float32)
    size = size * factor
    shift = (tf.stack(uniform[3:5]) * 2.0 - 1.0) * config.translation
    return CropWindow(
        center=center + shift * size,
        size=size,
        rotation=window.rotation + rotation * turned,
        flip=tf.cast(uniform[5] < config.flip_probability, tf.float32),
    )


def _half_body(window, keypoints, crop_size, config, skeleton, chance, side):
    """The window of the upper or lower half, for some of the people with enough labeled keypoints."""
    labeled = keypoints[:, 2] > 0
    upper_row = tf.constant([k in skeleton.upper_body for k in range(skeleton.num_keypoints)])
    upper, lower = labeled & upper_row, labeled & ~upper_row
    # HRNet draws the side from a normal distribution by mistake; a fair coin is meant. A half with fewer
    # than three keypoints is not shown.
    enough_upper, enough_lower = _count(upper) > 2, _count(lower) > 2
    take_upper = enough_upper & ((side < 0.5) | ~enough_lower)
    half = tf.where(take_upper, upper, lower)
    applies = (
        (chance < config.half_body_probability)
        & (_count(labeled) > config.half_body_min_keypoints)
        & (enough_upper | enough_lower)
    )
    box = geometry.keypoint_box(tf.where(half[:, None], keypoints, 0.0))
    height, width = crop_size
    _, half_size = geometry.box_center_and_size(box, width / height, _HALF_BODY_PADDING)
    weights = tf.cast(half, tf.float32)[:, None]
    half_center = tf.reduce_sum(keypoints[:, :2] * weights, 0) / tf.maximum(tf.reduce_sum(weights), 1.0)
    applies &= half_size[0] > 1.0
    return tf.where(applies, half_center, window.center), tf.where(applies, half_size, window.size)


def _count(mask):
    return tf.reduce_sum(tf.cast(mask, tf.int32))


def jitter_color(crop, strength: float, seed):
    """Changes brightness, contrast and saturation of a `[H, W, 3]` crop by up to `strength`, within 0..1."""
    if not strength:
        return crop
    factors = tf.random.stateless_uniform([3], seed, 1.0 - strength, 1.0 + strength)
    brightness, contrast, saturation = tf.unstack(factors)
    grey = tf.reduce_mean(crop, axis=-1, keepdims=True)
    crop = grey + saturation * (crop - grey)
    mean = tf.reduce_mean(grey)
    return tf.clip_by_value((mean + contrast * (crop - mean)) * brightness, 0.0, 1.0)
