"""Dilated bottleneck: the shared checks, its values in numpy, and what it sees."""

import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_layer, check_of_upsampled, conv_norm, randomize_weights

from p2net_tf.layers import DilatedBottleneck


@pytest.mark.parametrize("filters", [6, 4])
def test_layer(filters, tmp_path):
    """With a projection and without one."""
    check_layer(DilatedBottleneck(filters, dilation_rate=2), (6, 5, 4), tmp_path)


@pytest.mark.parametrize("filters", [6, 4])
def test_values_are_those_of_figure_4b(filters):
    rng = np.random.default_rng(0)
    layer = DilatedBottleneck(filters, dilation_rate=2)
    x = rng.normal(size=(2, 9, 8, 4)).astype("float32")
    layer.build(x.shape)
    randomize_weights(layer, rng)
    residual = conv_norm(conv_norm(conv_norm(x, layer.reduce), layer.dilate), layer.expand)
    shortcut = x if filters == 4 else conv_norm(x, layer.project)
    expected = np.maximum(residual + shortcut, 0)
    assert layer.dilate.conv.kernel.shape == (3, 3, filters // 2, filters // 2)
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dilation_rate", [1, 2, 3])
def test_receptive_field_has_nine_taps_spaced_by_the_dilation(dilation_rate):
    layer = DilatedBottleneck(4, dilation_rate=dilation_rate)
    x = tf.ones((1, 15, 15, 4))
    layer(x)
    for conv in (layer.reduce, layer.dilate, layer.expand):
        conv.conv.kernel.assign(np.ones(conv.conv.kernel.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x, training=False)[0, 7, 7])
    seen = np.argwhere(np.any(tape.gradient(y, x)[0].numpy() != 0, axis=-1)) - 7
    taps = (-dilation_rate, 0, dilation_rate)
    assert seen.tolist() == [[i, j] for i in taps for j in taps]


def test_projects_only_where_channels_differ():
    assert [_projects(channels) for channels in (4, 8)] == [True, False]


def _projects(channels: int) -> bool:
    layer = DilatedBottleneck(8)
    layer.build((None, 4, 4, channels))
    return layer.project is not None


@pytest.mark.parametrize("filters", [6, 13])
def test_its_1x1_convolutions_go_before_the_upsampling(filters):
    """With a projection and without one: 3 + 4 + 6 channels come in."""
    check_of_upsampled(DilatedBottleneck(filters, dtype="float64"))
