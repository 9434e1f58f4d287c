"""Random numbers per sample: a hash of the sample's own seed, so a batch draws what its samples alone would.

TensorFlow's stateless generators draw a whole tensor from one seed: sample 3 of a batch gets other numbers
than the same sample in a batch of its own. Here each sample has a seed, and the same few integer
operations (SplitMix64, Steele et al., OOPSLA 2014) run on all of them at once, in a graph or in `tf.data`.
"""

from __future__ import annotations

import math

import tensorflow as tf

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def sample_seeds(seed, batch):
    """`[batch, 2]` int64 seeds, one per sample.

    Args:
        seed: `[2]` integers for the whole batch, or `[batch, 2]` which are given back.

    Raises:
        ValueError: numbers that are not integers, or of another shape.
    """
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer or seed.shape.rank not in (1, 2) or seed.shape[-1] != 2:
        raise ValueError(
            f"a seed is two integers, [2], or [B, 2], one pair per sample, not {seed.dtype.name} {seed.shape}"
        )
    seed = tf.cast(seed, tf.int64)
    if seed.shape.rank == 2:
        return seed
    first = tf.fill([batch], seed[0])
    return tf.stack([first, seed[1] * (1 << 20) + tf.range(tf.cast(batch, tf.int64))], axis=1)


def fold_in(seeds, number: int):
    """Other seeds `[B, 2]`, for the next thing that draws."""
    first = _mix(tf.bitcast(seeds[:, 0], tf.uint64) + tf.constant(number + 1, tf.uint64) * _u64(_GOLDEN))
    return tf.stack([tf.bitcast(first, tf.int64), seeds[:, 1]], axis=1)


def uniform(seeds, count: int, dtype=tf.float32):
    """`[B, count]` numbers in [0, 1), those of row b a function of `seeds[b]` alone."""
    first, second = (tf.bitcast(seeds[:, i], tf.uint64) for i in range(2))
    state = _mix(_mix(first + _u64(_GOLDEN)) + second)
    steps = tf.cast(tf.range(1, count + 1), tf.uint64) * _u64(_GOLDEN)
    bits = _mix(tf.reshape(state, [-1, 1]) + tf.reshape(steps, [1, -1]))
    # 24 bits fill the mantissa of a float32, and no rounding reaches 1.
    return tf.cast(tf.bitwise.right_shift(bits, _u64(40)), dtype) * 2.0**-24


def normal(seeds, count: int, dtype=tf.float32):
    """`[B, count]` standard normal numbers, by the transformation of Box and Muller (1958)."""
    # In float64: the last bit of a float32 logarithm depends on the place in the batch.
    numbers = uniform(seeds, 2 * count, tf.float64)
    # The logarithm of 1 - u, which is never 0.
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - numbers[:, :count]))
    return tf.cast(radius * tf.cos(2.0 * math.pi * numbers[:, count:]), dtype)


def _mix(state):
    state = _shift_xor(state, 30) * _u64(_FIRST)
    state = _shift_xor(state, 27) * _u64(_SECOND)
    return _shift_xor(state, 31)


def _shift_xor(state, bits: int):
    return tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, _u64(bits)))


def _u64(value: int):
    return tf.constant(value, tf.uint64)
