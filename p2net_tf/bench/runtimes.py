"""A network in other runtimes than its own graph, for `p2net bench models`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.errors import UserError
from p2net_tf.export.lite_session import interpreter_class
from p2net_tf.export.tflite import convert

FORWARD = "forward"


def lite_measures(functions: Mapping[str, Callable], crops: np.ndarray) -> dict[tuple[str, str], Callable]:
    """`{("litert", name): function}`, each running all `crops` one by one through the converted function.

    Args:
        functions: of crops `[1, H, W, 3]` float32, by name.
        crops: `[B, H, W, 3]` float32.

    Raises:
        UserError: ai-edge-litert is not installed.
    """
    interpreter_class()

    def on_all(converted: Callable) -> Callable:
        def run() -> None:
            for crop in crops:
                converted(crops=crop[None])

        return run

    shape = (1, *crops.shape[1:])
    return {("litert", name): on_all(lite_function(each, shape)) for name, each in functions.items()}


def lite_function(function: Callable, shape: tuple[int, ...]) -> Callable[..., dict[str, np.ndarray]]:
    """`function` of float32 `crops` of this shape, converted to TFLite at float32 and run on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serving_default", function, [tf.TensorSpec(shape, tf.float32, name="crops")])
        archive.write_out(folder, verbose=False)
        contents = convert(folder, "float32")
    interpreter = interpreter_class()(model_content=contents, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner()


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
        first = str(error).strip().splitlines()[-1]
        raise UserError(
            f"{file}: no TorchScript file that takes crops {list(crops.shape)}: {first}; write one with "
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
