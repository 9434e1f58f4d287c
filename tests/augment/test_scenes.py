"""Where a picture lies on its canvas, against the same arithmetic in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.scenes import _LAYOUT_DRAWS, plain_layout, sample_layout
from p2net_tf.augment.settings import SceneAugmentConfig
from p2net_tf.keypoints import geometry

CANVAS = (96, 128)
SIZES = np.int32([[60, 80], [200, 50], [33, 47], [500, 400], [96, 128]])


def seeds(count: int = len(SIZES), seed: int = 3):
    return tf.stack([tf.fill([count], tf.constant(seed, tf.int64)), tf.range(count, dtype=tf.int64)], axis=1)


def corners_on_canvas(layout, sizes=SIZES) -> np.ndarray:
    """`[B, 2, 2]` (x, y) of the top-left and the bottom-right corner of each picture."""
    window = layout.window
    matrices = geometry.crop_matrix(window.center, window.size, CANVAS, window.rotation, window.flip)
    points = np.stack([np.zeros_like(sizes), sizes[:, ::-1]], axis=1).astype(np.float32)
    return geometry.transform_points(points, matrices).numpy()


def test_a_plain_picture_begins_at_the_corner_and_keeps_whole_pixels():
    factors = np.float32([1.5, 0.4, 2.0, 0.19, 1.0])
    layout = plain_layout(SIZES, factors, CANVAS)
    expected = np.floor(SIZES * factors[:, None] + 1e-3)
    np.testing.assert_array_equal(layout.sizes, expected)
    corners = corners_on_canvas(layout)
    np.testing.assert_allclose(corners[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(corners[:, 1], expected[:, ::-1], rtol=1e-5)


def test_augmented_pictures_against_numpy():
    config = SceneAugmentConfig(flip_probability=0.5, scale=(0.5, 2.0), stretch=0.2)
    factors = np.float32([1.2, 0.5, 2.0, 0.25, 1.0])
    layout = sample_layout(SIZES, factors, CANVAS, config, seeds())
    numbers = stateless_random.uniform(stateless_random.fold_in(seeds(), _LAYOUT_DRAWS), 5).numpy()
    corners = corners_on_canvas(layout)
    flipped = 0
    for row, (height, width) in enumerate(SIZES):
        scale, stretch, flip, *shift = numbers[row].astype(np.float64)
        factor = factors[row] * 0.5 * 4.0**scale
        stretch = 1 + 0.2 * (2 * stretch - 1)
        sides = np.maximum(np.floor([width * factor * stretch, height * factor / stretch]), 1)
        hidden = np.maximum(sides - CANVAS[::-1], 0)
        offset = np.minimum(np.floor(np.array(shift[::-1]) * (hidden + 1)), hidden)
        low, high = -offset, sides - offset
        if flip < 0.5:  # its left end lies at the right
            low[0], high[0] = high[0], low[0]
            flipped += 1
        np.testing.assert_allclose(corners[row], [low, high], atol=2e-3)
        np.testing.assert_array_equal(layout.sizes[row], np.minimum(sides, CANVAS[::-1])[::-1])
    assert 0 < flipped < len(SIZES)


def test_a_picture_depends_on_its_own_seed_alone():
    config = SceneAugmentConfig(scale=(0.5, 2.0), stretch=0.2)
    factors = np.ones(len(SIZES), np.float32)
    together = sample_layout(SIZES, factors, CANVAS, config, seeds())
    alone = sample_layout(SIZES[2:3], factors[:1], CANVAS, config, seeds()[2:3])
    for one, other in zip(tf.nest.flatten(together), tf.nest.flatten(alone), strict=True):
        np.testing.assert_array_equal(one[2:3], other)


def test_a_large_picture_is_shown_everywhere():
    """Over many seeds the part that is shown reaches both ends, and never beyond."""
    count = 400
    sizes = np.tile(np.int32([[300, 300]]), (count, 1))
    config = SceneAugmentConfig(flip_probability=0.5, scale=(1, 1))
    corners = corners_on_canvas(
        sample_layout(sizes, np.ones(count, np.float32), CANVAS, config, seeds(count)), sizes
    )
    left = corners[..., 0].min(axis=1)
    top = corners[..., 1].min(axis=1)
    assert left.min() == pytest.approx(128 - 300, abs=2)
    assert left.max() == pytest.approx(0, abs=2)
    assert top.min() == pytest.approx(96 - 300, abs=2)
    assert top.max() == pytest.approx(0, abs=2)
    assert abs(np.mean(left) - (128 - 300) / 2) < 10
