"""A data set at a glance: crops with their skeletons, each beside the heatmaps it trains on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment.baseline import CropWindow, jitter_color, sample_window
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.crops import take_crop
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import image_readers
from p2net_tf.data.samples import Samples
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.keypoints import geometry, heatmaps
from p2net_tf.keypoints.visibility import VISIBLE
from p2net_tf.skeletons import drawing

_TILE_HEIGHT = 256
"""Smaller crops are enlarged to about this many pixels, so that one sees something."""


def browse(
    samples: Samples,
    path: str | Path,
    count: int = 24,
    crop_size: tuple[int, int] = (256, 192),
    sigma: float = 2.0,
    seed: int = 0,
    rows: Sequence[int] | None = None,
    columns: int = 4,
    box_padding: float = geometry.BOX_PADDING,
    augment: AugmentConfig | None = None,
) -> list[int]:
    """Writes a contact sheet (`.png` or `.jpg`): each cell is a crop with its skeleton and heatmaps.

    The crops are training elements: they come from the same code that training reads. An image that cannot be
    read gets a grey tile with the reason.

    Args:
        count: how many samples to draw at random (without repetition), by `seed`, where `rows` is None.
        crop_size: `(height, width)`.
        sigma: standard deviation of the heatmaps in heatmap pixels.
        columns: cells per line.
        augment: shows augmented crops, drawn by `seed`; None for plain ones.

    Returns:
        The rows of `samples` that are shown, in order.

    Raises:
        ValueError: no samples.
        IndexError: a row beyond the samples.
    """
    rows = random_rows(len(samples), count, seed) if rows is None else [int(row) for row in rows]
    if not rows:
        raise ValueError(f"{samples.source or 'the data set'} has no samples to show")
    images = image_readers(samples, rows)
    cells = [_cell(samples, row, images[row], crop_size, sigma, box_padding, augment, seed) for row in rows]
    captions = [_caption(samples, row) for row in rows]
    drawing.write_image(path, drawing.contact_sheet(cells, columns, captions))
    return rows


def random_rows(total: int, count: int, seed: int) -> list[int]:
    """At most `count` of `total` rows, without repetition, in their order."""
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False) if total else []
    return sorted(int(row) for row in chosen)


def _cell(samples, row, read_image, crop_size, sigma, box_padding, augment, seed) -> np.ndarray:
    """Crop and heatmaps side by side, `[H * f, 2 * W * f, 3]` uint8 with a whole factor f."""
    factor = max(1, round(_TILE_HEIGHT / crop_size[0]))
    size = crop_size[0] * factor, crop_size[1] * factor
    try:
        image = decode_image(read_image(), samples.exif_orientation)
    except tf.errors.OpError as error:
        image_path = str(samples.image_paths[row])
        reasons = {} if samples.records else unreadable_images([image_path], samples.exif_orientation)
        return drawing.text_tile((size[0], 2 * size[1]), reasons.get(image_path, error.message))
    crop, keypoints = _element(samples, row, image, crop_size, box_padding, augment, seed)
    heatmap_size = tuple(side // heatmaps.STRIDE for side in crop_size)
    targets = keras.ops.convert_to_numpy(heatmaps.encode(keypoints[None], heatmap_size, sigma))[0]
    crop = cv2.resize(crop, size[::-1], interpolation=cv2.INTER_CUBIC)
    overlay = drawing.draw_skeleton(crop, keypoints * (factor, factor, 1), samples.skeleton)
    return np.concatenate([overlay, drawing.draw_heatmaps(crop, targets)], axis=1)


def _element(samples, row, image, crop_size, box_padding, augment, seed) -> tuple[np.ndarray, np.ndarray]:
    """`(crop [H, W, 3] uint8, keypoints [K, 3] in crop pixels)` as training takes them."""
    keypoints = tf.constant(samples.keypoints[row])
    height, width = crop_size
    center, size = geometry.box_center_and_size(tf.constant(samples.boxes[row]), width / height, box_padding)
    window = CropWindow(center, size, tf.constant(0.0), tf.constant(0.0))
    draw_seed = tf.constant([seed, row], tf.int64)
    if augment is not None:
        window = sample_window(window, keypoints, crop_size, augment, samples.skeleton, draw_seed)
    crop, keypoints, _ = take_crop(image, keypoints, window, crop_size, samples.skeleton)
    if augment is not None:
        crop = jitter_color(crop, augment.color, draw_seed)
    return np.uint8(np.rint(np.clip(crop, 0, 1) * 255)), keypoints.numpy()


def _caption(samples: Samples, row: int) -> str:
    visibility = samples.keypoints[row, :, 2]
    labeled, occluded = int(np.sum(visibility > 0)), int(np.sum((visibility > 0) & (visibility < VISIBLE)))
    size = math.hypot(*samples.boxes[row, 2:])
    counts = f"{labeled}/{len(visibility)} labeled, {occluded} occluded, box diagonal {size:.0f} px"
    return f"row {row}, id {samples.ids[row]}: {Path(samples.image_paths[row]).name}\n{counts}"
