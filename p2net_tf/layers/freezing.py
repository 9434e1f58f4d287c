"""Which parts of a layer are frozen, kept in its configuration.

Keras writes the `trainable` of the layers that a configuration lists. Layers of this package, and networks,
are written by their arguments, and what lies inside of them is made anew: without this it would come back
trainable, with batch normalizations that learn statistics again.
"""

from __future__ import annotations

import keras

from p2net_tf.layers.compat import BuildHook, TrainableHook, set_own_trainable, sublayers

FROZEN = "frozen"
"""Field of a configuration: places of the frozen ones among `sublayers`."""


def frozen_places(layer: keras.layers.Layer) -> list[int]:
    """Places of the frozen layers among `sublayers(layer)`, `layer` itself included."""
    return [place for place, part in enumerate(sublayers(layer)) if not part.trainable]


def freeze_places(layer: keras.layers.Layer, places: list[int]) -> None:
    """Freezes what `frozen_places` gave, and nothing else."""
    frozen = set(places)
    for place, part in enumerate(sublayers(layer)):
        set_own_trainable(part, place not in frozen)


class FreezableLayer(TrainableHook, BuildHook):
    """A layer of layers whose frozen parts are in its configuration, so that files and clones keep them."""

    _places = None

    def get_config(self):
        config = super().get_config()
        places = frozen_places(self)
        whole = len(places) in (0, len(sublayers(self)))
        return config if whole else {**config, FROZEN: places}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        places = config.pop(FROZEN, None)
        layer = cls(**config)
        if not layer.trainable or places is not None:
            layer._places = places or "all"
        return layer

    def after_build(self):
        super().after_build()
        if self._places == "all":
            self.trainable = False
        elif self._places is not None:
            freeze_places(self, self._places)
        self._places = None
