"""BilinearUpsampling: the shared checks, `tf.image.resize`, and a ramp."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_layer

from p2net_tf.layers import BilinearUpsampling


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


def test_needs_a_known_size():
    with pytest.raises(ValueError, match="needs a known height and width"):
        BilinearUpsampling(2)(keras.Input((None, 4, 3)))
