"""A network in other runtimes than its own graph, for `p2net bench models`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.export.lite_session import load_interpreter_class
from p2net_tf.utils.exceptions import UserError
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


def torch_measures(
    file: str | Path, crops: np.ndarray, training_name: str | None
) -> dict[tuple[str, str], Callable]:
    """Forward pass and training step of a TorchScript file: `torch.jit.trace(model, crops).save(FILE)`.

    The step is forward and backward pass for the plain mean of the squared heatmaps, and Adam.

    Args:
        crops: `[B, 3, H, W]` float32.
        training_name: what the step is called; None leaves it out.

    Raises:
        UserError: PyTorch is not installed, or cannot load the file or run it on such crops.
    """
    try:
        import torch
    except ImportError:
        raise UserError("measuring PyTorch originals needs torch: pip install 'p2net_tf[torch]'") from None
    try:
        module = torch.jit.load(str(file), map_location="cpu")
        images = torch.from_numpy(crops)
        with torch.inference_mode():
            module.eval()(images)
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(
            f"{file}: no TorchScript file that takes crops {list(crops.shape)}: {reason}; write one with "
            "torch.jit.trace(model, crops).save(FILE)"
        ) from None
    torch.set_num_threads(os.cpu_count() or 1)

    def forward() -> None:
        with torch.inference_mode():
            module.eval()(images)

    measures = {("torch", FORWARD): forward}
    if training_name:
        measures["torch", training_name] = _torch_step(torch, module, images)
    return measures


def _torch_step(torch, module, images) -> Callable:
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> float:
        module.train()
        optimizer.zero_grad()
        loss = module(images).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
