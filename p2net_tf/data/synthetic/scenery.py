"""Everything around the people of the synthetic set: pixels, cluttered backgrounds, light, occluders.

OpenCV puts pixel centres at integers, the project at 0.5 (`p2net_tf.keypoints.geometry`); `fill` is the only
place that converts.
"""

from __future__ import annotations

import cv2
import numpy as np

from p2net_tf.data.synthetic.figures import Shape, capsule, ellipse, shade

_SUBPIXEL_BITS = 4


def fill(canvas: np.ndarray, points: np.ndarray, value, smooth: bool = True) -> None:
    """Fills a convex polygon `points [n, 2]` (continuous coordinates) of an uint8 canvas in place."""
    fixed = np.rint((points - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(canvas, fixed, value, cv2.LINE_AA if smooth else cv2.LINE_8, _SUBPIXEL_BITS)


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A cluttered background, uint8 RGB `[height, width, 3]`."""
    canvas = _texture(rng, height, width)
    if rng.random() < 0.5:
        _add_floor(rng, canvas)
    for _ in range(rng.integers(3, 16)):
        _add_clutter(rng, canvas)
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (5, 5), rng.uniform(0.6, 2.0))
    return canvas


def light(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Uneven colored light, sensor noise and at times a slight blur over a finished picture."""
    height, width = image.shape[:2]
    level = rng.uniform(70, 140)
    lamps = np.clip(level * rng.uniform(0.75, 1.25, (2, 3, 1)) * rng.uniform(0.92, 1.08, 3), 0, 255)
    gain = cv2.resize(lamps.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.multiply(image, gain, scale=1 / 110)
    strength = int(rng.integers(1, 16))
    noise = rng.integers(0, strength, image.shape, np.uint8)
    image = cv2.subtract(cv2.add(image, noise), np.full(3, strength / 2))
    return cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.7)) if rng.random() < 0.3 else image


def sample_occluder(rng: np.random.Generator, center: np.ndarray, size: float) -> list[Shape]:
    """A shape in front of everything, around `center [2]` and about `size` pixels large."""
    color = tuple(rng.uniform(20, 240, 3))
    kind = rng.integers(3)
    if kind == 0:
        outlines = [ellipse(center, size * scale, size * 0.8 * scale) for scale in (0.5, 0.4)]
    elif kind == 1:
        reach = _unit(rng) * size * rng.uniform(0.6, 1.2)
        ends = center - reach, center + reach
        outlines = [capsule(*ends, radius, radius) for radius in (size * 0.2, size * 0.14)]
    else:
        polygon = _polygon(rng, size * 0.6)
        outlines = [center + polygon, center + polygon * 0.8]
    return [Shape(outlines[0], shade(color, 0.7)), Shape(outlines[1], color)]


def _texture(rng, height: int, width: int) -> np.ndarray:
    """Smooth gradients, coarse blotches or stripes between random colors."""
    kind = rng.integers(3)
    if kind == 2:
        return _stripes(rng, height, width)
    rows, columns = ((2, 3), tuple(rng.integers(4, 24, 2)))[kind]
    spread = (90, 45)[kind]
    coarse = rng.uniform(40, 215, 3) + rng.uniform(-spread, spread, (rows, columns, 3))
    coarse = np.clip(coarse, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _stripes(rng, height: int, width: int) -> np.ndarray:
    base, other = rng.uniform(30, 225, (2, 3))
    x, y = _unit(rng) / rng.uniform(8, 50)
    phase = np.arange(width, dtype=np.float32) * np.float32(x)
    phase = (phase + np.arange(height, dtype=np.float32)[:, None] * np.float32(y)) % 1
    table = np.where(np.arange(256)[:, None] < 256 * rng.uniform(0.3, 0.7), base, base * 0.6 + other * 0.4)
    return table.astype(np.uint8)[(phase * 256).astype(np.uint8)]


def _add_floor(rng, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    left, right = rng.uniform(0.55, 0.9, 2) * height
    corners = np.array([[0, left], [width, right], [width, height], [0, height]])
    fill(canvas, corners, tuple(rng.uniform(30, 220, 3)))


def _add_clutter(rng, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    center = rng.uniform(0, 1, 2) * (width, height)
    size = rng.uniform(0.04, 0.3) * height
    color = tuple(rng.uniform(10, 245, 3))
    kind = rng.integers(4)
    if kind == 0:
        fill(canvas, ellipse(center, size * 0.5, size * rng.uniform(0.2, 0.6)), color)
    elif kind == 1:
        fill(canvas, center + _polygon(rng, size * 0.7), color)
    elif kind == 2:
        radius = rng.uniform(0.5, 6)
        fill(canvas, capsule(center, center + _unit(rng) * 3 * size, radius, radius), color)
    else:
        extent = np.array([size, size * rng.uniform(0.4, 2.5)]) / 2
        fill(canvas, center + extent * [[-1, -1], [1, -1], [1, 1], [-1, 1]], color)


def _polygon(rng, radius: float) -> np.ndarray:
    """A convex polygon `[n, 2]` on a circle around the origin."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _unit(rng) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
