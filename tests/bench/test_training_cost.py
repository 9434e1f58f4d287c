"""The cost of a training against the arithmetic of the paper's."""

import pytest

from p2net_tf.bench.training_cost import COCO, PersonSet, training_cost


def test_an_epoch_is_all_full_batches():
    cost = training_cost(
        10, 100, batch=4, people=PersonSet(persons=11, pictures=5, picture_bytes=7), epochs=3
    )
    assert (cost.steps, cost.samples) == (2 * 3, 2 * 3 * 4)
    assert cost.multiply_adds == 3 * 100 * 24
    assert (cost.bytes_read, cost.bytes_read_cached) == (7 * 24, 7 * 5)
    assert cost.state_bytes == 10 * 4 * 4  # weight, gradient, two moments


def test_the_paper_s_training_has_as_many_iterations_as_its_schedule_needs():
    """The rate is halved every 3.6 M samples, 112,500 steps: 210 epochs of COCO are 8.7 such stretches."""
    cost = training_cost(47_230_000, 21_740_000_000, batch=32)
    assert cost.samples == COCO.persons // 32 * 32 * 210
    assert cost.samples / 3.6e6 == pytest.approx(8.7, abs=0.05)
    assert cost.steps / 112_500 == cost.samples / 3.6e6


@pytest.mark.parametrize("replicas, share", [(1, 0), (2, 1), (4, 1.5), (8, 1.75)])
def test_a_ring_sends_nearly_twice_the_gradients(replicas, share):
    """Each of n sends n - 1 pieces of 1 / n twice: once to be summed, once to be known."""
    assert training_cost(1000, 1, 32, replicas).bytes_sent == share * 4000


def test_hours_are_of_all_samples():
    cost = training_cost(1, 1, batch=10, people=PersonSet(1000, 1, 1), epochs=36)
    assert cost.hours(samples_per_second=10) == 1
