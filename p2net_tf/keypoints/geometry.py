"""Boxes, crops and affine matrices in the one coordinate convention of the project.

Continuous coordinates: the origin is the top-left corner of the top-left pixel, and pixel
(row i, column j) has its centre at (j + 0.5, i + 0.5). Then an image, its crop, the crop's heatmap
and the flipped image differ by pure scaling: `x_heatmap = x_crop / stride`, `x_flipped = width - x`.

Points are `[..., 2]` (x, y), boxes `[..., 4]` (x, y, width, height), sizes `(height, width)`, and
affine matrices `[..., 2, 3]` act on columns (x, y, 1). All functions take numpy arrays or tensors,
broadcast over leading axes, run in `tf.data` and in a graph, and return float32 tensors unless the
input has another float type.
"""

from __future__ import annotations

import math

from keras import ops

BOX_PADDING = 1.25
"""Room left around a person box in its crop (the SimpleBaseline / HRNet recipe)."""


def box_center_and_size(boxes, aspect_ratio: float, padding: float = BOX_PADDING):
    """The crop window of a box: same centre, grown to `aspect_ratio` (width / height), then by `padding`.

    >>> import numpy as np
    >>> centers, sizes = box_center_and_size(np.float32([[10, 20, 30, 80]]), aspect_ratio=0.75)
    >>> np.array(centers).tolist(), np.array(sizes).tolist()
    ([[25.0, 60.0]], [[75.0, 100.0]])

    Args:
        boxes: `[..., 4]` xywh.
        aspect_ratio: width / height of the crop.
        padding: factor on both sides of the window.

    Returns:
        `(centers [..., 2], sizes [..., 2])`, sizes as (width, height) in image pixels.
    """
    x, y, width, height = (boxes[..., i] for i in range(4))
    centers = ops.stack([x + width * 0.5, y + height * 0.5], axis=-1)
    grown_width = ops.maximum(width, height * aspect_ratio)
    # As a product for the reason given in `data.crops.from_levels`.
    sizes = ops.stack([grown_width, grown_width * (1 / aspect_ratio)], axis=-1) * padding
    return centers, sizes


def crop_matrix(centers, sizes, crop_size: tuple[int, int], rotation=0.0, flip=0.0):
    """The affine map from image to crop coordinates.

    The window (`centers`, `sizes`) fills the crop. `rotation` turns the content about its centre, `flip`
    then mirrors the crop, so a flipped point lies at `crop_width - x`.

    Args:
        centers: `[..., 2]` (x, y) in image pixels.
        sizes: `[..., 2]` (width, height) in image pixels.
        crop_size: `(height, width)` of the crop.
        rotation: `[...]` degrees, positive turns the content clockwise on the screen.
        flip: `[...]` 1.0 (or True) mirrors left and right, 0.0 does not.

    Returns:
        `[..., 2, 3]` matrices.
    """
    centers, sizes = ops.convert_to_tensor(centers), ops.convert_to_tensor(sizes)
    height, width = crop_size
    radians = ops.cast(rotation, centers.dtype) * (math.pi / 180.0)
    mirror = 1.0 - 2.0 * ops.cast(flip, centers.dtype)
    scale_x, scale_y = width / sizes[..., 0], height / sizes[..., 1]
    cos, sin = ops.cos(radians), ops.sin(radians)
    a, b = mirror * scale_x * cos, -mirror * scale_x * sin
    c, d = scale_y * sin, scale_y * cos
    x, y = centers[..., 0], centers[..., 1]
    rows = [a, b, width / 2 - (a * x + b * y), c, d, height / 2 - (c * x + d * y)]
    flat = ops.stack([ops.broadcast_to(row, ops.shape(a)) for row in rows], axis=-1)
    return ops.reshape(flat, (*ops.shape(a), 2, 3))


def invert_affine(matrices):
    """Inverse of `[..., 2, 3]` affine matrices, in closed form."""
    a, b, tx = (matrices[..., 0, i] for i in range(3))
    c, d, ty = (matrices[..., 1, i] for i in range(3))
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    flat = ops.stack([a, b, -(a * tx + b * ty), c, d, -(c * tx + d * ty)], axis=-1)
    return ops.reshape(flat, (*ops.shape(flat)[:-1], 2, 3))


def compose_affine(first, second):
    """The matrix that applies `first`, then `second`; both `[..., 2, 3]`."""
    linear = ops.matmul(second[..., :2], first[..., :2])
    offset = ops.matmul(second[..., :2], first[..., 2:]) + second[..., 2:]
    return ops.concatenate([linear, offset], axis=-1)


def transform_points(points, matrices):
    """Moves `[..., P, 2]` points by `[..., 2, 3]` matrices."""
    moved = ops.matmul(points, ops.swapaxes(matrices[..., :2], -1, -2))
    return moved + ops.expand_dims(matrices[..., 2], -2)


def transform_keypoints(keypoints, matrices):
    """Moves `[..., K, 3]` (x, y, visibility) keypoints; visibility stays, those without a label become 0."""
    moved = transform_points(keypoints[..., :2], matrices)
    labeled = ops.cast(keypoints[..., 2:] > 0, moved.dtype)
    return ops.concatenate([moved * labeled, keypoints[..., 2:]], axis=-1)


def transform_boxes(boxes, matrices):
    """Moves xywh boxes `[..., M, 4]` by `[..., 2, 3]` matrices; gives left, top, right, bottom `[..., M, 4]`.

    A box that is turned becomes the one around its moved corners.
    """
    x, y, width, height = (boxes[..., i] for i in range(4))
    right, bottom = x + width, y + height
    corners = ops.stack([x, y, right, y, x, bottom, right, bottom], axis=-1)
    shape = ops.shape(corners)
    points = ops.reshape(corners, (*shape[:-2], shape[-2] * 4, 2))
    moved = ops.reshape(transform_points(points, matrices), (*shape[:-1], 4, 2))
    return ops.concatenate([ops.min(moved, axis=-2), ops.max(moved, axis=-2)], axis=-1)


def flip_keypoints(keypoints, width: float, permutation):
    """Mirrors `[..., K, 3]` keypoints at a crop of `width` and exchanges left and right."""
    labeled = ops.cast(keypoints[..., 2:] > 0, keypoints.dtype)
    x = (width - keypoints[..., :1]) * labeled
    mirrored = ops.concatenate([x, keypoints[..., 1:]], axis=-1)
    return ops.take(mirrored, ops.convert_to_tensor(list(permutation), "int32"), axis=-2)


def hide_outside(keypoints, crop_size: tuple[int, int]):
    """`[..., K, 3]` keypoints, zeros for those outside a crop of (height, width): there is no label there."""
    height, width = crop_size
    x, y, visibility = keypoints[..., 0], keypoints[..., 1], keypoints[..., 2]
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height) & (visibility > 0)
    return ops.where(inside[..., None], keypoints, ops.zeros_like(keypoints))


def keypoint_box(keypoints):
    """Tight xywh box `[..., 4]` of the labeled of `[..., K, 3]` keypoints; zeros where none is labeled."""
    labeled = keypoints[..., 2:] > 0
    xy = keypoints[..., :2]
    low = ops.min(ops.where(labeled, xy, float("inf")), axis=-2)
    high = ops.max(ops.where(labeled, xy, float("-inf")), axis=-2)
    box = ops.concatenate([low, high - low], axis=-1)
    return ops.where(ops.any(labeled, axis=-2), box, ops.zeros_like(box))
