"""Windows to crops: one affine resampling of an image, and the keypoints moved with it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.augment.baseline import CropWindow
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import CONTINUOUS, Alignment


def take_crop(image, keypoints, window: CropWindow, crop_size: tuple[int, int], skeleton):
    """Cuts `window` out of an image.

    Args:
        image: `[h, w, 3]` uint8.
        keypoints: `[K, 3]` in image pixels.

    Returns:
        `(crop [H, W, 3] float32 in 0..1, keypoints [K, 3] in crop pixels, matrix [2, 3] image -> crop)`. Left
        and right are exchanged where the window flips; keypoints outside the crop get visibility 0.
    """
    moved, matrix = move_keypoints(keypoints, window, crop_size, skeleton)
    return warp(image, matrix, crop_size), moved, matrix


def move_keypoints(keypoints, window: CropWindow, crop_size: tuple[int, int], skeleton):
    """What `take_crop` does but for the pixels, for windows `[...]` and keypoints `[..., K, 3]`.

    Returns:
        `(keypoints [..., K, 3] in crop pixels, matrices [..., 2, 3] image -> crop)`.
    """
    plain = geometry.crop_matrix(window.center, window.size, crop_size, window.rotation)
    moved = geometry.transform_keypoints(keypoints, plain)
    flipped = geometry.flip_keypoints(moved, crop_size[1], skeleton.flip_permutation)
    moved = tf.where(window.flip[..., None, None] > 0, flipped, moved)
    matrices = geometry.crop_matrix(window.center, window.size, crop_size, window.rotation, window.flip)
    return geometry.hide_outside(moved, crop_size), matrices


def plain_window(
    boxes,
    crop_size: tuple[int, int],
    box_padding: float = geometry.BOX_PADDING,
    alignment: Alignment = CONTINUOUS,
) -> CropWindow:
    """The windows of `[..., 4]` boxes as evaluation sees them, for a network of that alignment."""
    height, width = crop_size
    center, size = geometry.box_center_and_size(boxes, width / height, box_padding)
    center = alignment.window_center(center, size, crop_size)
    still = tf.zeros_like(center[..., 0])
    return CropWindow(center, size, rotation=still, flip=still)


def plain_crop(
    image,
    box,
    crop_size: tuple[int, int],
    box_padding: float = geometry.BOX_PADDING,
    alignment: Alignment = CONTINUOUS,
):
    """`take_crop` of a box as evaluation sees it, where there are no keypoints.

    Args:
        image: `[h, w, 3]` uint8, or float32 of the same values.
        box: `[4]` xywh in image pixels.
        alignment: of the network that will see the crop.

    Returns:
        `(crop [H, W, 3] float32 in 0..1, matrix [2, 3] image -> crop)`.
    """
    window = plain_window(box, crop_size, box_padding, alignment)
    matrix = geometry.crop_matrix(window.center, window.size, crop_size)
    return warp(image, matrix, crop_size), matrix


def crop_people(
    image,
    boxes,
    crop_size: tuple[int, int],
    box_padding: float = geometry.BOX_PADDING,
    alignment: Alignment = CONTINUOUS,
):
    """`plain_crop` of every box `[n, 4]` of one image: `(crops [n, H, W, 3], matrices [n, 2, 3])`."""
    specs = tf.TensorSpec((*crop_size, 3), tf.float32), tf.TensorSpec((2, 3), tf.float32)
    # Once, not once for every person: of a photo of 40 megapixels that is half a gigabyte each.
    image = tf.cast(image, tf.float32)
    return tf.map_fn(
        lambda box: plain_crop(image, box, crop_size, box_padding, alignment),
        boxes,
        fn_output_signature=specs,
    )


def picture(image, box, crop_size: tuple[int, int], box_padding: float = geometry.BOX_PADDING):
    """`plain_crop` to draw on: the crop as uint8 numpy."""
    crop, matrix = plain_crop(image, box, crop_size, box_padding)
    return np.uint8(np.rint(crop.numpy() * 255)), matrix


def warp(image, matrix, crop_size: tuple[int, int]):
    """Bilinear crop `[H, W, 3]` float32 in 0..1 of a uint8 image, black outside it.

    Args:
        matrix: `[2, 3]`, image -> crop.
    """
    inverse = geometry.invert_affine(matrix)
    # The op counts pixels by index, our coordinates by corner: p = index + 0.5 on both sides.
    offset = inverse[:, 2] + tf.reduce_sum(inverse[:, :2], axis=1) * 0.5 - 0.5
    rows = tf.concat([inverse[:, :2], offset[:, None]], axis=1)
    transform = tf.concat([tf.reshape(rows, [6]), [0.0, 0.0]], axis=0)
    crop = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=transform[None],
        output_shape=crop_size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return from_levels(tf.ensure_shape(crop[0], (*crop_size, 3)))


def from_levels(crops):
    """Grey levels 0..255 of any type as float32 in 0..1."""
    # A product, because graph optimizers turn a division by a constant into one, which rounds differently: a
    # served crop shall be the evaluated one to the last bit.
    return tf.cast(crops, tf.float32) * (1 / 255)
