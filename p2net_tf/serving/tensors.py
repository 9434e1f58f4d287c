"""`TensorProto` -> arrays, for requests that nobody has checked.

`tf.make_ndarray` believes a proto: one value and a shape of 2^31 elements make it allocate 2^31 elements. So
everything is held against the signature and counted before any array is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from p2net_tf.serving.signatures import Signature, TensorSpec
from p2net_tf.serving.status import Code, RequestError, invalid

LARGEST_TENSOR = 1 << 27
"""Elements of one input. More cannot arrive in a message, but a repeated value could ask for it."""
_INTEGERS = (tf.int32, tf.int16, tf.int8, tf.uint8, tf.uint16)
_VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
    tf.float16: "half_val",
    tf.bfloat16: "half_val",
    **dict.fromkeys(_INTEGERS, "int_val"),
}
_ALL_FIELDS = (*dict.fromkeys(_VALUE_FIELDS.values()), "scomplex_val", "dcomplex_val",
               "resource_handle_val", "variant_val", "float8_val")  # fmt: skip


def arrays_of_protos(
    signature: Signature, protos: Mapping[str, tensor_pb2.TensorProto], largest_rows: int
) -> dict[str, np.ndarray]:
    """Input name -> array (strings as objects), each exactly as the signature wants it.

    Args:
        largest_rows: rows that an open first dimension may have.

    Raises:
        RequestError: INVALID_ARGUMENT with the name of the input and what is wrong with it.
    """
    check_names(signature, protos)
    arrays = {name: _array(spec, protos[name], largest_rows) for name, spec in signature.inputs.items()}
    check_rows(signature, arrays)
    return arrays


def check_names(signature: Signature, given) -> None:
    """Raises unless exactly the inputs of the signature are there."""
    missing = sorted(signature.inputs.keys() - set(given))
    extra = sorted(set(given) - signature.inputs.keys())
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    if extra:
        problems.append(f"not known: {', '.join(name[:80] for name in extra[:8])}")
    if problems:
        wanted = ", ".join(f"{name} {spec}" for name, spec in signature.inputs.items())
        raise invalid(f"inputs of '{signature.name}' are {wanted}; {'; '.join(problems)}")


def check_shape(spec: TensorSpec, shape: tuple[int, ...], largest_rows: int) -> None:
    """Raises unless the input `spec` takes `shape`, and it is not too large."""
    if not spec.accepts(shape):
        raise invalid(f"input '{spec.name}' is {spec}, the request has the shape {list(shape)}")
    if spec.has_rows and shape[0] > largest_rows:
        raise invalid(f"input '{spec.name}' has {shape[0]} rows; this server takes up to {largest_rows}")
    if math.prod(shape) > LARGEST_TENSOR:
        raise invalid(f"input '{spec.name}' has {math.prod(shape)} elements, more than {LARGEST_TENSOR}")


def check_rows(signature: Signature, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises where a batchable signature gets inputs of different numbers of rows."""
    rows = {name: len(array) for name, array in arrays.items()} if signature.batchable else {}
    if len(set(rows.values())) > 1:
        words = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise invalid(f"inputs of '{signature.name}' must have the same number of rows: {words}")


def _array(spec: TensorSpec, proto: tensor_pb2.TensorProto, largest_rows: int) -> np.ndarray:
    if proto.dtype != spec.dtype.as_datatype_enum:
        raise invalid(f"input '{spec.name}' is {spec}, the request has {_dtype_name(proto.dtype)}")
    shape = _shape(spec, proto)
    check_shape(spec, shape, largest_rows)
    field = _only_field(spec, proto)
    count = math.prod(shape)
    if field == "tensor_content":
        return _from_content(spec, proto.tensor_content, shape, count)
    given = len(getattr(proto, field))
    # A single value may stand for all, as TensorFlow writes constants; a string would be copied each time.
    if given != count and not (given == 1 and count > 0 and spec.dtype != tf.string):
        raise invalid(
            f"input '{spec.name}' of shape {list(shape)} has {given} values in {field}, not {count}"
        )
    if spec.dtype == tf.string:
        return object_array(list(proto.string_val), shape)
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"input '{spec.name}': {field} does not hold {spec.dtype.name} ({error})") from None


def object_array(values: list, shape: tuple[int, ...]) -> np.ndarray:
    """Byte strings as an array of objects: NumPy's own strings would lose trailing zeros."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _from_content(spec: TensorSpec, content: bytes, shape: tuple[int, ...], count: int) -> np.ndarray:
    if spec.dtype == tf.string:
        raise invalid(f"input '{spec.name}': strings belong into string_val, not into tensor_content")
    size = count * spec.dtype.size
    if len(content) != size:
        raise invalid(
            f"input '{spec.name}' of shape {list(shape)} needs {size} bytes of tensor_content, "
            f"not {len(content)}"
        )
    return np.frombuffer(content, spec.dtype.as_numpy_dtype).reshape(shape)


def _shape(spec: TensorSpec, proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"input '{spec.name}' is {spec}, the request has a shape of unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise invalid(f"input '{spec.name}' has a negative size in its shape {list(shape[:8])}")
    return shape


def _only_field(spec: TensorSpec, proto: tensor_pb2.TensorProto) -> str:
    """The one field that holds the values."""
    wanted = _VALUE_FIELDS.get(spec.dtype)
    if wanted is None:
        raise RequestError(Code.UNIMPLEMENTED, f"input '{spec.name}' is {spec}; this server cannot read that")
    used = [name for name in _ALL_FIELDS if hasattr(proto, name) and len(getattr(proto, name))]
    if proto.tensor_content:
        used.append("tensor_content")
    wrong = [name for name in used if name not in (wanted, "tensor_content")]
    if wrong:
        raise invalid(
            f"input '{spec.name}' is {spec}: its values belong into {wanted}, not {', '.join(wrong)}"
        )
    if len(used) > 1:
        raise invalid(f"input '{spec.name}' has values both in {wanted} and in tensor_content")
    return used[0] if used else wanted


def _dtype_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"no dtype (DataType {number})"
