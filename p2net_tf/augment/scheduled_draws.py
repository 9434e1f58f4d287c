"""What a schedule does to a batch at a moment of the training: vectorised, in a graph or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.policy_draws import IDENTITY, chain_numbers, levels_around


class ScheduleTensors(NamedTuple):
    """A schedule of U operations at T moments as numbers.

    Attributes:
        operations: `[U + 1]` int32, rows of `ops.OPERATION_NAMES`; the last is Identity, for what the shares
            leave.
        progress: `[T]` float32, rising.
        bounds: `[T, U]` float32, cumulated shares: a number u in 0..1 means the first operation above u.
        magnitudes, spreads: `[T, U + 1]` float32, levels 0..10; 0 for the last.
    """

    operations: tf.Tensor
    progress: tf.Tensor
    bounds: tf.Tensor
    magnitudes: tf.Tensor
    spreads: tf.Tensor


def schedule_tensors(
    operations: Sequence[str], moments: Sequence[float], columns: Mapping[str, np.ndarray]
) -> ScheduleTensors:
    """See `PolicySchedule.tensors`.

    Args:
        operations: U names.
        moments: progress of the T knots.
        columns: by operation, in their order: share, magnitude and spread `[3, T]` at the knots.
    """
    rows = np.stack([*columns.values(), np.zeros((3, len(moments)))])
    shares, magnitudes, spreads = rows.transpose(1, 2, 0)
    bounds = np.minimum(np.cumsum(shares[:, :-1], axis=1), 1.0)
    # The last knot once more, behind the end: so every moment lies between two.
    knots = [*range(len(moments)), len(moments) - 1]
    return ScheduleTensors(
        operations=tf.constant([*map(ops.OPERATION_NAMES.index, operations), IDENTITY], tf.int32),
        progress=tf.constant([*moments, 2.0], tf.float32),
        bounds=tf.constant(bounds[knots], tf.float32),
        magnitudes=tf.constant(magnitudes[knots], tf.float32),
        spreads=tf.constant(spreads[knots], tf.float32),
    )


def progress_of(numbers, length: int):
    """`[...]` float32 in 0..1: where `numbers` of `length` lie; the end for those behind it."""
    # In float64: there are more people in a training than float32 can count.
    return tf.cast(tf.minimum(tf.cast(numbers, tf.float64) / length, 1.0), tf.float32)


def augment_at(tensors: ScheduleTensors, draws: int, crops, keypoints, seed, progress):
    """`PolicySchedule.__call__` with tensors that are at hand."""
    crops = tf.convert_to_tensor(crops)
    seeds = stateless_random.sample_seeds(seed, tf.shape(crops)[0])
    operations, levels = draw_at(tensors, draws, seeds, progress)
    return ops.apply_chain(crops, keypoints, operations, levels, seeds)


def augment_batches(
    tensors: ScheduleTensors, draws: int, dataset: tf.data.Dataset, steps: int, seed: int, start: int
):
    """See `PolicySchedule.over`."""

    def step(number, batch):
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        return augment_at(tensors, draws, *batch, seeds, progress_of(number, steps))

    step = tf.autograph.experimental.do_not_convert(step)
    numbered = dataset.enumerate(start)
    return numbered.map(step, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def draw_at(tensors: ScheduleTensors, draws: int, seeds, progress):
    """Draws operations and levels by the shares of a moment.

    Of a single operation these are the draws of a `Policy` with that operation `draws` times in a row.

    Args:
        draws: N.
        seeds: `[B, 2]`, one per sample.
        progress: a number or `[B]`, 0..1.

    Returns:
        `(operations [B, N] int32, levels [B, N] float32)` for `ops.apply_chain`; a draw that does nothing is
        Identity at level 0.
    """
    progress = tf.broadcast_to(tf.cast(progress, tf.float32), [tf.shape(seeds)[0]])
    bounds, magnitudes, spreads = _columns_at(tensors, progress)
    numbers = chain_numbers(seeds, draws)
    passed = numbers.choices[:, :, None] >= bounds[:, None, :]
    places = tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)
    magnitudes, spreads = (tf.gather(x, places, batch_dims=1) for x in (magnitudes, spreads))
    return tf.gather(tensors.operations, places), levels_around(magnitudes, spreads, numbers.levels)


def _columns_at(tensors: ScheduleTensors, progress):
    """Bounds `[B, U]`, magnitudes and spreads `[B, U + 1]` at `progress [B]`.

    Interpolated bounds are those of interpolated shares.
    """
    progress = tf.clip_by_value(progress, 0.0, 1.0)
    row = tf.searchsorted(tensors.progress, progress, side="right") - 1
    before, after = tf.gather(tensors.progress, row), tf.gather(tensors.progress, row + 1)
    weight = ((progress - before) / (after - before))[:, None]
    # In this form a column that does not change keeps its value to the last bit.
    return [
        tf.gather(column, row) + weight * (tf.gather(column, row + 1) - tf.gather(column, row))
        for column in (tensors.bounds, tensors.magnitudes, tensors.spreads)
    ]
