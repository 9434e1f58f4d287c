"""What layers and models need of Keras that is private to it. Above them: `p2net_tf/utils/compat.py`.

A release may rename any of it. `tests/layers/test_compat.py` has a test per name, which says what it is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """`layer` and all layers in it, also those of a layer that is no model; `Model.layers` ends there."""
    return list(layer._flatten_layers())


@contextmanager
def unlocked(layer: keras.layers.Layer) -> Iterator[None]:
    """While open, a built layer takes sub-layers in place of its own, as in Keras' own `quantize`."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def set_own_trainable(layer: keras.layers.Layer, value: bool) -> None:
    """Of `layer` and its own weights, but not of the layers in it."""
    layer._trainable = bool(value)
    for variable in layer._trainable_variables:
        variable.trainable = bool(value)


class TrainableHook:
    """Before a Keras class among the bases: `trainable = True` reaches all layers inside.

    On TensorFlow Keras skips an assignment of the value that is there already. A model of which one layer was
    frozen says of itself that it is trainable, so it could not be unfrozen as a whole.
    """

    def __setattr__(self, name, value):
        if name != "trainable":
            super().__setattr__(name, value)
            return
        for layer in sublayers(self):
            set_own_trainable(layer, value)


class BuildHook(keras.layers.Layer):
    """A layer that is told when it has been built, by whomever."""

    def _post_build(self):
        super()._post_build()
        self.after_build()

    def after_build(self) -> None:
        """All variables and sub-layers are there, also those that `build` makes."""


class MomentsHook(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` whose batch statistics a sub-class may compute."""

    def _moments(self, inputs, mask):
        return self.moments(inputs, mask)

    def moments(self, inputs, mask):
        """Mean and variance `[C]` of `inputs [B, ..., C]`, masked by `mask` where there is one."""
        return super()._moments(inputs, mask)
