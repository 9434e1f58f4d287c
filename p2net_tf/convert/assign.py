"""Tensors of a checkpoint into the weights of a network, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from p2net_tf.convert.checkpoint import ConversionError
from p2net_tf.convert.names import published_weights

_TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
"""Kernels: of a convolution [out, in, h, w] -> [h, w, in, out], of a transposed one [in, out, h, w] ->
[h, w, out, in], of a dense layer [out, in] -> [in, out]. Both libraries correlate, so none is mirrored."""
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


def assign_tensors(network: keras.Model, tensors: Mapping[str, np.ndarray], hint: str = "") -> int:
    """Copies `tensors`, named and laid out as the published code does, and returns how many they are.

    Args:
        hint: a sentence that ends the error.

    Raises:
        ConversionError: names every tensor that is missing, unexpected or of another shape. The network is
            then as it was.
    """
    weights = published_weights(network)
    shapes = {name: _torch_shape(weight.shape) for name, weight in weights.items()}
    faults = [f"missing: {name} {list(shape)}" for name, shape in shapes.items() if name not in tensors]
    for name, tensor in tensors.items():
        if name not in shapes:
            faults.append(f"unexpected: {name} {list(tensor.shape)}")
        elif tensor.shape != shapes[name]:
            faults.append(f"wrong shape: {name} is {list(tensor.shape)}, not {list(shapes[name])}")
    if faults:
        raise ConversionError(
            "\n".join([f"tensors that do not match {network.name} ({len(faults)}):", *faults, hint]).rstrip()
        )
    for name, weight in weights.items():
        tensor = tensors[name]
        weight.assign(tensor.transpose(_TO_KERAS[tensor.ndim]))
    return len(weights)


def _torch_shape(shape) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)])
