"""What is private to Keras' layers still does what it is taken for. One test per name."""

import keras
import numpy as np
import pytest
from keras import ops

from p2net_tf.layers import ConvNorm
from p2net_tf.layers.compat import (
    BuildHook,
    MomentsHook,
    TrainableHook,
    set_own_trainable,
    sublayers,
    unlocked,
)


def test_sublayers():
    """To fold, count or calibrate every convolution: `Model.layers` does not see into a layer."""
    inputs = keras.Input((8, 8, 3))
    block = ConvNorm(4, name="block")
    model = keras.Model(inputs, block(inputs))
    assert block.conv not in model.layers
    found = sublayers(model)
    assert {id(layer) for layer in (model, block, block.conv, block.norm)} <= {id(layer) for layer in found}
    assert len(found) == len({id(layer) for layer in found})


def test_unlocked():
    """To fold a normalization into its convolution, which then has a bias."""
    layer = ConvNorm(4)
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.conv = keras.layers.Conv2D(4, 3)
    conv = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros", bias_initializer="ones")
    conv.build((None, 8, 8, 3))
    with unlocked(layer):
        layer.conv = conv
    assert layer.conv is conv
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.conv = keras.layers.Conv2D(4, 3)


class TestMomentsHook:
    """Keras stops a gradient in its batch statistics that a gradient of a gradient needs."""

    INPUTS = np.array([[1.0], [5.0]], "float32")

    def test_is_what_a_batch_is_normalized_with(self):
        class Fixed(MomentsHook):
            def moments(self, inputs, mask):
                return ops.array([1.0]), ops.array([4.0])

        layer = Fixed(epsilon=1e-12, momentum=0.75)
        outputs = ops.convert_to_numpy(layer(self.INPUTS, training=True))
        np.testing.assert_allclose(outputs, [[0.0], [2.0]], rtol=1e-6)
        assert float(layer.moving_mean[0]) == pytest.approx(0.25 * 1.0)

    def test_by_default_is_keras(self):
        layer = MomentsHook()
        layer.build((None, 1))
        mean, variance = layer.moments(ops.array(self.INPUTS), None)
        assert (float(mean[0]), float(variance[0])) == (3.0, 4.0)


def test_build_hook():
    """To freeze again what a file says is frozen, also layers that `build` makes."""
    seen = []

    class Told(BuildHook):
        def build(self, input_shape):
            self.inner = keras.layers.Dense(2)
            self.inner.build(input_shape)

        def call(self, inputs):
            return self.inner(inputs)

        def after_build(self):
            seen.append(self.inner.built)

    Told()(np.zeros((1, 3), "float32"))
    assert seen == [True]


def test_own_trainable():
    """To restore the flags of layers one by one, whatever lies inside of them."""
    block = ConvNorm(4)
    block.build((None, 8, 8, 3))
    set_own_trainable(block.norm, False)
    set_own_trainable(block, False)
    assert (block.trainable, block.norm.trainable, block.conv.trainable) == (False, False, True)
    frozen = [weight.name for weight in block.weights if not weight.trainable]
    assert sorted(frozen) == ["beta", "gamma", "moving_mean", "moving_variance"]


def test_trainable_hook():
    """To unfreeze a model of which one layer was frozen; Keras on TensorFlow sees no change in `True`."""

    class Reaches(TrainableHook, keras.Sequential):
        pass

    for kind, expected in {keras.Sequential: [False, True], Reaches: [True, True]}.items():
        model = kind([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
        model.layers[0].trainable = False
        model.trainable = True
        assert [layer.trainable for layer in model.layers] == expected
