"""DeconvNorm: the shared checks, and its values as the adjoint of a strided convolution."""

import numpy as np
import pytest
from layer_checks import check_layer, randomize_weights

from p2net_tf.layers import DeconvNorm


@pytest.mark.parametrize("kernel_size", [2, 4])
def test_layer(kernel_size, tmp_path):
    check_layer(DeconvNorm(5, kernel_size), (4, 6, 3), tmp_path)


def transposed_convolution(x, kernel):
    """Every input pixel stamps its kernel onto the output, two apart; the border is cut off."""
    (batch, height, width, _), (size, _, filters, _) = x.shape, kernel.shape
    out = np.zeros((batch, 2 * height + size - 2, 2 * width + size - 2, filters))
    for i in range(height):
        for j in range(width):
            stamp = np.einsum("bc,uvfc->buvf", x[:, i, j], kernel)
            out[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size] += stamp
    border = (size - 2) // 2
    return out[:, border : border + 2 * height, border : border + 2 * width]


@pytest.fixture
def layer_and_input():
    rng = np.random.default_rng(0)
    layer = DeconvNorm(5)
    x = rng.normal(size=(2, 4, 3, 6)).astype("float32")
    layer(x)
    randomize_weights(layer, rng)
    return layer, x


def test_values_are_those_of_numpy(layer_and_input):
    layer, x = layer_and_input
    norm = layer.norm
    plain = transposed_convolution(x, np.asarray(layer.conv.kernel))
    scale = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    expected = np.maximum((plain - np.asarray(norm.moving_mean)) * scale + np.asarray(norm.beta), 0)
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-4, atol=1e-5)


def test_folding_changes_nothing(layer_and_input):
    layer, x = layer_and_input
    before = np.asarray(layer(x, training=False))
    layer.fold()
    assert layer.conv.use_bias
    np.testing.assert_allclose(layer(x, training=False), before, rtol=1e-4, atol=1e-5)
