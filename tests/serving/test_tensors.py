"""Arrays from protos and from JSON, for every kind of signature; hostile ones are in `malformed.py`."""

import base64

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.serving.json_tensors import COLUMNAR, ROW, arrays_of_json, body_of_arrays, decode_base64
from p2net_tf.serving.signatures import Signature, TensorSpec
from p2net_tf.serving.status import Code, RequestError
from p2net_tf.serving.tensors import LARGEST_TENSOR, arrays_of_protos

FIELDS = {
    tf.float32: "float_val", tf.float64: "double_val", tf.int32: "int_val", tf.int64: "int64_val",
    tf.int8: "int_val", tf.uint8: "int_val", tf.uint16: "int_val", tf.uint32: "uint32_val",
    tf.uint64: "uint64_val", tf.bool: "bool_val", tf.float16: "half_val", tf.bfloat16: "half_val",
}  # fmt: skip
"""As the comments of tensor.proto say."""


def signature(dtype, shape=(None, 2)) -> Signature:
    return Signature("any", {"x": TensorSpec("x", dtype, shape)}, {"y": TensorSpec("y", dtype, (None,))})


@pytest.mark.parametrize("dtype", FIELDS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "values"])
def test_every_dtype_survives(dtype, as_content):
    values = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype.as_numpy_dtype)
    proto = tf.make_tensor_proto(values)
    proto.tensor_content = values.tobytes() if as_content else b""
    field = FIELDS[dtype]
    proto.ClearField(field)
    if not as_content:
        bits = values.view(np.uint16) if field == "half_val" else values
        getattr(proto, field).extend(bits.reshape(-1).tolist())
    found = arrays_of_protos(signature(dtype), {"x": proto}, 10)["x"]
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype


@pytest.mark.parametrize(("dtype", "value"), [(tf.uint8, 300), (tf.uint8, -1), (tf.int8, 128)])
def test_numbers_that_do_not_fit_are_refused(dtype, value):
    proto = tf.make_tensor_proto([[1, 2]], dtype)
    proto.tensor_content = b""
    del proto.int_val[:]
    proto.int_val.extend([value, 1])
    with pytest.raises(RequestError, match=f"does not hold {dtype.name}"):
        arrays_of_protos(signature(dtype), {"x": proto}, 10)
    with pytest.raises(RequestError, match=dtype.name):
        arrays_of_json(signature(dtype), COLUMNAR, {"x": [[value, 1]]}, 10)


def test_a_value_that_would_be_repeated_without_end_is_refused():
    """Any rank and size would do for the signature: the limit is the server's own."""
    proto = tf.make_tensor_proto(1.0)
    proto.tensor_shape.dim.add(size=LARGEST_TENSOR)
    proto.tensor_shape.dim.add(size=2)
    with pytest.raises(RequestError, match=f"more than {LARGEST_TENSOR}"):
        arrays_of_protos(signature(tf.float32, None), {"x": proto}, 10)


def test_strings_keep_their_zeros():
    proto = tf.make_tensor_proto([[b"a\0", b"\0\0"]], tf.string)
    found = arrays_of_protos(signature(tf.string), {"x": proto}, 10)["x"]
    assert found.tolist() == [[b"a\0", b"\0\0"]]


def test_a_dtype_that_nobody_reads_is_not_implemented():
    proto = tf.make_tensor_proto(np.array([[1j, 2j]], np.complex64))
    with pytest.raises(RequestError) as caught:
        arrays_of_protos(signature(tf.complex64), {"x": proto}, 10)
    assert caught.value.code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("dtype", "value"), [(tf.bool, [[True, False]]), (tf.int64, [[1, 2]]), (tf.float32, [[1, 2.5]])]
)
def test_json_kinds(dtype, value):
    found = arrays_of_json(signature(dtype), COLUMNAR, {"x": value}, 10)["x"]
    assert found.tolist() == value
    assert found.dtype == dtype.as_numpy_dtype


@pytest.mark.parametrize(("dtype", "value"), [(tf.bool, [[1, 0]]), (tf.int64, [[1.0, 2.0]])])
def test_json_kinds_are_not_mixed_up(dtype, value):
    with pytest.raises(RequestError, match="a number in it"):
        arrays_of_json(signature(dtype), COLUMNAR, {"x": value}, 10)


def test_plain_text_in_json_is_utf8():
    found = arrays_of_json(signature(tf.string, (None,)), ROW, ["ä", {"b64": "AAE="}], 10)["x"]
    assert found.tolist() == ["ä".encode(), b"\0\1"]


def test_answers_with_strings_and_with_one_output():
    strings = np.array([b"\0\1", b"a"], object)
    assert body_of_arrays(COLUMNAR, {"y": strings}) == b'{"outputs": [{"b64": "AAE="}, {"b64": "YQ=="}]}'
    assert body_of_arrays(ROW, {"y": np.array([1, 2])}) == b'{"predictions": [1, 2]}'
    both = {"y": np.array([1, 2]), "z": np.array([[3], [4]])}
    assert body_of_arrays(ROW, both) == b'{"predictions": [{"y": 1, "z": [3]}, {"y": 2, "z": [4]}]}'


class TestBase64:
    """As TensorFlow Serving's own decoder: https://github.com/abseil/abseil-cpp, `absl::Base64Unescape`."""

    @pytest.mark.parametrize("length", range(7))
    @pytest.mark.parametrize("form", ["plain", "unpadded", "lines of 76", "spaced out", "after a line break"])
    def test_of_every_length_and_form(self, length, form):
        contents = bytes(range(250, 250 + 6))[:length] * (1 if length < 6 else 40)
        text = base64.b64encode(contents).decode("ascii")
        if form == "unpadded":
            text = text.rstrip("=")
        elif form == "lines of 76":
            text = base64.encodebytes(contents).decode("ascii")
        elif form == "spaced out":
            text = "\t".join(text) + " \r\n\v\f"
        elif form == "after a line break":
            text = "\n" + text
        assert decode_base64(text) == contents

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("A", "6 bits of a byte"),
            ("AAAAA===", "6 bits of a byte"),
            ("AA=", "1 '=' at the end, where 2 belong"),
            ("AAA==", "2 '=' at the end, where 1 belong"),
            ("AAAA====", "4 '=' at the end, where 0 belong"),
            ("AA==AAAA", "."),
            ("A-_A", "."),
            ("AA\u00a0AA", "."),
            ("AAÄA", "."),
        ],
    )
    def test_what_is_none_is_refused(self, text, why):
        with pytest.raises(ValueError, match=why):
            decode_base64(text)
