"""The one coordinate convention: affine maps against numpy, and the round trip image -> heatmap -> image."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.keypoints import geometry, heatmaps
from p2net_tf.skeletons.skeleton import Skeleton

CROP = (256, 192)


def random_windows(rng, number: int, crop_size=CROP):
    """Boxes of people in an image, turned and mirrored: `(centers, sizes, rotations, flips)`."""
    boxes = np.concatenate([rng.uniform(-50, 900, (number, 2)), rng.uniform(20, 600, (number, 2))], axis=-1)
    aspect = crop_size[1] / crop_size[0]
    centers, sizes = geometry.box_center_and_size(boxes.astype("float32"), aspect)
    scales = rng.uniform(0.65, 1.35, (number, 1)).astype("float32")
    return centers, sizes * scales, rng.uniform(-180, 180, number), rng.integers(0, 2, number)


def independent_crop_matrix(center, size, crop_size, degrees, flip) -> np.ndarray:
    """Shift to the centre, turn, scale, mirror, shift to the centre of the crop: one 3x3 product each."""
    height, width = crop_size
    angle = math.radians(degrees)
    to_origin = np.array([[1, 0, -center[0]], [0, 1, -center[1]], [0, 0, 1.0]])
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1.0]]
    )
    scale = np.diag([width / size[0], height / size[1], 1.0])
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    to_crop = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1.0]])
    return (to_crop @ mirror @ scale @ turn @ to_origin)[:2]


def test_keypoints_survive_image_crop_heatmap_decode_image():
    """A keypoint anywhere in the crop, at its border too, comes back to 1e-3 image pixels."""
    rng = np.random.default_rng(0)
    cases, num_keypoints = 400, 8
    centers, sizes, rotations, flips = random_windows(rng, cases)
    matrices = geometry.crop_matrix(centers, sizes, CROP, rotations, flips)
    inside = rng.uniform(0.01, 0.99, (cases, num_keypoints, 2))
    inside[:, :4] = [[0.001, 0.4], [0.3, 0.9995], [0.999, 0.999], [0.0, 0.0]]
    planned = (inside * [CROP[1], CROP[0]]).astype("float32")
    image_points = keras.ops.convert_to_numpy(
        geometry.transform_points(planned, geometry.invert_affine(matrices))
    )
    keypoints = np.concatenate([image_points, np.full((cases, num_keypoints, 1), 2, "float32")], axis=-1)

    crops = geometry.transform_keypoints(keypoints, matrices)
    maps = heatmaps.encode(crops, (CROP[0] // 4, CROP[1] // 4), sigma=2.0)
    decoded, _ = heatmaps.decode(maps, "dark")
    found = geometry.transform_points(decoded, geometry.invert_affine(matrices))

    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, image_points, rtol=0, atol=1e-3)


def test_crop_matrix_is_the_product_of_its_steps():
    rng = np.random.default_rng(1)
    centers, sizes, rotations, flips = random_windows(rng, 50, (96, 160))
    expected = [
        independent_crop_matrix(*window, (96, 160), degrees, flip)
        for *window, degrees, flip in zip(
            np.asarray(centers, "float64"), np.asarray(sizes, "float64"), rotations, flips, strict=True
        )
    ]
    found = geometry.crop_matrix(
        np.asarray(centers, "float64"), np.asarray(sizes, "float64"), (96, 160), rotations, flips
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_crop_matrix_by_hand():
    """A window of 40 x 20 at (100, 50) fills a crop of 80 x 40; 90 degrees carry right to down."""
    plain = geometry.crop_matrix([100.0, 50.0], [40.0, 20.0], (40, 80))
    np.testing.assert_allclose(plain, [[2, 0, -160], [0, 2, -80]])
    turned = geometry.crop_matrix([100.0, 50.0], [40.0, 20.0], (40, 80), rotation=90.0)
    np.testing.assert_allclose(
        geometry.transform_points(np.float32([[105, 50]]), turned), [[40, 30]], atol=1e-4
    )


def test_a_flip_is_width_minus_x():
    rng = np.random.default_rng(2)
    centers, sizes, rotations, _ = random_windows(rng, 20)
    points = rng.uniform(0, 800, (20, 5, 2)).astype("float32")
    plain = geometry.transform_points(points, geometry.crop_matrix(centers, sizes, CROP, rotations, 0.0))
    flipped = geometry.transform_points(points, geometry.crop_matrix(centers, sizes, CROP, rotations, 1.0))
    np.testing.assert_allclose(flipped[..., 0], CROP[1] - plain[..., 0], rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(flipped[..., 1], plain[..., 1], rtol=1e-5, atol=1e-2)


def test_box_center_and_size_grows_the_short_side_then_both():
    boxes = np.float32([[10, 20, 30, 100], [10, 20, 150, 100]])
    centers, sizes = geometry.box_center_and_size(boxes, aspect_ratio=0.75, padding=1.2)
    np.testing.assert_allclose(centers, [[25, 70], [85, 70]])
    np.testing.assert_allclose(sizes, [[75 * 1.2, 100 * 1.2], [150 * 1.2, 200 * 1.2]], rtol=1e-6)


def test_invert_and_compose_are_those_of_square_matrices():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 4, 3, 2, 3))
    bottom = np.broadcast_to([0.0, 0.0, 1.0], (4, 3, 1, 3))
    square = [np.concatenate([matrix, bottom], axis=-2) for matrix in (first, second)]
    np.testing.assert_allclose(
        geometry.compose_affine(first, second), (square[1] @ square[0])[..., :2, :], atol=1e-9
    )
    np.testing.assert_allclose(
        geometry.invert_affine(first), np.linalg.inv(square[0])[..., :2, :], rtol=1e-7, atol=1e-7
    )


def test_flip_keypoints_mirrors_and_exchanges_pairs():
    keypoints = np.float32([[10, 1, 2], [20, 2, 1], [30, 3, 2], [0, 0, 0]])
    flipped = geometry.flip_keypoints(keypoints, 192.0, (0, 2, 1, 3))
    np.testing.assert_array_equal(flipped, [[182, 1, 2], [162, 3, 2], [172, 2, 1], [0, 0, 0]])


def test_flipping_twice_changes_nothing():
    rng = np.random.default_rng(4)
    skeleton = Skeleton.load("mpii16")
    keypoints = np.concatenate([rng.integers(0, 192, (3, 16, 2)), np.ones((3, 16, 1))], axis=-1)
    once = geometry.flip_keypoints(keypoints, 192.0, skeleton.flip_permutation)
    assert not np.array_equal(once, keypoints)
    np.testing.assert_array_equal(geometry.flip_keypoints(once, 192.0, skeleton.flip_permutation), keypoints)


def test_keypoints_without_a_label_stay_zero():
    keypoints = np.float32([[[5, 6, 2], [0, 0, 0]]])
    moved = geometry.transform_keypoints(keypoints, np.float32([[[2, 0, 7], [0, 3, 8]]]))
    np.testing.assert_array_equal(moved, [[[17, 26, 2], [0, 0, 0]]])


def test_keypoint_box_holds_the_labeled_ones_only():
    keypoints = np.float32([[[4, 9, 2], [10, 3, 1], [-50, 500, 0]], [[1, 2, 0], [3, 4, 0], [5, 6, 0]]])
    np.testing.assert_array_equal(geometry.keypoint_box(keypoints), [[4, 3, 6, 6], [0, 0, 0, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_and_tensors_give_the_same_in_their_own_type(dtype):
    rng = np.random.default_rng(5)
    boxes = rng.uniform(1, 100, (3, 4)).astype(dtype)
    keypoints = rng.uniform(1, 100, (3, 7, 3)).astype(dtype)

    def chain(boxes, keypoints):
        centers, sizes = geometry.box_center_and_size(boxes, 0.75)
        matrices = geometry.crop_matrix(centers, sizes, CROP, 30.0, 1.0)
        moved = geometry.transform_keypoints(keypoints, geometry.invert_affine(matrices))
        return geometry.keypoint_box(geometry.flip_keypoints(moved, 192.0, range(7)))

    from_arrays = chain(boxes, keypoints)
    from_tensors = tf.function(chain)(tf.constant(boxes), tf.constant(keypoints))
    assert keras.backend.standardize_dtype(from_arrays.dtype) == dtype
    assert from_tensors.dtype == dtype
    np.testing.assert_allclose(from_arrays, from_tensors, rtol=1e-5)


def test_boxes_and_keypoints_are_moved_by_one_matrix():
    """A box becomes the one around its four corners, moved as keypoints are."""
    rng = np.random.default_rng(4)
    boxes = np.concatenate([rng.uniform(0, 300, (5, 3, 2)), rng.uniform(5, 80, (5, 3, 2))], axis=-1)
    boxes = boxes.astype("float32")
    centers, sizes, rotations, flips = random_windows(rng, 5)
    matrices = geometry.crop_matrix(centers, sizes, CROP, np.float32(rotations), np.float32(flips))
    moved = np.asarray(geometry.transform_boxes(boxes, matrices))
    for number in range(3):
        x, y, width, height = boxes[:, number].T
        corners = np.stack([x, y, x + width, y, x, y + height, x + width, y + height], axis=-1)
        points = np.asarray(geometry.transform_points(corners.reshape(5, 4, 2), matrices))
        expected = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=-1)
        np.testing.assert_allclose(moved[:, number], expected, rtol=1e-5, atol=1e-3)
