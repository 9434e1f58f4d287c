"""What a run remembers, on models whose every number is known."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from one_weight import one_weight

from p2net_tf.layers import ConvNorm
from p2net_tf.training.checkpoints import CheckpointError
from p2net_tf.training.run_state import RunState

HERE = Path("checkpoints/step_000000001.npz")


class Counter:
    def __init__(self, count=0):
        self.count = count

    def state(self):
        return {"count": np.int64(self.count)}

    def restore(self, state):
        self.count = int(state["count"])


class Listed(keras.layers.Layer):
    """Keeps its sub-layer in a list, as the networks of the project do."""

    def __init__(self):
        super().__init__()
        self.convs = [ConvNorm(2)]

    def build(self, shape):
        self.convs[0].build(shape)

    def call(self, x, training=None):
        return self.convs[0](x, training=training)


def listed():
    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, Listed()(inputs))
    network.compile(keras.optimizers.SGD())
    network.optimizer.build(network.trainable_variables)
    return SimpleNamespace(network=network, optimizer=network.optimizer, metrics_variables=[])


class TestRestoring:
    def test_weights_optimizer_place_and_parts(self):
        model = one_weight([1.0, 2.0, 3.0])
        model.optimizer.iterations.assign(20)
        state = RunState(model, {"validation": Counter(4)})
        state.step, state.epoch, state.next_indices = 12, 3, np.array([96])
        other, counter = one_weight([0.0, 0.0, 0.0]), Counter()
        restored = RunState(other, {"validation": counter})
        restored.restore(state.arrays(), HERE)
        np.testing.assert_array_equal(other.w, [1, 2, 3])
        assert int(other.optimizer.iterations.numpy()) == 20
        assert (restored.step, restored.epoch, list(restored.next_indices), counter.count) == (12, 3, [96], 4)

    def test_every_variable_is_there_also_of_layers_in_lists(self):
        """`tf.train.Checkpoint(network=model)` leaves moving statistics in lists out, and says nothing."""
        model, other = listed(), listed()
        for number, weight in enumerate(model.network.weights):
            weight.assign(np.full(weight.shape, number + 2.0))
        RunState(other).restore(RunState(model).arrays(), HERE)
        for weight, restored in zip(model.network.weights, other.network.weights, strict=True):
            np.testing.assert_array_equal(restored, weight, err_msg=weight.path)

    def test_another_model_is_refused_and_nothing_is_assigned(self):
        arrays = RunState(listed()).arrays()
        model = one_weight([1.0, 2.0, 3.0])
        with pytest.raises(
            CheckpointError, match=rf"{HERE}: does not fit the network .*resume with the model"
        ):
            RunState(model).restore(arrays, HERE)
        np.testing.assert_array_equal(model.w, [1, 2, 3])


class TestNotFinite:
    def test_names_the_arrays_of_the_network(self):
        model = one_weight([1.0, np.nan, 3.0])
        best = SimpleNamespace(state=lambda: {"best": np.inf})
        state = RunState(model, {"validation": best})
        assert state.not_finite(state.arrays()) == [model.w.path]
        model.w.assign([1.0, 2.0, 3.0])
        assert state.not_finite(state.arrays()) == []
