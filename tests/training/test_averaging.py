"""Averaged weights come and go exactly, with batch statistics of their own."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from one_weight import one_weight

from p2net_tf.layers import BatchNormalization
from p2net_tf.training.averaging import AveragedWeights, Calibration
from p2net_tf.utils.compat import averages_of


class TestAveragedWeights:
    @pytest.fixture
    def model(self):
        return one_weight([1.0, 2.0, 3.0])

    def test_are_the_moving_average_of_the_steps(self, model):
        """Each step takes 1/4 off each weight; Keras keeps `average = 0.75 average + 0.25 weight`."""
        weight, average = np.float64([1, 2, 3]), np.float64([1, 2, 3])
        averages_of(model.optimizer)[0][1].assign(average)
        for step in range(3):
            model.optimizer.apply([tf.fill([3], 0.25)])
            weight = weight - 0.25
            momentum = 0.75 if step else 0.0  # Keras starts the average at the first weights
            average = momentum * average + (1 - momentum) * weight
        with AveragedWeights(model):
            np.testing.assert_allclose(model.w, average, rtol=1e-6)
        np.testing.assert_allclose(model.w, weight, rtol=1e-6)

    def test_come_and_go_bit_for_bit(self, model):
        """Weights and averages of different magnitude: adding and subtracting them would round."""
        weight, average = np.float32([1e-8, 0.1, 3.3e7]), np.float32([1.0, 1e-9, 0.7])
        model.w.assign(weight)
        held = averages_of(model.optimizer)[0][1]
        held.assign(average)
        for _ in range(2):
            with AveragedWeights(model):
                np.testing.assert_array_equal(model.w, average)
            np.testing.assert_array_equal(model.w, weight)
            np.testing.assert_array_equal(held, average)

    def test_come_back_when_something_fails_inside(self, model):
        held = averages_of(model.optimizer)[0][1]
        held.assign([7.0, 8.0, 9.0])
        with pytest.raises(RuntimeError, match="disk full"), AveragedWeights(model):
            raise RuntimeError("disk full")
        np.testing.assert_array_equal(model.w, [1, 2, 3])

    def test_without_an_average_nothing_happens(self):
        model = one_weight([1.0, 2.0, 3.0], ema=False)
        with AveragedWeights(model):
            np.testing.assert_array_equal(model.w, [1, 2, 3])

    def test_are_found_behind_a_loss_scale(self):
        """mixed_float16 wraps the optimizer that keeps the average."""
        inner = keras.optimizers.SGD(1.0, use_ema=True)
        model = one_weight([1.0, 2.0, 3.0], optimizer=keras.optimizers.LossScaleOptimizer(inner))
        averages_of(inner)[0][1].assign([7.0, 8.0, 9.0])
        with AveragedWeights(model):
            np.testing.assert_array_equal(model.w, [7, 8, 9])
        np.testing.assert_array_equal(model.w, [1, 2, 3])


def scaled(factor: float) -> keras.Model:
    """`normalize(factor * x)`, so that the statistics follow from those of x."""
    inputs = keras.Input((2,))
    outputs = BatchNormalization()(keras.layers.Dense(2, use_bias=False, name="scale")(inputs))
    model = keras.Model(inputs, outputs)
    model.get_layer("scale").kernel.assign(factor * np.eye(2))
    return model


class TestCalibration:
    crops = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 2)).astype("float32")

    @property
    def batches(self):
        return tf.data.Dataset.from_tensor_slices((self.crops, np.zeros(len(self.crops))))

    def test_statistics_are_the_mean_over_the_batches(self):
        network = scaled(2.0)
        Calibration(network, self.batches).measure()
        norm = network.layers[-1]
        np.testing.assert_allclose(norm.moving_mean, 2 * self.crops.mean(axis=(0, 1)), rtol=1e-5)
        np.testing.assert_allclose(norm.moving_variance, 4 * self.crops.var(axis=1).mean(axis=0), rtol=1e-5)
        assert norm.momentum == 0.9

    def test_measures_the_average_and_takes_it_back(self):
        """The held weights double x, their average takes it as it is; each has its own statistics."""
        model = scaled(2.0)
        model.compile(keras.optimizers.SGD(0.0, use_ema=True))
        model.optimizer.build(model.trainable_variables)
        averages_of(model.optimizer)[0][1].assign(np.eye(2))
        norm = model.layers[-1]
        norm.moving_mean.assign([5.0, 7.0])
        compiled = SimpleNamespace(network=model, optimizer=model.optimizer)
        averaged = AveragedWeights(compiled, Calibration(model, self.batches))
        for _ in range(2):
            with averaged:
                np.testing.assert_allclose(norm.moving_mean, self.crops.mean(axis=(0, 1)), rtol=1e-5)
            np.testing.assert_array_equal(norm.moving_mean, [5, 7])
