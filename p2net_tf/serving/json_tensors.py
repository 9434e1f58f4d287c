"""JSON <-> arrays, in the row ("instances") and the columnar ("inputs") form of TensorFlow Serving's REST.

| form | request | answer |
|---|---|---|
| row | `{"instances": [{"image_bytes": {"b64": ...}, "boxes": [x, ...]}, ...]}` | `{"predictions": [...]}` |
| columnar | `{"inputs": {"image_bytes": [{"b64": ...}], "boxes": [[x, y, w, h]]}}` | `{"outputs": {...}}` |

Where there is one input its value may stand without a name; where there is one output it does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from p2net_tf.serving.signatures import Signature, TensorSpec
from p2net_tf.serving.status import invalid
from p2net_tf.serving.tensors import check_names, check_rows, check_shape, object_array

ROW, COLUMNAR = "instances", "inputs"

_NO_SPACE = dict.fromkeys(map(ord, " \t\n\v\f\r"))


def parse_body(body: bytes) -> tuple[str, str, Any]:
    """`(name of the signature, form, value)` of a request.

    Raises:
        RequestError: INVALID_ARGUMENT: no JSON, or not of one of the two forms.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {_short(error)}") from None
    if not isinstance(document, dict):
        raise invalid(f"the body must be a JSON object, not a {_kind(document)}")
    forms = [form for form in (ROW, COLUMNAR) if form in document]
    if len(forms) != 1:
        raise invalid(f"the body must have one of the keys '{ROW}' and '{COLUMNAR}', and not both")
    signature = document.get("signature_name", "serving_default")
    if not isinstance(signature, str):
        raise invalid(f"'signature_name' must be a string, not a {_kind(signature)}")
    return signature, forms[0], document[forms[0]]


def arrays_of_json(signature: Signature, form: str, value: Any, largest_rows: int) -> dict[str, np.ndarray]:
    """Input name -> array, each exactly as the signature wants it; as `tensors.arrays_of_protos`.

    Raises:
        RequestError: INVALID_ARGUMENT with the name of the input and what is wrong with it.
    """
    columns = _columns_of_rows(signature, value) if form == ROW else _named(signature, value)
    arrays = {name: _array(spec, columns[name], largest_rows) for name, spec in signature.inputs.items()}
    check_rows(signature, arrays)
    return arrays


def body_of_arrays(form: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer, in the form of the request."""
    values = {name: _plain(array) for name, array in outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    if form == COLUMNAR:
        return _dump({"outputs": values if only is None else only})
    if only is not None:
        return _dump({"predictions": only})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _dump({"predictions": rows})


def _columns_of_rows(signature: Signature, instances: Any) -> dict[str, list]:
    if not isinstance(instances, list) or not instances:
        raise invalid(f"'{ROW}' must be a list with at least one row")
    rigid = [f"{name} {spec}" for name, spec in signature.inputs.items() if not spec.has_rows]
    if rigid:
        raise invalid(
            f"'{signature.name}' takes one request, not rows of them ({', '.join(rigid)}); "
            f"send it as '{COLUMNAR}'"
        )
    rows = [_named(signature, row, whole=False) for row in instances]
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _named(signature: Signature, value: Any, whole: bool = True) -> dict[str, Any]:
    """Input name -> value; a single input may come without its name."""
    names = list(signature.inputs)
    if len(names) == 1 and not (isinstance(value, dict) and names[0] in value):
        if isinstance(value, dict) and value.keys() != {"b64"}:
            check_names(signature, value)
        return {names[0]: value}
    if not isinstance(value, dict):
        place = f"'{COLUMNAR}'" if whole else f"each row of '{ROW}'"
        raise invalid(f"{place} must be an object with the inputs {', '.join(names)}, not a {_kind(value)}")
    check_names(signature, value)
    return value


def _array(spec: TensorSpec, value: Any, largest_rows: int) -> np.ndarray:
    leaves, shape = _flatten(spec, value)
    check_shape(spec, shape, largest_rows)
    if spec.dtype == tf.string:
        return object_array([_bytes(spec, leaf) for leaf in leaves], shape)
    # A bool is an int for Python.
    kinds = {bool} if spec.dtype == tf.bool else {int, float} if spec.dtype.is_floating else {int}
    wrong = [leaf for leaf in leaves if type(leaf) not in kinds]
    if wrong:
        raise invalid(f"input '{spec.name}' is {spec}, the request has a {_kind(wrong[0])} in it")
    try:
        return np.array(leaves, spec.dtype.as_numpy_dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise invalid(f"input '{spec.name}' is {spec}: {_short(error)}") from None


def _flatten(spec: TensorSpec, value: Any) -> tuple[list, tuple[int, ...]]:
    """Leaves and shape of nested lists, which must be regular and not deeper than the input is."""
    deepest = len(spec.shape) if spec.shape is not None else 8
    leaves, shape = [value], []
    while leaves and all(type(leaf) is list for leaf in leaves) and len(shape) <= deepest:
        sizes = {len(leaf) for leaf in leaves}
        if len(sizes) > 1:
            raise invalid(f"input '{spec.name}': lists of {min(sizes)} and {max(sizes)} values side by side")
        shape.append(sizes.pop())
        leaves = [item for leaf in leaves for item in leaf]
    if any(type(leaf) is list for leaf in leaves) and len(shape) <= deepest:
        raise invalid(f"input '{spec.name}': lists and values side by side")
    # An empty list says nothing about the sizes behind it.
    if not leaves and spec.shape is not None and len(shape) < len(spec.shape):
        shape += [size or 0 for size in spec.shape[len(shape) :]]
    return leaves, tuple(shape)


def _bytes(spec: TensorSpec, leaf: Any) -> bytes:
    if isinstance(leaf, str):
        try:
            return leaf.encode("utf-8")
        except UnicodeEncodeError as error:
            raise invalid(f"input '{spec.name}': a string is not UTF-8 ({error.reason})") from None
    if not isinstance(leaf, dict) or leaf.keys() != {"b64"} or not isinstance(leaf["b64"], str):
        raise invalid(f"input '{spec.name}': bytes are an object with 'b64' alone, not a {_kind(leaf)}")
    try:
        return decode_base64(leaf["b64"])
    except ValueError as error:
        raise invalid(f"input '{spec.name}': not base64 ({_short(error)})") from None


def decode_base64(text: str) -> bytes:
    """The bytes of base64 as TensorFlow Serving takes it, by `absl::Base64Unescape`.

    White space anywhere is skipped, as encoders break their lines; padding may be left out, but is right
    where it is given.

    Raises:
        ValueError: another character, or a length that base64 does not have.
    """
    digits = text.translate(_NO_SPACE)
    body = digits.rstrip("=")
    missing, given = -len(body) % 4, len(digits) - len(body)
    if missing == 3:
        raise ValueError(f"{len(body)} characters leave 6 bits of a byte over")
    if given not in (0, missing):
        raise ValueError(f"{given} '=' at the end, where {missing} belong")
    return base64.b64decode(body + "=" * missing, validate=True)


def _plain(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    flat = np.empty(array.size, object)
    flat[:] = [{"b64": base64.b64encode(item).decode("ascii")} for item in array.reshape(-1)]
    return flat.reshape(array.shape).tolist()


def _dump(document: dict) -> bytes:
    return json.dumps(document).encode("utf-8")


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _short(error: Exception) -> str:
    return str(error)[:200]
