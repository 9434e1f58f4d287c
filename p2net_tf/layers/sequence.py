"""Layers in a row, inside a layer that keeps them in a list."""

from __future__ import annotations

import inspect


def call_in_sequence(layers, x, training=None):
    """Feeds `x` through `layers`; those that behave differently in training are told."""
    for layer in layers:
        knows_training = "training" in inspect.signature(layer.call).parameters
        x = layer(x, training=training) if knows_training else layer(x)
    return x
