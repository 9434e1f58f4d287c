"""Crops of a whole batch: those of one image at a time, wherever they lie."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.data.crops import warp
from p2net_tf.data.warping import pack_pixels, pad_to_power_of_two, warp_packed

CROP = (40, 24)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in [(50, 31), (1, 1), (20, 90), (64, 48)]]


@pytest.fixture(scope="module")
def packed(images):
    """`(pixels, starts, sizes)`."""
    rows = [pack_pixels(image).numpy() for image in images]
    starts = np.cumsum([0, *(len(row) for row in rows[:-1])]).astype(np.int32)
    return np.concatenate(rows), starts, np.array([image.shape[:2] for image in images], np.int32)


def matrix(scale=1.0, degrees=0.0, shift=(0.0, 0.0), flip=False):
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    side = -1 if flip else 1
    return np.array([[side * cosine, -sine, shift[0]], [side * sine, cosine, shift[1]]], np.float32)


class TestPacking:
    def test_layout(self):
        """Red is the lowest byte; the border is black."""
        pixels = pack_pixels(np.array([[[1, 2, 3], [255, 0, 128]]], np.uint8)).numpy().reshape(3, 4)
        expected = np.zeros((3, 4), np.int32)
        expected[1, 1:3] = [1 + 2 * 256 + 3 * 65536, 255 + 128 * 65536]
        np.testing.assert_array_equal(pixels, expected)

    @pytest.mark.parametrize(("length", "expected"), [(1, 1), (5, 8), (8, 8), (1000, 1024), (2**20, 2**20)])
    def test_few_lengths(self, length, expected):
        padded = pad_to_power_of_two(tf.ones([length], tf.int32)).numpy()
        assert len(padded) == expected and padded.sum() == length


class TestWarp:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"scale": 0.4},
            {"scale": 3.7, "degrees": 33, "shift": (-20.5, 11.2)},
            {"degrees": -120, "shift": (15, 30)},
            {"scale": 0.8, "flip": True, "shift": (24, 0)},
            {"shift": (500, 0)},
            {"scale": 0.01, "shift": (12, 20)},
        ],
    )
    def test_equals_one_image_at_a_time(self, images, packed, options):
        moved = matrix(**options)
        found = warp_packed(*packed, tf.stack([moved] * len(images)), CROP)
        assert found.dtype == tf.float32
        for crop, image in zip(found, images, strict=True):
            # Grey levels: the coordinates, float32 in both, are rounded in another order.
            np.testing.assert_allclose(crop * 255, warp(image, moved, CROP) * 255, atol=0.05)

    def test_the_identity_is_exact(self, images, packed):
        """A crop of the image as it is, and black around it."""
        found = warp_packed(*packed, tf.stack([matrix()] * len(images)), CROP).numpy() * 255
        for crop, image in zip(found, images, strict=True):
            expected = np.zeros((*CROP, 3))
            inside = image[: CROP[0], : CROP[1]]
            expected[: inside.shape[0], : inside.shape[1]] = inside
            np.testing.assert_allclose(crop, expected, atol=1e-4)

    def test_each_crop_has_its_own_matrix_and_image(self, images, packed):
        pixels, starts, sizes = packed
        order, moved = [3, 0, 3], [matrix(0.7), matrix(1.2, 10), matrix(0.5, 0, (3, 4))]
        found = warp_packed(pixels, starts[order], sizes[order], tf.stack(moved), CROP)
        for crop, row, one in zip(found, order, moved, strict=True):
            np.testing.assert_allclose(crop * 255, warp(images[row], one, CROP) * 255, atol=0.05)
