"""Upsampling: the shared checks, `tf.image.resize`, and a ramp."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_layer

from p2net_tf.layers import BilinearUpsampling, NearestUpsampling
from p2net_tf.layers.resampling import resize_operations


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_layer(factor, tmp_path):
    check_layer(BilinearUpsampling(factor), (4, 3, 2), tmp_path)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_values_are_those_of_a_half_pixel_bilinear_resize(factor):
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    expected = tf.image.resize(x, (5 * factor, 4 * factor), method="bilinear")
    np.testing.assert_allclose(BilinearUpsampling(factor)(x), expected, rtol=1e-5, atol=1e-6)


def test_positions_scale_purely():
    """A map that holds its own x coordinate comes out holding x / factor, up to the repeated border."""
    columns = np.arange(6) + 0.5
    x = np.broadcast_to(columns[None, None, :, None], (1, 3, 6, 1)).astype("float32")
    grown = np.asarray(BilinearUpsampling(4)(x))[0, 5, :, 0]
    np.testing.assert_allclose(grown, np.clip((np.arange(24) + 0.5) / 4, 0.5, 5.5), rtol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_nearest_layer(factor, tmp_path):
    check_layer(NearestUpsampling(factor), (4, 3, 2), tmp_path)


def test_nearest_repeats_every_pixel():
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype("float32")
    expected = np.kron(x, np.ones((1, 2, 2, 1), "float32"))
    np.testing.assert_array_equal(NearestUpsampling(2)(x), expected)


class TestResizeOperations:
    """The runtime's own, and the same numbers; elsewhere what training needs."""

    @pytest.mark.parametrize("factor", [2, 3, 4, 8])
    @pytest.mark.parametrize("layer", [BilinearUpsampling, NearestUpsampling])
    def test_values(self, layer, factor):
        x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
        expected = layer(factor)(x)
        with resize_operations():
            found = layer(factor)(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("layer", "operation"),
        [(BilinearUpsampling, "ResizeBilinear"), (NearestUpsampling, "ResizeNearestNeighbor")],
    )
    def test_operations(self, layer, operation):
        def operations():
            grow = tf.function(layer(2), input_signature=[tf.TensorSpec((None, 4, 3, 2))])
            return {op.type for op in grow.get_concrete_function().graph.get_operations()}

        before = operations()
        with resize_operations():
            within = operations()
        assert operation in within and operation not in before
        assert operations() == before


def test_needs_a_known_size():
    with pytest.raises(ValueError, match="needs a known height and width"):
        BilinearUpsampling(2)(keras.Input((None, 4, 3)))
