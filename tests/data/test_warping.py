"""Crops of a whole batch: those of one image at a time, wherever they lie."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.data.crops import warp
from p2net_tf.data.warping import PackedImages, pack_images, pack_pixels, pixels_read, warp_packed

CROP = (40, 24)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in [(50, 31), (1, 1), (20, 90), (64, 48)]]


@pytest.fixture(scope="module")
def packed(images) -> PackedImages:
    return packed_windows(images, [(0, 0, *image.shape[:2]) for image in images])


def packed_windows(images, windows) -> PackedImages:
    """What of each image lies in its window, (top, left, bottom, right)."""
    parts = [
        image[top:bottom, left:right]
        for image, (top, left, bottom, right) in zip(images, windows, strict=True)
    ]
    levels = tf.ragged.constant([part.reshape(-1).tolist() for part in parts], tf.uint8)
    corners = np.array([window[:2] for window in windows], np.int32)
    widths = np.array([part.shape[1] for part in parts], np.int32)
    return pack_images(levels, corners, widths, np.array([image.shape[:2] for image in images], np.int32))


def matrix(scale=1.0, degrees=0.0, shift=(0.0, 0.0), flip=False):
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    side = -1 if flip else 1
    return np.array([[side * cosine, -sine, shift[0]], [side * sine, cosine, shift[1]]], np.float32)


class TestPacking:
    IMAGE = np.array([[[1, 2, 3], [255, 0, 128]]], np.uint8)
    NUMBERS = (1 + 2 * 256 + 3 * 65536, 255 + 128 * 65536)

    def test_red_is_the_lowest_byte(self):
        np.testing.assert_array_equal(pack_pixels(self.IMAGE), self.NUMBERS)

    def test_a_black_pixel_then_the_images(self):
        packed = packed_windows([self.IMAGE] * 2, [(0, 0, 1, 2)] * 2)
        np.testing.assert_array_equal(packed.pixels[:5], [0, *self.NUMBERS, *self.NUMBERS])
        np.testing.assert_array_equal(packed.starts, [1, 3])
        np.testing.assert_array_equal(packed.strides, [2, 2])

    @pytest.mark.parametrize(("pixels", "length"), [(1, 2), (4, 8), (7, 8), (8, 16), (1000, 1024)])
    def test_few_lengths(self, pixels, length):
        packed = packed_windows([np.ones((1, pixels, 3), np.uint8)], [(0, 0, 1, pixels)])
        assert len(packed.pixels) == length and np.count_nonzero(packed.pixels) == pixels


class TestWindows:
    @pytest.mark.parametrize("degrees", [0, 33, -120])
    @pytest.mark.parametrize("shift", [(0, 0), (-20.5, 11.2), (500, 0), (-400, -300)])
    def test_a_crop_reads_nothing_else(self, images, packed, degrees, shift):
        """Bit for bit what is cut out of the whole image, though all around the window is white."""
        moved = tf.stack([matrix(1.7, degrees, shift)] * len(images))
        windows = []
        for (height, width), read in zip(
            packed.sizes.tolist(), pixels_read(moved, CROP).numpy(), strict=True
        ):
            top, left = np.clip(read[:2], 0, (height - 1, width - 1))
            bottom, right = np.clip(read[2:], (top + 1, left + 1), (height, width))
            windows.append((top, left, bottom, right))
        found = warp_packed(packed_windows(images, windows), moved, CROP)
        np.testing.assert_array_equal(found, warp_packed(packed, moved, CROP))

    def test_of_the_identity_it_is_the_crop_and_a_pixel_around_it(self):
        """Half a pixel before the first centre and behind the last one, and one for rounding."""
        read = pixels_read(tf.constant(matrix())[None], CROP)
        np.testing.assert_array_equal(read, [[-1, -1, CROP[0] + 2, CROP[1] + 2]])


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
        found = warp_packed(packed, tf.stack([moved] * len(images)), CROP)
        assert found.dtype == tf.float32
        for crop, image in zip(found, images, strict=True):
            # Grey levels: the coordinates, float32 in both, are rounded in another order.
            np.testing.assert_allclose(crop * 255, warp(image, moved, CROP) * 255, atol=0.05)

    def test_the_identity_is_exact(self, images, packed):
        """A crop of the image as it is, and black around it."""
        found = warp_packed(packed, tf.stack([matrix()] * len(images)), CROP).numpy() * 255
        for crop, image in zip(found, images, strict=True):
            expected = np.zeros((*CROP, 3))
            inside = image[: CROP[0], : CROP[1]]
            expected[: inside.shape[0], : inside.shape[1]] = inside
            np.testing.assert_allclose(crop, expected, atol=1e-4)

    def test_each_crop_has_its_own_matrix_and_image(self, images, packed):
        order, moved = [3, 0, 3], [matrix(0.7), matrix(1.2, 10), matrix(0.5, 0, (3, 4))]
        some = PackedImages(packed.pixels, *(tf.gather(column, order) for column in packed[1:]))
        found = warp_packed(some, tf.stack(moved), CROP)
        for crop, row, one in zip(found, order, moved, strict=True):
            np.testing.assert_allclose(crop * 255, warp(images[row], one, CROP) * 255, atol=0.05)
