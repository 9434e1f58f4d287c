"""Attention Partial Module: the shared checks, and equations 4 and 5 in numpy."""

import numpy as np
from layer_checks import check_layer, randomize_weights

from p2net_tf.layers import AttentionPartialModule


def test_layer(tmp_path):
    check_layer(AttentionPartialModule(), (6, 5, 4), tmp_path)


def test_equations_4_and_5():
    rng = np.random.default_rng(0)
    layer = AttentionPartialModule()
    features = rng.normal(size=(2, 6, 5, 4)).astype("float32")
    layer.build(features.shape)
    randomize_weights(layer, rng)
    kernel, bias = map(np.asarray, layer.get_weights())
    expected = np.empty_like(features)
    for n in range(2):
        average = np.array([features[n, :, :, k].sum() / (6 * 5) for k in range(4)])
        gates = 1 / (1 + np.exp(-(average @ kernel[0, 0] + bias)))
        for k in range(4):
            expected[n, :, :, k] = features[n, :, :, k] * gates[k]
    np.testing.assert_allclose(layer(features), expected, rtol=1e-5, atol=1e-6)


def test_one_switch_costs_c_squared_plus_c():
    layer = AttentionPartialModule()
    layer.build((None, 6, 5, 7))
    assert layer.count_params() == 7 * 7 + 7
