"""Parameters and multiply-adds of a network, in total and per sub-network."""

from __future__ import annotations

import math

import keras

from p2net_tf.layers.compat import sublayers
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT

_COUNTED = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)


def count_parameters(layer) -> int:
    """Trainable weights: what papers count, without the moving statistics."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def count_multiply_adds(model: keras.Model) -> dict[str, int]:
    """Multiply-adds of convolutions and dense layers for one crop, by the name of the top-level layer.

    Taken from the shapes that layers were built for, without a forward pass; so a layer that is called in
    several places counts once. None of the project's networks has one. A layer that does with fewer, at
    another resolution than it was built for, tells how many it spares.
    """
    return {layer.name: _multiply_adds(layer) for layer in model.layers}


def _multiply_adds(layer) -> int:
    total = sum(_positions(inner) * math.prod(inner.kernel.shape) for inner in _counted_layers(layer))
    return total - sum(getattr(inner, "spared_multiply_adds", 0) for inner in sublayers(layer))


def published_gflops(model: keras.Model) -> float:
    """Cost of a prediction as tables of papers have it since HRNet's, counted by its `modelsummary.py`.

    In units of 1024 ** 3 multiply-adds, and with one per weight of a transposed convolution and position of
    its *output*, which is four times what it costs. Heatmaps on the way that the prediction does not need
    are left out, and nothing is spared: the published code convolves what it has concatenated.
    """
    layers = _counted_layers(keras.Model(model.inputs, model.output[HEATMAPS_OUTPUT]))
    return sum(math.prod(layer.kernel.shape) * _output_positions(layer) for layer in layers) / 1024**3


def summarize(model: keras.Model) -> dict:
    """`{output_shapes, parameters, multiply_adds, published_gflops, sub_networks}`.

    Output shapes are `[h, w, K]`, without the batch axis; `sub_networks` has parameters and multiply-adds by
    name; for `published_gflops` see there.
    """
    multiply_adds = count_multiply_adds(model)
    shapes = model.compute_output_shape(model.input_shape)
    parts = {
        layer.name: {"parameters": count_parameters(layer), "multiply_adds": multiply_adds[layer.name]}
        for layer in model.layers
        if layer.weights
    }
    return {
        "output_shapes": {name: list(shape[1:]) for name, shape in shapes.items()},
        "parameters": count_parameters(model),
        "multiply_adds": sum(multiply_adds.values()),
        "published_gflops": published_gflops(model),
        "sub_networks": parts,
    }


def _counted_layers(layer) -> list[keras.layers.Layer]:
    return [inner for inner in sublayers(layer) if isinstance(inner, _COUNTED)]


def _positions(layer) -> int:
    """How often each weight of the kernel is used: once for every output position, but for every input
    position in a transposed convolution."""
    positions = _output_positions(layer)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        positions //= math.prod(layer.strides)
    return positions


def _output_positions(layer) -> int:
    built_for = layer.get_build_config()["input_shape"]
    return math.prod(layer.compute_output_shape(built_for)[1:-1])
