"""What a policy does to a batch: every sample goes through a sub-policy of its own, in a graph or not."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.policies import Policy, Stage

IDENTITY = ops.OPERATION_NAMES.index("Identity")

_CHAIN_DRAWS = 1 << 20
"""Keeps the draws of a chain apart from those of its operations, which `ops.apply_chain` numbers from 0."""


class PolicyTensors(NamedTuple):
    """A policy of K sub-policies of N stages as numbers, `[K, N]` each.

    They may be variables: who assigns other values changes the policy without a new trace.

    Attributes:
        operations: int32, rows of `ops.OPERATION_NAMES`.
        probabilities: float32, 0..1.
        magnitudes, spreads: float32, levels 0..10.
    """

    operations: tf.Tensor | tf.Variable
    probabilities: tf.Tensor | tf.Variable
    magnitudes: tf.Tensor | tf.Variable
    spreads: tf.Tensor | tf.Variable


def policy_tensors(policy: Policy) -> PolicyTensors:
    """See `Policy.tensors`."""
    padding = Stage("Identity", 0.0, 0.0)
    rows = [[*stages, *[padding] * (policy.stages - len(stages))] for stages in policy.sub_policies]

    def column(value, dtype=tf.float32):
        return tf.constant([[value(stage) for stage in row] for row in rows], dtype)

    return PolicyTensors(
        operations=column(lambda stage: ops.OPERATION_NAMES.index(stage.operation), tf.int32),
        probabilities=column(lambda stage: stage.probability),
        magnitudes=column(lambda stage: stage.magnitude),
        spreads=column(lambda stage: stage.spread),
    )


def augment(tensors: PolicyTensors, crops, keypoints, seed):
    """Sends every sample through a sub-policy of its own.

    Args:
        crops: `[B, H, W, 3]` float, 0..1, of known height and width.
        keypoints: `[B, K, 3]` in crop pixels.
        seed: `[2]` integers for the batch, or `[B, 2]`, one per sample.

    Returns:
        `(crops, keypoints)` of the same shapes and types.

    Raises:
        ValueError: crops of integers, or of unknown size.
    """
    crops = tf.convert_to_tensor(crops)
    seeds = stateless_random.sample_seeds(seed, tf.shape(crops)[0])
    operations, levels = draw_chains(tensors, seeds)
    return ops.apply_chain(crops, keypoints, operations, levels, seeds)


def augment_batches(tensors: PolicyTensors, dataset: tf.data.Dataset, seed: int, start: int):
    """See `Policy.over`."""

    def step(number, batch):
        return augment(tensors, *batch, tf.stack([tf.constant(seed, tf.int64), number]))

    numbered = dataset.enumerate(start)
    step = tf.autograph.experimental.do_not_convert(step)
    return numbered.map(step, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def draw_chains(tensors: PolicyTensors, seeds):
    """Draws a sub-policy per sample, which of its stages apply, and their levels.

    Args:
        seeds: `[B, 2]`, one per sample.

    Returns:
        `(operations [B, N] int32, levels [B, N] float32)` for `ops.apply_chain`; a stage that does not apply
        is Identity at level 0.
    """
    count, stages = tensors.operations.shape
    numbers = chain_numbers(seeds, stages)
    row = tf.cast(numbers.row * count, tf.int32)
    operations, probabilities, magnitudes, spreads = (tf.gather(column, row) for column in tensors)
    applied = numbers.choices < probabilities
    levels = levels_around(magnitudes, spreads, numbers.levels)
    return tf.where(applied, operations, IDENTITY), tf.where(applied, levels, 0.0)


class ChainNumbers(NamedTuple):
    """Random numbers in 0..1 that decide on the chain of each sample, apart from those of its operations."""

    row: tf.Tensor
    """`[B]`: of the sub-policy."""
    choices: tf.Tensor
    """`[B, N]`: of what each stage does."""
    levels: tf.Tensor
    """`[B, N]`: of the level of each stage."""


def chain_numbers(seeds, stages: int) -> ChainNumbers:
    """Args:
    seeds: `[B, 2]`, one per sample.
    stages: N.
    """
    numbers = stateless_random.uniform(stateless_random.fold_in(seeds, _CHAIN_DRAWS), 1 + 2 * stages)
    return ChainNumbers(numbers[:, 0], numbers[:, 1 : 1 + stages], numbers[:, 1 + stages :])


def levels_around(magnitudes, spreads, numbers):
    """Levels uniform in `magnitudes` +- `spreads`, clipped to 0..10, by `numbers` in 0..1."""
    return tf.clip_by_value(magnitudes + spreads * (2.0 * numbers - 1.0), 0.0, ops.LEVELS)
