"""Keypoints to heatmaps and back: batched, differentiable where it can be, `keras.ops` alone.

Heatmaps are `[B, h, w, K]` at `1 / stride` of the crop; a heatmap pixel (i, j) has its centre at
(j + 0.5, i + 0.5), so `x_crop = x_heatmap * stride` without any offset (`p2net_tf.keypoints.geometry`).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from keras import ops

STRIDE = 4
"""Crop pixels per heatmap pixel, for every network of the project."""

DECODE_RULES = ("argmax", "quarter_offset", "sign", "sign_inside", "dark")


def encode(keypoints, heatmap_size: tuple[int, int], sigma: float, stride: int = STRIDE):
    """Draws one un-rounded Gaussian of height 1 per keypoint.

    Args:
        keypoints: `[B, K, 3]` (x, y, visibility) in crop pixels.
        heatmap_size: `(h, w)`.
        sigma: standard deviation in heatmap pixels.

    Returns:
        `[B, h, w, K]`; all zero for keypoints with visibility 0.
    """
    keypoints = ops.convert_to_tensor(keypoints)
    height, width = heatmap_size
    labeled = ops.cast(keypoints[..., 2] > 0, keypoints.dtype)
    columns = _gaussian_profile(keypoints[..., 0] / stride, width, sigma)
    rows = _gaussian_profile(keypoints[..., 1] / stride, height, sigma) * labeled[:, None, :]
    return rows[:, :, None, :] * columns[:, None, :, :]


def _gaussian_profile(centers, length: int, sigma: float):
    """`[B, K]` centers -> `[B, length, K]` values of a 1-D Gaussian at the pixel centres."""
    pixels = ops.cast(ops.arange(length), centers.dtype) + 0.5
    distance = (pixels[None, :, None] - centers[:, None, :]) / sigma
    return ops.exp(-0.5 * ops.square(distance))


def gaussian_filter(heatmaps, sigma: float):
    """Blurs `[B, h, w, K]` heatmaps with a Gaussian of `sigma` heatmap pixels; zero beyond the border.

    Two products with banded matrices: one op for all keypoints, the same on every backend.
    """
    if sigma <= 0:
        return heatmaps
    rows = ops.cast(_blur_matrix(heatmaps.shape[1], sigma), heatmaps.dtype)
    columns = ops.cast(_blur_matrix(heatmaps.shape[2], sigma), heatmaps.dtype)
    return ops.einsum("bhwk,ih,jw->bijk", heatmaps, rows, columns)


@functools.lru_cache(maxsize=32)
def _blur_matrix(length: int, sigma: float) -> np.ndarray:
    radius = math.ceil(4 * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    return np.where(np.abs(offset) <= radius, taps[np.clip(offset + radius, 0, 2 * radius)], 0.0)


def flip_heatmaps(heatmaps, permutation):
    """Mirrors `[B, h, w, K]` heatmaps and exchanges left and right: those of the mirrored crop."""
    return ops.take(ops.flip(heatmaps, axis=2), ops.convert_to_tensor(list(permutation), "int32"), axis=-1)


def decode(heatmaps, rule: str = "quarter_offset", filter_sigma: float = 0.0, stride: int = STRIDE):
    """Finds the keypoint of every heatmap.

    The paper's test recipe is `rule="quarter_offset"` after a Gaussian filter (section 4.1): the position
    of the highest response, moved a quarter of a pixel towards the second highest. DARK is exact:

    >>> maps = encode(np.float32([[[13.0, 22.5, 2.0]]]), (16, 12), sigma=2.0)
    >>> keypoints, scores = decode(maps, "dark")
    >>> np.round(np.array(keypoints), 2).tolist()
    [[[13.0, 22.5]]]

    Args:
        heatmaps: `[B, h, w, K]`.
        rule: `argmax`; `quarter_offset` (CPN, the paper); `sign`, a quarter of a pixel towards the larger
            neighbour in x and in y; `sign_inside`, the same to the letter of HRNet's code, which moves no
            peak near a border; `dark`, the maximum of the second-order Taylor expansion of the log heatmap
            (Zhang et al., CVPR 2020), exact for a Gaussian.
        filter_sigma: Gaussian filter beforehand, in heatmap pixels; 0 for none.

    Returns:
        `(keypoints [B, K, 2] in crop pixels, scores [B, K])`; a score is the highest (filtered) response.

    Raises:
        ValueError: unknown rule.
    """
    if rule not in DECODE_RULES:
        raise ValueError(f"unknown decode rule '{rule}'; take one of {', '.join(DECODE_RULES)}")
    heatmaps = gaussian_filter(ops.convert_to_tensor(heatmaps), filter_sigma)
    height, width = heatmaps.shape[1:3]
    flat = ops.reshape(ops.transpose(heatmaps, (0, 3, 1, 2)), (-1, heatmaps.shape[3], height * width))
    # Keras' argmax takes care of the sign of zeros, by bit operations that TFLite does not have.
    highest, peak = (found[..., 0] for found in ops.top_k(flat, 1))
    rows, columns = peak // width, peak % width
    offsets = {
        "argmax": _no_offset,
        "quarter_offset": _quarter_offset,
        "sign": _sign_offset,
        "sign_inside": _sign_inside_offset,
        "dark": _dark_offset,
    }[rule](flat, rows, columns, height, width)
    position = ops.cast(ops.stack([columns, rows], axis=-1), flat.dtype) + 0.5 + offsets
    return position * stride, highest


def _no_offset(flat, rows, columns, height, width):
    return ops.zeros((*ops.shape(rows), 2), flat.dtype)


def _quarter_offset(flat, rows, columns, height, width):
    """A quarter of a pixel in the direction from the highest to the second highest response."""
    second = ops.top_k(flat, 2)[1][..., 1]
    towards = ops.cast(ops.stack([second % width - columns, second // width - rows], axis=-1), flat.dtype)
    return 0.25 * towards / ops.sqrt(ops.sum(ops.square(towards), axis=-1, keepdims=True))


def _sign_offset(flat, rows, columns, height, width):
    """A quarter of a pixel towards the larger neighbour; none along an axis whose border holds the peak."""
    at = functools.partial(_value_at, flat, width)
    right = at(rows, ops.minimum(columns + 1, width - 1)) - at(rows, ops.maximum(columns - 1, 0))
    down = at(ops.minimum(rows + 1, height - 1), columns) - at(ops.maximum(rows - 1, 0), columns)
    inside = ops.stack([(columns > 0) & (columns < width - 1), (rows > 0) & (rows < height - 1)], axis=-1)
    return 0.25 * ops.sign(ops.stack([right, down], axis=-1)) * ops.cast(inside, flat.dtype)


def _sign_inside_offset(flat, rows, columns, height, width):
    """`_sign_offset`, but none at all in the first two rows and columns, and in the last ones."""
    inside = (columns > 1) & (columns < width - 1) & (rows > 1) & (rows < height - 1)
    return _sign_offset(flat, rows, columns, height, width) * ops.cast(inside, flat.dtype)[..., None]


def _dark_offset(flat, rows, columns, height, width):
    """One Newton step on the log heatmap, expanded about the nearest pixel that has all eight neighbours."""
    log = ops.log(ops.maximum(flat, 1e-10))
    row, column = ops.clip(rows, 1, height - 2), ops.clip(columns, 1, width - 2)

    def at(down, right):
        return _value_at(log, width, row + down, column + right)

    center = at(0, 0)
    dx, dy = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    dxx, dyy = at(0, 1) - 2 * center + at(0, -1), at(1, 0) - 2 * center + at(-1, 0)
    dxy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = dxx * dyy - dxy * dxy
    concave = (determinant > 1e-12) & (dxx < 0)
    safe = ops.where(concave, determinant, 1.0)
    step = ops.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1) / safe[..., None]
    from_peak = ops.cast(ops.stack([column - columns, row - rows], axis=-1), flat.dtype)
    offset = ops.where(concave[..., None], from_peak + step, 0.0)
    # A maximum farther than this from the highest pixel is an artefact of the expansion.
    return ops.clip(offset, -1.5, 1.5)


def _value_at(flat, width, rows, columns):
    """`[B, K]` values of `[B, K, h * w]` heatmaps at `[B, K]` rows and columns."""
    return ops.take_along_axis(flat, (rows * width + columns)[..., None], axis=-1)[..., 0]
