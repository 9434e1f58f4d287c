"""ConvNorm: the shared checks, its values in numpy, and where a stride puts its pixels."""

import numpy as np
import pytest
from layer_checks import check_layer, check_of_upsampled, conv_norm, randomize_weights

from p2net_tf.layers import BilinearUpsampling, ConvNorm


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "strides": 2, "activation": None},
        {"kernel_size": 3, "dilation_rate": 2, "activation": "silu"},
        {"kernel_size": 1, "strides": 2},
    ],
)
def test_layer(options, tmp_path):
    check_layer(ConvNorm(5, **options), (8, 6, 4), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 7, "strides": 2},
        {"kernel_size": 1, "strides": 2},
        {"dilation_rate": 3},
    ],
)
def test_values_are_those_of_numpy(options):
    rng = np.random.default_rng(0)
    layer = ConvNorm(5, **options)
    x = rng.normal(size=(2, 10, 8, 3)).astype("float32")
    layer(x)
    randomize_weights(layer, rng)
    np.testing.assert_allclose(layer(x, training=False), conv_norm(x, layer), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_strided_convolution_is_centred_on_even_pixels(kernel_size):
    """A kernel that is 1 at its centre picks rows and columns 0, 2, 4, ... (`same`: 1, 3, 5, ...)."""
    layer = ConvNorm(1, kernel_size, strides=2, activation=None)
    x = np.arange(48, dtype="float32").reshape(1, 8, 6, 1)
    layer(x)
    kernel = np.zeros((kernel_size, kernel_size, 1, 1))
    kernel[kernel_size // 2, kernel_size // 2] = 1
    layer.conv.kernel.assign(kernel)
    expected = x[:, ::2, ::2] / np.sqrt(1 + layer.norm.epsilon)
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-6)


@pytest.mark.parametrize("dilation_rate", [1, 2])
def test_stride_one_commutes_with_a_flip(dilation_rate):
    rng = np.random.default_rng(1)
    layer = ConvNorm(4, 3, dilation_rate=dilation_rate)
    x = rng.normal(size=(1, 7, 6, 3)).astype("float32")
    plain = np.asarray(layer(x, training=False))
    layer.conv.kernel.assign(np.asarray(layer.conv.kernel)[:, ::-1])
    mirrored = np.asarray(layer(x[:, :, ::-1], training=False))
    np.testing.assert_allclose(mirrored[:, :, ::-1], plain, rtol=1e-5, atol=1e-6)


def test_a_1x1_convolution_goes_before_the_upsampling():
    check_of_upsampled(ConvNorm(5, 1, dtype="float64"))


def test_so_it_does_when_its_normalization_is_folded():
    rng = np.random.default_rng(0)
    layer, grow = ConvNorm(5, 1), BilinearUpsampling(2)
    parts = [rng.normal(size=shape).astype("float32") for shape in ((1, 4, 6, 2), (1, 2, 3, 3))]
    layer.build((None, 4, 6, 5))
    randomize_weights(layer, rng)
    expected = layer.of_upsampled(parts, [lambda x: x, grow])
    layer.fold()
    np.testing.assert_allclose(layer.of_upsampled(parts, [lambda x: x, grow]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"kernel_size": 3}, {"kernel_size": 1, "strides": 2}])
def test_others_do_not_commute(options):
    layer = ConvNorm(5, name="wide", **options)
    layer.build((None, 4, 4, 2))
    with pytest.raises(ValueError, match="'wide' is no 1x1 convolution of stride 1"):
        layer.of_upsampled([np.ones((1, 4, 4, 2))], [lambda x: x])
