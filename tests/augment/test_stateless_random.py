"""The random numbers: uniform, independent of each other, and the same for a sample in any batch."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.augment import stateless_random

COUNT, COLUMNS = 50_000, 4
SEEDS = stateless_random.sample_seeds([3, 1], COUNT)
_MASK = (1 << 64) - 1


def split_mix(state: int) -> int:
    """The output function of SplitMix64, in Python's unbounded integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def test_the_mixing_is_split_mix_64():
    """First numbers of the reference generator for the seed 1234567 (Vigna's splitmix64.c)."""
    golden = 0x9E3779B97F4A7C15
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + step * golden) & _MASK for step in (1, 2, 3)]
    assert [split_mix(state) for state in states] == published
    found = stateless_random._mix(tf.constant(np.array(states, np.uint64)))
    np.testing.assert_array_equal(found.numpy(), np.array(published, np.uint64))


def test_numbers_by_hand():
    golden = 0x9E3779B97F4A7C15
    state = split_mix((split_mix((5 + golden) & _MASK) + 9) & _MASK)
    expected = [(split_mix((state + step * golden) & _MASK) >> 40) / 2**24 for step in (1, 2, 3)]
    np.testing.assert_array_equal(
        stateless_random.uniform(tf.constant([[5, 9]], tf.int64), 3)[0], np.float32(expected)
    )


@pytest.mark.parametrize(
    "seeds", [SEEDS, stateless_random.fold_in(SEEDS, 0), stateless_random.sample_seeds([0, 0], COUNT)]
)
def test_every_column_is_uniform(seeds):
    numbers = stateless_random.uniform(seeds, COLUMNS).numpy().astype(np.float64)
    assert numbers.min() >= 0 and numbers.max() < 1
    # Five deviations of mean and variance of COUNT uniform variables.
    np.testing.assert_allclose(numbers.mean(axis=0), 1 / 2, atol=5 / np.sqrt(12 * COUNT))
    np.testing.assert_allclose(numbers.var(axis=0), 1 / 12, atol=5 / np.sqrt(180 * COUNT))
    for column in numbers.T:
        counts, _ = np.histogram(column, bins=64, range=(0, 1))
        expected = COUNT / 64
        chi_square = ((counts - expected) ** 2 / expected).sum()
        # 63 degrees of freedom: mean 63, deviation 11.2.
        assert abs(chi_square - 63) < 5 * np.sqrt(2 * 63)


def test_nothing_is_correlated():
    """Columns, foldings, other seeds, and the neighbours in a batch."""
    other = stateless_random.sample_seeds([4, 1], COUNT), stateless_random.sample_seeds([3, 2], COUNT)
    kinds = SEEDS, stateless_random.fold_in(SEEDS, 0), stateless_random.fold_in(SEEDS, 1), *other
    columns = [stateless_random.uniform(seeds, COLUMNS).numpy().T.astype(np.float64) for seeds in kinds]
    columns.append(np.roll(columns[0], 1, axis=1))
    correlation = np.corrcoef(np.concatenate(columns))
    assert np.abs(correlation - np.eye(len(correlation))).max() < 5 / np.sqrt(COUNT)


def test_the_next_integers_as_seeds_are_uncorrelated():
    """`(epoch, number)` and `(number, 0)` are what callers pass: small, and in a row."""
    for seeds in (np.stack(np.divmod(np.arange(COUNT), 250), axis=1), np.arange(COUNT)[:, None] * [1, 0]):
        numbers = stateless_random.uniform(tf.constant(seeds, tf.int64), 1).numpy()[:, 0].astype(np.float64)
        assert len(np.unique(numbers)) > 0.99 * COUNT
        for lag in (1, 2, 250):
            assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 5 / np.sqrt(COUNT)


def test_normal_numbers_are_normal_and_independent():
    numbers = stateless_random.normal(SEEDS, 3).numpy().astype(np.float64)
    # Five deviations of the first four moments of COUNT standard normal variables.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        found = (numbers**power).mean(axis=0)
        np.testing.assert_allclose(found, moment, atol=5 * np.sqrt(variance / COUNT))
    assert abs(np.mean(np.abs(numbers) < 1) - 0.6827) < 5 * np.sqrt(0.6827 * 0.3173 / (3 * COUNT))
    columns = np.concatenate(
        [numbers.T, stateless_random.uniform(stateless_random.fold_in(SEEDS, 0), 2).numpy().T]
    )
    assert np.abs(np.corrcoef(columns) - np.eye(5)).max() < 5 / np.sqrt(COUNT)
    np.testing.assert_array_equal(stateless_random.normal(SEEDS[40:41], 3), numbers[40:41].astype(np.float32))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_the_largest_number_stays_below_one(dtype):
    assert tf.cast(tf.constant(2**24 - 1, tf.uint64), dtype) * 2.0**-24 < 1
    assert stateless_random.uniform(SEEDS, 1, dtype).dtype == dtype


def test_a_row_is_a_function_of_its_seed_alone():
    whole = stateless_random.uniform(SEEDS[:100], 3)
    np.testing.assert_array_equal(stateless_random.uniform(SEEDS[40:41], 3), whole[40:41])
    np.testing.assert_array_equal(stateless_random.uniform(SEEDS[:100], 2), whole[:, :2])
    np.testing.assert_array_equal(tf.function(stateless_random.uniform)(SEEDS[:100], 3), whole)
    (mapped,) = tf.data.Dataset.from_tensors(SEEDS[:100]).map(
        lambda seeds: stateless_random.uniform(seeds, 3)
    )
    np.testing.assert_array_equal(mapped, whole)


class TestSampleSeeds:
    def test_no_two_samples_of_any_batch_share_one(self):
        batches = [stateless_random.sample_seeds([a, b], 1000).numpy() for a in range(3) for b in range(5)]
        assert len(np.unique(np.concatenate(batches), axis=0)) == 15_000

    def test_seeds_per_sample_are_given_back(self):
        seeds = np.array([[1, 2], [-3, 4]])
        np.testing.assert_array_equal(stateless_random.sample_seeds(seeds, 2), seeds)

    def test_the_first_samples_do_not_depend_on_the_size_of_the_batch(self):
        np.testing.assert_array_equal(
            stateless_random.sample_seeds([7, 7], 3), stateless_random.sample_seeds([7, 7], 9)[:3]
        )

    def test_an_empty_batch(self):
        assert stateless_random.uniform(stateless_random.sample_seeds([1, 2], 0), 3).shape == (0, 3)

    @pytest.mark.parametrize("seed", [3, [1, 2, 3], [[1], [2]], [[[1, 2]]]])
    def test_another_shape_is_an_error(self, seed):
        with pytest.raises(
            ValueError, match=r"a seed is two integers, \[2\], or \[B, 2\], one pair per sample"
        ):
            stateless_random.sample_seeds(seed, 2)

    def test_a_fraction_is_an_error(self):
        with pytest.raises(ValueError, match="a seed is two integers"):
            stateless_random.sample_seeds([0.5, 1.0], 2)


def test_folding_in_gives_other_seeds_and_always_the_same():
    folded = [stateless_random.fold_in(SEEDS[:1000], number).numpy() for number in range(4)]
    assert len(np.unique(np.concatenate([SEEDS[:1000], *folded]), axis=0)) > 4 * 1000
    np.testing.assert_array_equal(stateless_random.fold_in(SEEDS[:1000], 2), folded[2])
