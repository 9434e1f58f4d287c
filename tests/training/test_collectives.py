"""Variables read and assigned in one process; several workers are in `test_strategy.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.training.collectives import assign_variables, from_all, from_chief, read_variables, saved_shape


@pytest.fixture
def strategy():
    return tf.distribute.get_strategy()


@pytest.fixture
def metric():
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.0, 6.0])
    return metric


def test_metrics_have_a_value_for_each_replica(strategy, metric):
    weight = keras.Variable([1.0, 2.0], name="weight")
    total, count, values = read_variables(strategy, [*metric.variables, weight])
    np.testing.assert_array_equal(total, [9])
    np.testing.assert_array_equal(count, [3])
    np.testing.assert_array_equal(values, [1, 2])
    assert [saved_shape(v) for v in (*metric.variables, weight)] == [(None,), (None,), (2,)]


@pytest.mark.parametrize("saved", [[[9.0], [3.0]], [[5.0, 4.0], [1.0, 2.0]]])
def test_what_other_replicas_counted_is_not_lost(strategy, metric, saved):
    metric.reset_state()
    assign_variables(strategy, metric.variables, np.float32(saved))
    assert float(metric.result()) == 3


def test_a_worker_by_itself_talks_to_itself(strategy):
    arrays = {"weight": np.float32([1, 2]), "flag": np.array(True)}
    assert from_chief(strategy, arrays) is arrays
    assert from_chief(strategy, None) is None
    assert from_all(strategy, [*arrays.values()]) == [[*arrays.values()]]
