"""At which fraction of their size JPEGs may be decoded, for crops that show them smaller."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.augment.baseline import smallest_windows
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.crops import plain_window
from p2net_tf.data.image_windows import RATIOS
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints import geometry


def decode_ratios(
    samples: Samples,
    crop_size: tuple[int, int],
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
) -> np.ndarray:
    """`[N]` int32, of `RATIOS`: the largest that leaves each crop a decoded pixel or more for its own ones.

    It belongs to the picture: what is decoded for one person, or stays decoded, serves everybody in it,
    whatever is drawn for them.

    Args:
        augment: what is drawn for the crops; None for plain ones.
    """
    window = plain_window(tf.constant(samples.boxes), crop_size, box_padding)
    sizes = window.size
    if augment is not None:
        keypoints = tf.constant(samples.keypoints)
        sizes = smallest_windows(window, keypoints, crop_size, augment, samples.skeleton)
    reductions = sizes.numpy()[:, 0] / crop_size[1]
    _, place = np.unique(samples.image_paths, return_inverse=True)
    place = place.reshape(-1)
    of_picture = np.full(place.max(initial=-1) + 1, np.inf)
    np.minimum.at(of_picture, place, reductions)
    fitting = np.searchsorted(RATIOS, of_picture[place], side="right") - 1
    return np.array(RATIOS, np.int32)[np.maximum(fitting, 0)]
