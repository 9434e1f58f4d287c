"""The operations of Table 1, and Identity: image and keypoints together, every sample with its own magnitude.

An operation takes `crops [B, H, W, 3]` in 0..1, `keypoints [B, K, 3]` in crop pixels, a magnitude `level`
0..10 per sample and a seed, and returns the two. `OPERATIONS` is the table of what each one does. What a
geometric operation uncovers is grey, `FILL`; a keypoint that leaves the crop has visibility 0.

`apply_chain` gives every sample a sequence of operations of its own; this is what a policy, the search and
the tuner run. Geometric operations in a row become one matrix and one resampling there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operation_cards import LEVELS, OPERATION_CARDS, OperationCard
from p2net_tf.augment.resampling import resample
from p2net_tf.keypoints import geometry

FILL = 128 / 255
"""Grey of what an operation uncovers or cuts out."""
TRANSLATION = 0.25
"""Largest translation, as a fraction of the side."""
CUTOUT = 0.36
"""Side of the largest cutout, as a fraction of the shorter side of the crop."""

_DRAWS = 3
"""Random numbers of one operation and sample: a sign, and the two coordinates of a cutout."""


@dataclass(frozen=True)
class Operation(OperationCard):
    """One row of the table, and its function.

    Attributes:
        matrix: geometric operations only: `(value [B], size (H, W)) -> [B, 2, 3]`.
        pixels: the others: `(crops, level [B], draws [B, 3]) -> crops`.
    """

    matrix: Callable | None = None
    pixels: Callable | None = None

    @property
    def looks_at_pixels(self) -> bool:
        return self.pixels is not None and self.name != "Identity"

    def __call__(self, crops, keypoints, level, seed, differentiable: bool = False):
        """Applies the operation to a batch.

        Args:
            crops: `[B, H, W, 3]` float, 0..1.
            keypoints: `[B, K, 3]` in crop pixels.
            level: `[B]` or a number, 0..10.
            seed: `[2]` integers for the batch, or `[B, 2]`, one per sample (`stateless_random.sample_seeds`).
            differentiable: geometric operations: sample with a gather, which has all gradients, instead of
                the fast kernel, which has none for the matrix.

        Returns:
            `(crops, keypoints)` of the same shapes.

        Raises:
            ValueError: crops of integers or of unknown size, keypoints of integers, a level beyond 0..10.
        """
        crops, keypoints = _checked_batch(crops, keypoints)
        known = isinstance(level, int | float | np.generic | np.ndarray)
        if known and not np.all((np.asarray(level) >= 0) & (np.asarray(level) <= LEVELS)):
            raise ValueError(f"{self.name}: magnitude levels run from 0 to {LEVELS:g}, not {level}")
        batch, size = tf.shape(crops)[0], (crops.shape[1], crops.shape[2])
        level = tf.broadcast_to(tf.cast(level, crops.dtype), [batch])
        numbers = stateless_random.uniform(stateless_random.sample_seeds(seed, batch), _DRAWS, crops.dtype)
        if not self.geometric:
            return self.pixels(crops, level, numbers), keypoints
        matrices = self.matrix(_signs(numbers), level, size)
        return _move(crops, keypoints, matrices, differentiable)


def apply_chain(crops, keypoints, operations, levels, seed):
    """Gives every sample its own sequence of operations.

    Args:
        crops: `[B, H, W, 3]` float, 0..1.
        keypoints: `[B, K, 3]` in crop pixels.
        operations: `[B, N]` int32, rows of `OPERATION_NAMES`; 0 is Identity.
        levels: `[B, N]`, 0..10.
        seed: `[2]`, or `[B, 2]`.

    Returns:
        `(crops, keypoints)`.

    Raises:
        ValueError: crops of integers or of unknown size, keypoints of integers, names instead of rows.
    """
    crops, keypoints = _checked_batch(crops, keypoints)
    operations, levels = tf.convert_to_tensor(operations), tf.convert_to_tensor(levels)
    if not operations.dtype.is_integer:
        raise ValueError(
            f"operations are integers, rows of OPERATION_NAMES, not {operations.dtype.name}; "
            "OPERATION_NAMES.index finds the row of a name"
        )
    stages_known = operations.shape.rank == 2 and operations.shape[1] is not None
    if not stages_known or not levels.shape.is_compatible_with(operations.shape):
        raise ValueError(
            "operations and levels are [B, N] with a known number of stages N, "
            f"not {operations.shape} and {levels.shape}"
        )
    operations = tf.cast(operations, tf.int32)
    batch, size = tf.shape(crops)[0], (crops.shape[1], crops.shape[2])
    levels = tf.cast(levels, crops.dtype)
    seeds = stateless_random.sample_seeds(seed, batch)
    pending = _Pending(batch, crops.dtype)
    for stage in range(operations.shape[1]):
        chosen, level = operations[:, stage], levels[:, stage]
        numbers = stateless_random.uniform(stateless_random.fold_in(seeds, stage), _DRAWS, crops.dtype)
        pending.add(_chosen_matrices(chosen, level, numbers, size))
        # What looks at pixels needs them in place; geometry waits for the next geometry.
        crops, keypoints = pending.settle(crops, keypoints, tf.gather(_LOOKS_AT_PIXELS, chosen))
        crops = _chosen_pixels(crops, chosen, level, numbers)
    return pending.settle(crops, keypoints, tf.ones([batch], tf.bool))


def _checked_batch(crops, keypoints):
    crops, keypoints = tf.convert_to_tensor(crops), tf.convert_to_tensor(keypoints)
    if not crops.dtype.is_floating or crops.shape.rank != 4 or None in crops.shape[1:].as_list():
        raise ValueError(
            f"crops are [B, H, W, 3] floats in 0..1 of known height and width, not {crops.dtype.name} "
            f"{crops.shape}; divide images of bytes by 255, and set shapes with tf.ensure_shape"
        )
    if not keypoints.dtype.is_floating or keypoints.shape.rank != 3 or keypoints.shape[2] not in (None, 3):
        raise ValueError(
            "keypoints are [B, K, 3] floats (x, y, visibility) in crop pixels, "
            f"not {keypoints.dtype.name} {keypoints.shape}"
        )
    return crops, keypoints


class _Pending:
    """The matrices that are still to be applied, one per sample."""

    def __init__(self, batch, dtype):
        self._none = tf.eye(2, 3, [batch], dtype)
        self._matrices = self._none

    def add(self, matrices):
        self._matrices = geometry.compose_affine(self._matrices, matrices)

    def settle(self, crops, keypoints, rows):
        """Moves the samples at the mask `rows [B]`, as far as anything is pending for them."""
        moving = rows & tf.reduce_any(self._matrices != self._none, axis=[1, 2])
        places = tf.where(moving)
        moved = _move(*(tf.gather_nd(values, places) for values in (crops, keypoints, self._matrices)))
        crops, keypoints = (
            tf.tensor_scatter_nd_update(old, places, new)
            for old, new in zip((crops, keypoints), moved, strict=True)
        )
        self._matrices = tf.where(tf.reshape(moving, [-1, 1, 1]), self._none, self._matrices)
        return crops, keypoints


def _move(crops, keypoints, matrices, differentiable: bool = False):
    size = (crops.shape[1], crops.shape[2])
    moved = geometry.transform_keypoints(keypoints, tf.cast(matrices, keypoints.dtype))
    return resample(crops, matrices, FILL, differentiable), geometry.hide_outside(moved, size)


def _chosen_matrices(chosen, level, numbers, size):
    """`[B, 2, 3]`: of each sample's operation; the identity where it is not geometric."""
    sign = _signs(numbers)
    nothing = tf.eye(2, 3, [tf.shape(level)[0]], level.dtype)
    every = [row.matrix(sign, level, size) if row.geometric else nothing for row in OPERATIONS.values()]
    return tf.gather(tf.stack(every, axis=1), chosen, axis=1, batch_dims=1)


def _chosen_pixels(crops, chosen, level, numbers):
    """Each operation runs on the samples that drew it; the others stay where they are."""
    every = tf.dynamic_partition(tf.range(tf.shape(crops)[0])[:, None], chosen, len(OPERATIONS))
    places, parts = [], []
    for row, place in zip(OPERATIONS.values(), every, strict=True):
        if row.looks_at_pixels:
            places.append(place)
            parts.append(row.pixels(*(tf.gather_nd(values, place) for values in (crops, level, numbers))))
    # One scatter for all: each would copy the batch.
    return tf.tensor_scatter_nd_update(crops, tf.concat(places, axis=0), tf.concat(parts, axis=0))


def _signs(numbers):
    """-1 or 1 per sample."""
    return tf.where(numbers[:, 0] < 0.5, -tf.ones_like(numbers[:, 0]), tf.ones_like(numbers[:, 0]))


def _matrices(a, b, tx, c, d, ty):
    columns = [tf.broadcast_to(value, tf.shape(tx)) for value in (a, b, tx, c, d, ty)]
    return tf.reshape(tf.stack(columns, axis=-1), [-1, 2, 3])


def _about_center(a, b, c, d, size):
    x, y = size[1] / 2, size[0] / 2
    return _matrices(a, b, x - a * x - b * y, c, d, y - c * x - d * y)


def _translate_x(sign, level, size):
    shift = sign * level / LEVELS * (TRANSLATION * size[1])
    one, zero = tf.ones_like(shift), tf.zeros_like(shift)
    return _matrices(one, zero, shift, zero, one, zero)


def _translate_y(sign, level, size):
    shift = sign * level / LEVELS * (TRANSLATION * size[0])
    one, zero = tf.ones_like(shift), tf.zeros_like(shift)
    return _matrices(one, zero, zero, zero, one, shift)


def _rotate(sign, level, size):
    radians = sign * level * (4.5 * math.pi / 180.0)
    cos, sin = tf.cos(radians), tf.sin(radians)
    return _about_center(cos, -sin, sin, cos, size)


def _scale(sign, level, size):
    factor = 1.0 + level * tf.where(sign > 0, 0.035 * tf.ones_like(sign), -0.03 * tf.ones_like(sign))
    zero = tf.zeros_like(factor)
    return _about_center(factor, zero, zero, factor, size)


def _per_image(values):
    return tf.reshape(values, [-1, 1, 1, 1])


def _equalize(crops, level, numbers):
    height, width, channels = crops.shape[1:]
    grey = tf.cast(tf.round(tf.clip_by_value(crops, 0.0, 1.0) * 255.0), tf.int32)
    counts, places = _histograms(grey)
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=-1, keepdims=True)
    step = (height * width - tf.gather(counts, last, batch_dims=2)) // 255
    before = tf.cumsum(counts, axis=-1, exclusive=True)
    table = tf.minimum((before + step // 2) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, table, tf.range(256))
    equal = tf.gather(tf.reshape(tf.cast(table, crops.dtype) / 255.0, [-1]), places)
    # A histogram has no gradient: for it the operation passes as the identity.
    return _with_gradient_of(crops, equal)


def _histograms(grey):
    """`[B, C, 256]` counts of `[B, H, W, C]` grey levels 0..255, and which count each pixel went to."""
    batch, channels = tf.shape(grey)[0], grey.shape[3]
    bins = batch * (channels * 256)
    places = grey + tf.reshape(tf.range(0, bins, 256), [batch, 1, 1, channels])
    counts = tf.math.bincount(tf.reshape(places, [-1]), minlength=bins, maxlength=bins)
    return tf.reshape(counts, [batch, channels, 256]), places


def _with_gradient_of(stand_in, values):
    """`values`, exactly, and the gradient of `stand_in`."""
    return tf.stop_gradient(values) + (stand_in - tf.stop_gradient(stand_in))


def _solarize(crops, level, numbers):
    # A hundredth of a grey level less: else rounding, which a graph does in an order of its own, decides on
    # which side of a whole threshold that grey level lies.
    threshold = _per_image((level / LEVELS * 256 - 0.01) / 255)
    # As |x - 1| is 1 - x, a mask does what `tf.where` would do, six times faster on a CPU.
    hard = tf.abs(crops - tf.cast(crops >= threshold, crops.dtype))
    # The step has no useful gradient: a steep sigmoid stands in for it there.
    soft = crops + (1.0 - 2.0 * crops) * tf.sigmoid((crops - threshold) / 0.05)
    return _with_gradient_of(soft, hard)


def _solarize_add(crops, level, numbers):
    dark = tf.cast(crops < 128 / 255, crops.dtype)
    return tf.clip_by_value(crops + dark * _per_image(level / LEVELS * (110 / 255)), 0.0, 1.0)


def _enhancement(level):
    return _per_image(0.1 + 1.8 * level / LEVELS)


def _brightness(crops, level, numbers):
    return tf.clip_by_value(crops * _enhancement(level), 0.0, 1.0)


def _sharpness(crops, level, numbers):
    inside = crops[:, 1:-1, 1:-1]
    # b - x, with b the sum of the nine pixels and four times the middle one, by 13.
    blur = (tf.nn.avg_pool2d(crops, 3, 1, "VALID") - inside) * (9 / 13)
    change = (1.0 - _enhancement(level)) * blur
    return tf.clip_by_value(crops + tf.pad(change, [[0, 0], [1, 1], [1, 1], [0, 0]]), 0.0, 1.0)


def _cutout(crops, level, numbers):
    height, width = crops.shape[1], crops.shape[2]
    side = level / LEVELS * (CUTOUT * min(height, width))
    rows = _coverage(numbers[:, 2] * height, side, height)
    columns = _coverage(numbers[:, 1] * width, side, width)
    covered = rows[:, :, None, None] * columns[:, None, :, None]
    return crops + covered * (FILL - crops)


def _coverage(center, side, length: int):
    """`[B, length]`: how much of each pixel lies within `side / 2` of `center`, 0..1."""
    edges = tf.cast(tf.range(length), center.dtype)[None, :]
    low, high = (center - side / 2)[:, None], (center + side / 2)[:, None]
    return tf.clip_by_value(tf.minimum(edges + 1.0, high) - tf.maximum(edges, low), 0.0, 1.0)


_FUNCTIONS = {
    "Identity": {"pixels": lambda crops, level, numbers: crops},
    "TranslateX": {"matrix": _translate_x},
    "TranslateY": {"matrix": _translate_y},
    "Rotate": {"matrix": _rotate},
    "Equalize": {"pixels": _equalize},
    "Solarize": {"pixels": _solarize},
    "SolarizeAdd": {"pixels": _solarize_add},
    "Brightness": {"pixels": _brightness},
    "Sharpness": {"pixels": _sharpness},
    "Cutout": {"pixels": _cutout},
    "Scale": {"matrix": _scale},
}

OPERATIONS: dict[str, Operation] = {
    name: Operation(**vars(card), **_FUNCTIONS[name]) for name, card in OPERATION_CARDS.items()
}
OPERATION_NAMES: tuple[str, ...] = tuple(OPERATIONS)
_LOOKS_AT_PIXELS = np.array([row.looks_at_pixels for row in OPERATIONS.values()])  # no tensor: it starts TF
