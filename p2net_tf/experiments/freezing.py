"""Layers that a training leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from p2net_tf.utils.yaml_files import ConfigError


def freeze(names: Sequence[str], network: keras.Model) -> None:
    """Takes the layers of `training.freeze`, with their batch statistics, out of the training of `network`.

    Raises:
        ConfigError: it has no such layer.
    """
    parts = {layer.name: layer for layer in network.layers if layer.weights}
    backbone = getattr(network, "backbone", None)
    if backbone is not None:
        parts["backbone"] = backbone
    for name in names:
        if name not in parts:
            raise ConfigError(
                f"training.freeze: there is no layer '{name}' with weights; there are {', '.join(parts)}"
            )
        parts[name].trainable = False
