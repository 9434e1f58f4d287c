"""Stacked Hourglass: the shared checks, odd sizes, and what goes from one stack to the next."""

import numpy as np
import pytest
from layer_checks import check_layer, convolve, randomize_weights
from network_checks import CROPS, check_network, randomized

from p2net_tf.config.model import HourglassConfig
from p2net_tf.config.networks import build_network
from p2net_tf.models import StackedHourglass
from p2net_tf.models.hourglass import Hourglass


@pytest.fixture(scope="module")
def network():
    return randomized(StackedHourglass(3, CROPS.shape[1:3], stacks=2, width=8, depth=1))


@pytest.mark.slow
def test_network(tmp_path):
    check_network(StackedHourglass, ["stack_1", "heatmaps"], tmp_path, stacks=2, width=8, depth=1)


@pytest.mark.slow
def test_odd_sizes(tmp_path):
    """9 rows, of 288 crop pixels, become 5 and 3, and all of them come back."""
    check_layer(Hourglass(6, depth=2), (9, 12, 6), tmp_path)


def pooled(x):
    """The largest of each 2 x 2, of what there is of it at an odd border."""
    rows, columns = (-n % 2 for n in x.shape[1:3])
    full = np.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), constant_values=-np.inf)
    batch, height, width, channels = full.shape
    return full.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def hourglass(x, layer):
    """`hourglass` of hg.lua; an odd size is rounded up on the way down and cut on the way up."""
    low = np.asarray(layer.before(pooled(x)))
    low = hourglass(low, layer.inner) if layer.depth > 1 else layer.inner(low)
    low = np.asarray(layer.after(low))
    upsampled = low.repeat(2, axis=1).repeat(2, axis=2)[:, : x.shape[1], : x.shape[2]]
    return np.asarray(layer.stay(x)) + upsampled


@pytest.mark.parametrize("size", [(16, 32), (9, 5)])
def test_hourglass_is_that_of_the_published_code(size):
    layer = Hourglass(6)
    layer.build((None, *size, 6))
    randomize_weights(layer, np.random.default_rng(0), deep=True)
    # Below zero, so that a border of zeros would win against it.
    inputs = np.random.default_rng(1).normal(-3, 1, size=(2, *size, 6)).astype("float32")
    expected = hourglass(inputs, layer)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_features_and_heatmaps_of_a_stack_go_into_the_next(network):
    layer = network.get_layer
    x = layer("normalize")(CROPS)
    for name in ("stem", "stem_residual_1", "stem_pool", "stem_residual_2", "stem_residual_3"):
        x = layer(name)(x)
    features = layer("features_1")(layer("residual_1")(layer("hourglass_1")(x)))

    def plain(inputs, name):
        return convolve(np.asarray(inputs), np.asarray(layer(name).kernel)) + np.asarray(layer(name).bias)

    heatmaps = plain(features, "stack_1_head")
    x = x + plain(features, "merge_features_1") + plain(heatmaps, "merge_heatmaps_1")
    features = layer("features_2")(layer("residual_2")(layer("hourglass_2")(x)))
    found = network(CROPS)
    for name, expected in (("stack_1", heatmaps), ("heatmaps", plain(features, "heatmaps_head"))):
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_build_network_takes_the_configuration():
    section = HourglassConfig(stacks=1, width=4, depth=1, input_size=(64, 32))
    network = build_network(section, 7, synchronized=True)
    expected = {"num_keypoints": 7, "stacks": 1, "width": 4, "depth": 1, "name": "hourglass"}
    assert {name: network.get_config()[name] for name in expected} == expected
    assert list(network.output) == ["heatmaps"]
