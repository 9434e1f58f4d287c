"""BatchNormalization: Keras' own values at first order, and the exact second derivative that Keras lacks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_layer

from p2net_tf.layers import BatchNormalization


@pytest.mark.parametrize("synchronized", [False, True])
def test_layer(synchronized, tmp_path):
    check_layer(BatchNormalization(synchronized=synchronized), (6, 5, 4), tmp_path)


@pytest.mark.parametrize("synchronized", [False, True])
def test_values_and_statistics_are_those_of_keras(synchronized):
    rng = np.random.default_rng(0)
    ours = BatchNormalization(synchronized=synchronized)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for _ in range(3):
        x = rng.normal(2, 3, size=(4, 6, 5, 3)).astype("float32")
        np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)
    np.testing.assert_allclose(ours(x, training=False), theirs(x, training=False), rtol=1e-5, atol=1e-5)


def test_training_output_has_mean_0_and_variance_1():
    x = np.random.default_rng(1).normal(7, 3, size=(8, 6, 5, 3))
    y = np.asarray(BatchNormalization(dtype="float64")(x, training=True))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-5)


def second_derivative_error(layer) -> float:
    """Relative error of a Hessian-vector product in training mode, against finite differences."""
    rng = np.random.default_rng(2)
    x, direction, weights = (tf.constant(rng.normal(size=(4, 3, 3, 2))) for _ in range(3))
    layer(x)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(weights * layer(x, training=True) ** 3)
        return tape.gradient(loss, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(gradient(x) * direction)
    exact = tape.gradient(along, x)
    numeric = (gradient(x + 1e-5 * direction) - gradient(x - 1e-5 * direction)) / 2e-5
    return float(tf.norm(exact - numeric) / tf.norm(numeric))


@pytest.mark.parametrize("synchronized", [False, True])
def test_second_derivative_is_exact(synchronized):
    layer = BatchNormalization(synchronized=synchronized, dtype="float64")
    assert second_derivative_error(layer) < 1e-8


def test_keras_own_layer_is_still_wrong_at_second_order():
    """Why ours exists. Once this fails, Keras is fixed and ours can go."""
    assert second_derivative_error(keras.layers.BatchNormalization(epsilon=1e-5, dtype="float64")) > 1e-3
