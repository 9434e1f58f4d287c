"""A network in other runtimes than its own graph, for `p2net bench models`."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from p2net_tf.export.lite_session import load_interpreter_class
from p2net_tf.utils.quiet import held_back_stderr

FORWARD = "forward"


def lite_measures(
    forward: Callable, decode: Callable, crops: np.ndarray, decoded_name: str
) -> dict[tuple[str, str], Callable]:
    """Forward pass, and forward pass and decoding, of all `crops` one by one in LiteRT.

    The two parts are converted apart, since a network is long in converting; the heatmaps go from one to the
    other by numpy.

    Args:
        forward: crops `[1, H, W, 3]` float32 -> heatmaps.
        decode: heatmaps -> keypoints and scores.
        crops: `[B, H, W, 3]` float32.
        decoded_name: what both parts together are called.

    Raises:
        UserError: ai-edge-litert is not installed.
    """
    network = lite_function(forward, (1, *crops.shape[1:]))
    heatmaps = network(crops[:1])[0]
    decoder = lite_function(decode, heatmaps.shape)

    def run_network() -> None:
        for crop in crops:
            network(crop[None])

    def run_both() -> None:
        for crop in crops:
            decoder(network(crop[None])[0])

    return {("litert", FORWARD): run_network, ("litert", decoded_name): run_both}


def lite_function(function: Callable, shape: tuple[int, ...]) -> Callable[[np.ndarray], list[np.ndarray]]:
    """`function` of a float32 tensor of this shape, converted to TFLite at float32 and run on all cores.

    Raises:
        UserError: ai-edge-litert is not installed.
    """
    interpreter_class = load_interpreter_class()
    graph = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    with held_back_stderr():
        # Not by way of a SavedModel, as an export goes: it takes a large network half a minute to be written.
        contents = tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert()
        interpreter = interpreter_class(model_content=contents, num_threads=os.cpu_count())
        interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    results = [result["index"] for result in interpreter.get_output_details()]

    def run(values: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(given["index"], values)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in results]

    return run
