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
    yield
    layer._tracker.lock()


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
