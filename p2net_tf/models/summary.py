"""Parameters and multiply-adds of a network, in total and per sub-network."""

from __future__ import annotations

import math
from contextlib import contextmanager

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

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

    Found by one forward pass that notes what shape leaves every such layer, so it holds for any composition
    of layers and on any backend.
    """
    with _noted_outputs(model) as outputs:
        model(np.zeros((1, *model.input_shape[1:]), "float32"), training=False)
    return {
        layer.name: sum(_multiply_adds(inner, outputs[id(inner)]) for inner in _counted_layers(layer))
        for layer in model.layers
    }


def summarize(model: keras.Model) -> dict:
    """`{output_shapes, parameters, multiply_adds, sub_networks: {name: {parameters, multiply_adds}}}`.

    Output shapes are `[h, w, K]`, without the batch axis.
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
        "sub_networks": parts,
    }


def print_summary(summary: dict, console: Console) -> None:
    """Prints what `summarize` returns as a table."""
    table = Table("", "parameters", "multiply-adds")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in summary["sub_networks"].items():
        table.add_row(name, f"{part['parameters']:,}", f"{part['multiply_adds']:,}")
    table.add_section()
    table.add_row("total", f"{summary['parameters']:,}", f"{summary['multiply_adds']:,}")
    console.print(table)
    for name, shape in summary["output_shapes"].items():
        console.print(f"{name}: {' x '.join(map(str, shape))}")


def _counted_layers(layer) -> list[keras.layers.Layer]:
    return [inner for inner in layer._flatten_layers() if isinstance(inner, _COUNTED)]


@contextmanager
def _noted_outputs(model):
    """While open, the shapes that leave each counted layer are appended under its id."""
    shapes: dict[int, list[tuple]] = {}

    def noting(layer, original):
        def call(*args, **kwargs):
            output = original(*args, **kwargs)
            shapes.setdefault(id(layer), []).append(tuple(output.shape))
            return output

        return call

    layers = _counted_layers(model)
    for layer in layers:
        layer.__dict__["call"] = noting(layer, layer.call)
    try:
        yield shapes
    finally:
        for layer in layers:
            del layer.__dict__["call"]


def _multiply_adds(layer, output_shapes) -> int:
    """Every output position costs one multiply-add per weight of the kernel; every input position does in a
    transposed convolution."""
    positions = sum(math.prod(shape[1:-1]) for shape in output_shapes)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        positions //= math.prod(layer.strides)
    return positions * math.prod(layer.kernel.shape)
