"""Requests that no server may answer with a result, made from a seed, each with the status it deserves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

import closed_form
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
_BOX = [[1.0, 2.0, 3.0, 4.0]]
_SIGNATURES = ("batched", "serving_default", "whole_image")
_DTYPES = [tf.float64, tf.float16, tf.int32, tf.int64, tf.uint8, tf.bool, tf.string, tf.complex64]


@dataclass(frozen=True)
class Malformed:
    """A gRPC request (`PredictRequest`) or a REST one (`path`, `body`) and its status."""

    words: str
    status: object
    request: predict_pb2.PredictRequest | None = None
    path: str = ""
    body: bytes = b""


def malformed_requests(count: int, seed: int, largest: int) -> Iterator[Malformed]:
    """For gRPC; `largest` is how many bytes an image or a tensor may have."""
    dice, makers = random.Random(seed), [_bad_image, _bad_box, _bad_dtype, _bad_shape, _bad_content,
                                         _bad_values, _bad_names, _bad_spec, _bad_filter]  # fmt: skip
    for number in range(count):
        yield makers[number % len(makers)](dice, largest)


def malformed_bodies(count: int, seed: int, largest: int) -> Iterator[Malformed]:
    """For REST."""
    dice, makers = random.Random(seed), [_no_json, _bad_form, _bad_leaves, _bad_lists, _bad_base64, _bad_path]
    for number in range(count):
        yield makers[number % len(makers)](dice, largest)


def _sound(dice: random.Random) -> predict_pb2.PredictRequest:
    """A request that would be answered."""
    signature = dice.choice(_SIGNATURES)
    if signature == "whole_image":
        return closed_form.request(signature, image_bytes=[closed_form.picture()])
    image = closed_form.picture()
    return closed_form.request(
        signature, image_bytes=[image] if signature == "batched" else image, boxes=_BOX
    )


def _with_boxes(dice: random.Random) -> predict_pb2.PredictRequest:
    while "boxes" not in (request := _sound(dice)).inputs:
        pass
    return request


def _junk(dice: random.Random, largest: int) -> bytes:
    """Bytes that are no image; a few of them are as large as they may be."""
    size = largest if dice.random() < 0.05 else int(min(largest, 10 ** dice.uniform(0, 5)))
    image = closed_form.picture()
    kind = dice.randrange(5)
    if kind == 0:
        return b""
    if kind == 1:
        return image[: dice.randrange(1, len(image) - 20)]
    if kind == 2:  # a header that promises an image
        return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + dice.randbytes(size)
    if kind == 3:
        return image[:24] + dice.randbytes(size)
    return b"\x00" + dice.randbytes(size)


def _bad_image(dice, largest) -> Malformed:
    request, junk = _sound(dice), _junk(dice, largest)
    request.inputs["image_bytes"].string_val[0] = junk
    return Malformed(f"image of {len(junk)} bytes that is none", INVALID, request)


def _bad_box(dice, _) -> Malformed:
    request = _with_boxes(dice)
    box = np.array(_BOX, np.float32)
    value = dice.choice([np.nan, np.inf, -np.inf, 0.0, -1.0])
    box[0, dice.choice([2, 3]) if value <= 0 and np.isfinite(value) else dice.randrange(4)] = value
    request.inputs["boxes"].CopyFrom(tf.make_tensor_proto(box))
    return Malformed(f"box {box[0].tolist()}", INVALID, request)


def _bad_dtype(dice, _) -> Malformed:
    request = _with_boxes(dice)
    dtype = dice.choice(_DTYPES)
    proto = request.inputs["boxes"]
    if dice.random() < 0.5:
        proto.dtype = dice.choice([dtype.as_datatype_enum, 0, 100 + dtype.as_datatype_enum])
    else:
        value = [[b"1"] * 4] if dtype == tf.string else np.array(_BOX).astype(dtype.as_numpy_dtype)
        proto.CopyFrom(tf.make_tensor_proto(value, dtype))
    return Malformed(f"dtype {proto.dtype}", INVALID, request)


def _bad_shape(dice, _) -> Malformed:
    request = _with_boxes(dice)
    shapes = [[4], [], [1, 1, 4], [1, 5], [4, 1], [-1, 4], [1, -4], [2**31, 4], [2**62, 4], [2**40, 2**40],
              [1 << 16, 4], [2, 4], [0, 5], [1] * 300]  # fmt: skip
    shape = dice.choice(shapes)
    proto = request.inputs["boxes"]
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    # One value that is to be repeated for all of them; two boxes may be written so.
    if dice.random() < 0.3 and shape != [2, 4]:
        proto.tensor_content = b""
        proto.float_val.append(1.0)
    if dice.random() < 0.1:
        del proto.tensor_shape.dim[:]
        proto.tensor_shape.unknown_rank = True
    return Malformed(f"shape {shape[:4]}", INVALID, request)


def _bad_content(dice, largest) -> Malformed:
    request = _with_boxes(dice)
    proto = request.inputs[dice.choice(["boxes", "image_bytes"])]
    size = largest if dice.random() < 0.05 else dice.choice([1, 3, 12, 15, 17, 20, 4096])
    proto.ClearField("string_val")
    proto.tensor_content = bytes(size)
    return Malformed(f"{size} bytes of content", INVALID, request)


def _bad_values(dice, largest) -> Malformed:
    request = _with_boxes(dice)
    proto = request.inputs["boxes"]
    kind = dice.randrange(4)
    if kind == 0:  # both places filled
        proto.float_val.extend([1.0] * 4)
    elif kind == 1:  # the place of another dtype
        proto.int_val.extend([1] * dice.choice([1, 4]))
    elif kind == 2:
        proto.tensor_content = b""
        proto.float_val.extend([1.0] * dice.choice([2, 3, 5, 1000]))
    else:
        strings = request.inputs["image_bytes"].string_val
        strings.extend([b"\0" * min(largest, 1000)] * dice.choice([1, 50]))
    return Malformed(f"values in the wrong place or number, {kind}", INVALID, request)


def _bad_names(dice, _) -> Malformed:
    request = _sound(dice)
    name = dice.choice(["Boxes", "image", "", "x" * 10_000, "boxes\0", "\N{SNOWMAN}", "crops"])
    if dice.random() < 0.5:
        request.inputs[name].CopyFrom(tf.make_tensor_proto(1.0))
    else:
        del request.inputs["image_bytes"]
    return Malformed(f"input '{name[:20]}'", INVALID, request)


def _bad_spec(dice, _) -> Malformed:
    request = _sound(dice)
    spec = request.model_spec
    kind = dice.randrange(6)
    if kind == 0:
        request.ClearField("model_spec")
    elif kind == 1:
        spec.name = ""
    elif kind == 2:
        spec.name = dice.choice(["other", "P2Net", "p2net/1", "x" * 100_000, "../p2net"])
    elif kind == 3:
        spec.signature_name = dice.choice(
            ["predict", "Batched", "x" * 100_000, "__saved_model_init_op", "\0"]
        )
    elif kind == 4:
        spec.version.value = dice.choice([0, -1, 99, 2**63 - 1, -(2**63)])
    else:
        spec.version_label = dice.choice(["stable", "x" * 100_000, "\0"])
    return Malformed(f"model_spec, {kind}", MISSING if kind in (2, 4) else INVALID, request)


def _bad_filter(dice, _) -> Malformed:
    request = _sound(dice)
    request.output_filter.extend(dice.choice([["heatmaps"], ["scores", "scores"], [""], ["x" * 10_000]]))
    return Malformed("output_filter", INVALID, request)


def _document(dice: random.Random) -> dict:
    image = {"b64": "iVBORw0KGgo="}
    return {
        "signature_name": "batched",
        "inputs": {"image_bytes": [image], "boxes": [row[:] for row in _BOX]},
    }


def _body(words: str, document, status: int = 400, path: str = "/v1/models/p2net:predict") -> Malformed:
    body = document if isinstance(document, bytes) else json.dumps(document).encode("utf-8")
    return Malformed(words, status, path=path, body=body)


def _no_json(dice, largest) -> Malformed:
    size = largest if dice.random() < 0.05 else dice.choice([1, 100, 5000])
    texts = [
        b"", b"{", b"\xff" + dice.randbytes(size), b"[" * 100_000, b'{"inputs": ' + b"9" * 5000 + b"}",
        b" " * size, b'{"inputs": [' + b"1," * (size // 2), b"null", b'"inputs"', b"[]", b"{}",
    ]  # fmt: skip
    return _body("no JSON", dice.choice(texts))


def _bad_form(dice, _) -> Malformed:
    document = _document(dice)
    changes = [{"instances": []}, {"instances": document["inputs"]}, {"signature_name": 3},
               {"signature_name": None}, {"signature_name": "nothing"}]  # fmt: skip
    change = dice.choice(changes)
    if "instances" in change and dice.random() < 0.7:
        del document["inputs"]
    return _body(f"form {list(change)}", document | change)


def _bad_leaves(dice, _) -> Malformed:
    document = _document(dice)
    leaf = dice.choice([None, True, "1", {}, {"b64": "AAAA"}, [], 10**400, 1e400, -1e400])
    document["inputs"]["boxes"][0][dice.randrange(4)] = leaf
    return _body(f"a {type(leaf).__name__} among numbers", document)


def _bad_lists(dice, largest) -> Malformed:
    document, deep = _document(dice), [1.0]
    for _ in range(dice.choice([3, 50, 500])):
        deep = [deep]
    lists = [_BOX * 2, [[1.0] * 3], [[1.0] * 4, [1.0] * 3], 1.0, [1.0] * 4, [[]], [[[]]], {}, None, deep,
             [[1.0, [2.0], 3.0, 4.0]], _BOX * 1000, [1.0] * min(largest // 4, 100_000)]  # fmt: skip
    document["inputs"]["boxes"] = dice.choice(lists)
    return _body("lists of another shape", document)


def _bad_base64(dice, largest) -> Malformed:
    document = _document(dice)
    size = largest if dice.random() < 0.05 else dice.choice([4, 400, 40_000])
    values = [
        {"b64": "A"}, {"b64": "===="}, {"b64": "\N{SNOWMAN}"}, {"b64": 3}, {"b64": None}, {"B64": "AAAA"},
        {"b64": "A" * (size // 4 * 4)}, {"b64": "", "x": 1}, "no image", "\ud800", 3, None, [], {},
    ]  # fmt: skip
    document["inputs"]["image_bytes"] = [dice.choice(values)]
    return _body("bytes that are none", document)


def _bad_path(dice, _) -> Malformed:
    paths = [
        "/", "/v1", "/v1/models", "/v1/models/:predict", "/v1/models/p2net", "/v1/models/p2net:regress",
        "/v1/models/other:predict", "/v1/models/p2net/versions/99:predict", "/../../etc/passwd",
        "/v1/models/p2net/versions/x:predict", "/v1/models/p2net:predict/1", "/" + "x" * 5000,
    ]  # fmt: skip
    return _body("path", _document(dice), 404, dice.choice(paths))
