"""Pre-activation bottleneck: the shared checks, and its formula in numpy."""

import numpy as np
import pytest
from layer_checks import check_layer, conv_norm, convolve, randomize_weights

from p2net_tf.layers import PreActivationBottleneck

CHANNELS = 6


@pytest.mark.parametrize("filters", [CHANNELS, 10])
def test_layer(filters, tmp_path):
    check_layer(PreActivationBottleneck(filters), (5, 7, CHANNELS), tmp_path)


@pytest.mark.parametrize("filters", [CHANNELS, 10])
def test_the_input_is_normalized_on_one_path_and_left_alone_on_the_other(filters):
    block = PreActivationBottleneck(filters)
    block.build((None, 5, 7, CHANNELS))
    randomize_weights(block, np.random.default_rng(0))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 7, CHANNELS)).astype("float32")

    def plain(x, conv):
        return convolve(x, np.asarray(conv.kernel)) + np.asarray(conv.bias)

    norm = block.norm
    gamma, beta, mean, variance = map(
        np.asarray, (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    x = np.maximum((inputs - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)
    x = plain(conv_norm(conv_norm(x, block.reduce), block.conv), block.expand)
    shortcut = inputs if filters == CHANNELS else plain(inputs, block.project)
    np.testing.assert_allclose(block(inputs), x + shortcut, rtol=1e-4, atol=1e-5)
