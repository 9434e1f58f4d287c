"""A run as TFLite files for phones and small boards: from a uint8 crop to keypoints and scores.

JPEG decoding and the affine crop have no TFLite ops, so the caller cuts the crop (`export/tflite/` shows
how); the flip pass and the decoding of the heatmaps are inside. No Flex ops: they would fail the conversion.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.samples import Samples
from p2net_tf.export.calibration import crops_of
from p2net_tf.export.graph import PoseGraph
from p2net_tf.export.model_card import model_card, write_card
from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import Exif, ExportOptions, Precision
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import DECODE_SCOPE
from p2net_tf.layers.resampling import resize_operations
from p2net_tf.models import PoseNetwork
from p2net_tf.utils.compat import lite_operations
from p2net_tf.utils.console import track
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import newest_version, next_version, write_bytes

PRECISIONS = ("float32", "float16", "int8")
CALIBRATION_CROPS = 200

_LAST_LAYERS = re.compile(r"refine_net[^/]*/(gather[^/]*/(expand|project|add|Relu)|head)")
"""Names of the layers behind the last 3x3 convolution of the RefineNet, which int8 leaves alone.

They make its largest sum and the heatmaps, for which 256 steps are too few: on the 1000 people of LSP PCK is
0.7677 in float32, 0.7423 all in eight bits, 0.7654 with these in float, 0.7696 with the whole bottleneck.
"""


def export_tflite(
    network: keras.Model,
    card: InferenceCard,
    out: str | Path,
    options: ExportOptions | None = None,
    calibration: Sequence[Samples] = (),
    facts: dict | None = None,
) -> Path:
    """Writes one file per precision, `NAME_<precision>.tflite`, into the next version `out/N`; returns that.

    Args:
        calibration: people whose crops int8 is calibrated on; without any there is no int8.
        facts: more to say in `model_card.json`.

    Raises:
        UserError: the options ask for a network in bfloat16.
    """
    options = options or ExportOptions()
    if options.precision is not Precision.float32:
        raise UserError(f"precision {options.precision.value} is for SavedModels; TFLite has its own three")
    if isinstance(network, PoseNetwork):
        # The converter folds them only where nothing stands in between, as an upsampling may.
        options = replace(options, fold_batch_norm=True)
    graph = PoseGraph(network_to_export(network, options), card, options.exif is Exif.upright)
    crops = list(crops_of(calibration, card))
    quantization = Quantization("crops", _batches(crops, options.batch), DECODE_SCOPE, _LAST_LAYERS)
    precisions = PRECISIONS if crops else tuple(name for name in PRECISIONS if name != "int8")
    with next_version(out) as scratch, tempfile.TemporaryDirectory() as source:
        spec = _write_crops_model(graph, source, options.batch)
        for precision in track(precisions, "converting to TFLite"):
            contents = convert(source, precision, quantization)
            write_bytes(scratch / f"{card.name}_{precision}.tflite", contents)
        signature = {spec.name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}}
        told = {"format": "tflite", "signatures": {"crops": signature}, "calibration_crops": len(crops)}
        write_card(model_card(card, options, **told, **(facts or {})), scratch)
    return newest_version(out)


@dataclass(frozen=True)
class Quantization:
    """What int8 is calibrated on, and what it leaves in float32.

    Attributes:
        input_name: of the one input.
        inputs: arrays that it takes.
        decode_scope: name scope of what turns the outputs of the last layers into an answer.
        also: names of other operations.
        operations: kinds of operations. One with two results is not found by their names.
    """

    input_name: str
    inputs: Sequence[np.ndarray]
    decode_scope: str
    also: re.Pattern | None = None
    operations: Sequence[str] = ("TOPK_V2",)


def convert(saved_model: str | Path, precision: str, quantization: Quantization | None = None) -> bytes:
    """The TFLite file of a SavedModel that has one signature.

    Args:
        precision: `float32`; `float16`, weights of half the size, computed in float32 where the device has no
            half; `int8`, weights and activations of the network but for its last layers (`_in_float32`).
        quantization: of `int8`.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # As Keras' own `model.export(format="litert")` does: the weights are resource variables.
    converter.experimental_enable_resource_variables = True
    if precision == "float32":
        return converter.convert()
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    return _convert_to_int8(converter, quantization, _in_float32(converter.convert(), quantization))


def _batches(crops: Sequence[np.ndarray], batch: int) -> list[np.ndarray]:
    """`[batch, H, W, 3]` each; the last one is filled up with the first crops."""
    batches = [np.stack([*crops[i : i + batch], *crops[:batch]][:batch]) for i in range(0, len(crops), batch)]
    return [np.resize(part, (batch, *part.shape[1:])) for part in batches]  # of fewer crops than a batch


def _convert_to_int8(converter, quantization: Quantization, in_float32: list[str]) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({quantization.input_name: x} for x in quantization.inputs)
    # The converter alone quantizes all or nothing; this is TensorFlow's public way to leave ops out.
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=in_float32, denylisted_ops=list(quantization.operations)
    )
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def _in_float32(model: bytes, quantization: Quantization) -> list[str]:
    """The results of a float file's ops that int8 leaves alone.

    What decodes the heatmaps: 256 steps over a crop are no position, and equal heights no peak.
    """
    interpreter = tf.lite.Interpreter(model_content=model)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    decoded, left = set(), []
    # In the order of execution, so what reads a decoded value comes behind it.
    for operation in lite_operations(interpreter):
        results = [index for index in operation["outputs"] if index in names]
        in_scope = any(quantization.decode_scope in names[index] for index in results)
        if in_scope or decoded.intersection(operation["inputs"]):
            decoded.update(results)
            left += [names[index] for index in results]
        elif quantization.also is not None:
            left += [names[index] for index in results if quantization.also.search(names[index])]
    return left


def write_one_signature(function: Callable, spec: tf.TensorSpec, folder: str | Path) -> None:
    """A SavedModel of `function` alone, which is not traced yet, in the operations that LiteRT does best."""
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", function, [spec])
    with resize_operations():  # it is traced when it is written
        archive.write_out(str(folder), verbose=False)


def _write_crops_model(graph: PoseGraph, folder: str, batch: int) -> tf.TensorSpec:
    """The signature `crops` on `batch` crops; returns its input."""
    _, (spec,) = graph.signatures["crops"]
    spec = tf.TensorSpec((batch, *spec.shape[1:]), spec.dtype, name=spec.name)
    write_one_signature(graph.locate, spec, folder)
    return spec
