"""Person boxes as the published networks' own evaluation reads them from COCO and MPII.

For networks of the alignment `pixel_index`, which takes the numbers of a box for pixel indices
(`p2net_tf.keypoints.alignment`): the published figures were measured on just these boxes
(`lib/dataset/coco.py` and `lib/dataset/mpii.py` of deep-high-resolution-net.pytorch).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import Samples
from p2net_tf.data.settings import DatasetConfig

_INDEX = 0.5
"""Continuous coordinates less indices."""


def as_published(samples: Samples, source: DatasetConfig) -> Samples:
    """The people of `source` with their boxes as the published code takes them; others as they are.

    COCO's annotated boxes lose a pixel of their width and height and end inside of the image. Detected boxes
    stay. MPII's centres are true indices there, so they move by half a pixel from the continuous ones.
    """
    if source.format == "coco" and source.detections is None:
        return replace(samples, boxes=_inside_images(samples))
    if source.format == "mpii":
        return replace(samples, boxes=samples.boxes - np.float32([_INDEX, _INDEX, 0, 0]))
    return samples


def _inside_images(samples: Samples) -> np.ndarray:
    """`[N, 4]`: first and last pixel of every box, cut off at the image. What keeps no area stays whole."""
    sizes, _ = image_headers(samples.image_paths, samples.exif_orientation)
    first = np.maximum(samples.boxes[:, :2], 0)
    last = np.minimum(sizes - 1, first + np.maximum(samples.boxes[:, 2:] - 1, 0))
    inside = np.all(last > first, axis=1, keepdims=True)
    return np.where(inside, np.concatenate([first, last - first], axis=1), samples.boxes)
