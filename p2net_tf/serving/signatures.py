"""Signatures of a SavedModel: names, dtypes and shapes of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from p2net_tf.serving.status import ServingError

_INITIALIZER = "__saved_model_init_op"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; `shape` has None where any size will do, and is None where any rank will do."""

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        shape = "?" if self.shape is None else ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype.name} [{shape}]"

    def accepts(self, shape: tuple[int, ...]) -> bool:
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape, strict=True)
        )

    @property
    def has_rows(self) -> bool:
        """Its first dimension is open."""
        return bool(self.shape) and self.shape[0] is None


@dataclass(frozen=True)
class Signature:
    """A named function of the model."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def batchable(self) -> bool:
        """Every tensor has an open first dimension, so that requests can be laid one after the other."""
        return all(spec.has_rows for part in (self.inputs, self.outputs) for spec in part.values())


def read_signatures(folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Name -> `SignatureDef` of the SavedModel in `folder`, for serving.

    Raises:
        ServingError: there is none, or it cannot be read.
    """
    file = folder / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except FileNotFoundError:
        raise ServingError(f"{file}: not found; write a model with `p2net export`") from None
    except (OSError, DecodeError) as error:
        raise ServingError(f"{file}: is no SavedModel ({error})") from None
    for graph in model.meta_graphs:
        if tf.saved_model.SERVING in graph.meta_info_def.tags:
            found = {name: graph.signature_def[name] for name in sorted(graph.signature_def)}
            found.pop(_INITIALIZER, None)
            return found
    raise ServingError(f"{file}: has no graph with the tag '{tf.saved_model.SERVING}'")


def parse_signature(name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
    return Signature(name, _specs(definition.inputs), _specs(definition.outputs))


def _specs(tensors) -> dict[str, TensorSpec]:
    return {name: _spec(name, tensors[name]) for name in sorted(tensors)}


def _spec(name: str, info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(name, tf.dtypes.as_dtype(info.dtype), shape)
