"""The gates of a network, by layers called one by one."""

import keras
import numpy as np
import pytest
from layer_checks import randomize_weights
from networks import tiny_network

from p2net_tf.models.attention_gates import attention_gates
from p2net_tf.models.cpn import CPN


def test_gates_are_those_of_the_modules_by_equation_5():
    network = tiny_network()
    randomize_weights(network, np.random.default_rng(0))
    crops = np.random.default_rng(1).uniform(size=(2, 64, 64, 3)).astype("float32")
    refine = network.get_layer("refine_net")
    features = keras.Model(network.input, refine.input)(crops)
    found = attention_gates(network)(crops)
    assert list(found) == ["apm_4", "apm_8", "apm_16", "apm_32"]
    for (name, gates), branch, maps in zip(found.items(), refine.branches, features, strict=True):
        module = branch[0]
        assert module.name == name
        kernel, bias = map(np.asarray, module.get_weights())
        expected = 1 / (1 + np.exp(-(np.asarray(maps).mean(axis=(1, 2)) @ kernel[0, 0] + bias)))
        np.testing.assert_allclose(gates, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            module(maps), np.asarray(maps) * expected[:, None, None], rtol=1e-4, atol=1e-5
        )


def test_gates_follow_the_weights_of_the_network():
    network = tiny_network()
    gates = attention_gates(network)
    phi = network.get_layer("refine_net").branches[0][0].phi
    phi.set_weights([np.zeros_like(phi.kernel), np.full(4, np.log(3), np.float32)])
    np.testing.assert_allclose(gates(np.zeros((1, 64, 64, 3)))["apm_4"], [[0.75] * 4], rtol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        lambda: tiny_network(apm=False),
        lambda: CPN(3, (64, 64), backbone="small", width=8, backbone_width=4, backbone_blocks=1),
    ],
    ids=["without apm", "cpn"],
)
def test_a_network_without_the_modules_has_none(network):
    assert attention_gates(network()) is None
