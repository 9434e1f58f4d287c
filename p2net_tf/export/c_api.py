"""A SavedModel through the C API of the TensorFlow wheel: what a server in C, Go, Rust or Java sees of it.

No Python of TensorFlow takes part in loading or running; it only parses the signatures, a protocol buffer.
Nor are shapes compared with the signature, so bad requests reach the graph as a server feeds them.
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/c/c_api.h
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf

_STRING = 7
_TYPES = {
    np.dtype(np.float32): 1,
    np.dtype(np.int32): 3,
    np.dtype(np.uint8): 4,
    np.dtype(object): _STRING,
}
"""numpy type -> TF_DataType; strings are object arrays of bytes."""
_NUMPY_TYPES = {number: dtype for dtype, number in _TYPES.items()}
_STRING_BYTES = 24
"""Size of a TF_TString."""


class CSession:
    """Runs the signatures of a SavedModel as `SavedModelSession` does; close it, or use it in `with`."""

    def __init__(self, folder: str | Path):
        self._c = _library()
        self._graph = self._c.TF_NewGraph()
        options, meta = self._c.TF_NewSessionOptions(), self._c.TF_NewBuffer()
        tags = (c_char_p * 1)(b"serve")
        try:
            with self._status() as status:
                self._session = self._c.TF_LoadSessionFromSavedModel(
                    options, None, str(folder).encode(), tags, 1, self._graph, meta, status
                )
            contents = ctypes.string_at(meta.contents.data, meta.contents.length)
        except BaseException:
            self._c.TF_DeleteGraph(self._graph)
            raise
        finally:
            self._c.TF_DeleteSessionOptions(options)
            self._c.TF_DeleteBuffer(meta)
        self._signatures = tf.compat.v1.MetaGraphDef.FromString(contents).signature_def

    def run(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs by name, of inputs by name: float32 or uint8 arrays, bytes, or object arrays of bytes.

        Raises:
            tf.errors.OpError: of the kind that the status says, e.g. InvalidArgumentError.
        """
        definition = self._signatures[signature]
        names = list(definition.outputs)
        places = [self._place(definition.inputs[name].name) for name in inputs]
        wanted = [self._place(definition.outputs[name].name) for name in names]
        found = (c_void_p * len(wanted))()
        with self._tensors(list(inputs.values())) as tensors, self._status() as status:
            self._c.TF_SessionRun(
                self._session,
                None,
                (_Output * len(places))(*places),
                (c_void_p * len(tensors))(*tensors),
                len(tensors),
                (_Output * len(wanted))(*wanted),
                found,
                len(wanted),
                None,
                0,
                None,
                status,
            )
        return {name: self._taken(tensor) for name, tensor in zip(names, found, strict=True)}

    def close(self) -> None:
        with self._status() as status:
            self._c.TF_CloseSession(self._session, status)
        with self._status() as status:
            self._c.TF_DeleteSession(self._session, status)
        self._c.TF_DeleteGraph(self._graph)

    def __enter__(self) -> CSession:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    @contextmanager
    def _status(self) -> Iterator[c_void_p]:
        """A status for one call, which is raised where the call failed."""
        status = self._c.TF_NewStatus()
        try:
            yield status
            code = self._c.TF_GetCode(status)
            if code:
                message = self._c.TF_Message(status).decode(errors="replace")
                raise tf.compat.v1.errors.exception_type_from_error_code(code)(None, None, message)
        finally:
            self._c.TF_DeleteStatus(status)

    def _place(self, tensor_name: str) -> _Output:
        operation, _, index = tensor_name.partition(":")
        found = self._c.TF_GraphOperationByName(self._graph, operation.encode())
        return _Output(found, int(index))

    @contextmanager
    def _tensors(self, values: list) -> Iterator[list]:
        tensors, arrays = [], [self._array(value) for value in values]
        try:
            for array in arrays:
                tensors.append(self._tensor(array))
            yield tensors
        finally:
            for tensor, array in zip(tensors, arrays, strict=False):
                self._delete(tensor, array)

    @staticmethod
    def _array(value) -> np.ndarray:
        array = np.asarray(value, object if isinstance(value, bytes) else None, order="C")
        if array.dtype not in _TYPES:
            raise TypeError(f"no tensor of numpy type {array.dtype}: give float32, int32, uint8 or bytes")
        return array

    def _tensor(self, array: np.ndarray) -> c_void_p:
        kind = _TYPES[array.dtype]
        size = array.size * _STRING_BYTES if kind == _STRING else array.nbytes
        shape = (c_int64 * array.ndim)(*array.shape)
        tensor = self._c.TF_AllocateTensor(kind, shape, array.ndim, size)
        data = self._c.TF_TensorData(tensor)
        if kind == _STRING:
            for place, text in enumerate(array.reshape(-1)):
                self._c.TF_StringInit(data + place * _STRING_BYTES)
                self._c.TF_StringCopy(data + place * _STRING_BYTES, text, len(text))
        else:
            ctypes.memmove(data, array.ctypes.data, size)
        return tensor

    def _delete(self, tensor: c_void_p, array: np.ndarray) -> None:
        if array.dtype == object:
            data = self._c.TF_TensorData(tensor)
            for place in range(array.size):
                self._c.TF_StringDealloc(data + place * _STRING_BYTES)
        self._c.TF_DeleteTensor(tensor)

    def _taken(self, tensor: c_void_p) -> np.ndarray:
        """A result of numbers as an array; its tensor is deleted."""
        kind = self._c.TF_TensorType(tensor)
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor))]
        contents = ctypes.string_at(self._c.TF_TensorData(tensor), self._c.TF_TensorByteSize(tensor))
        self._c.TF_DeleteTensor(tensor)
        return np.frombuffer(contents, _NUMPY_TYPES[kind]).reshape(shape)


class _Output(Structure):
    """TF_Output: an output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


class _Buffer(Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


_FUNCTIONS = {
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_NewBuffer": (POINTER(_Buffer), []),
    "TF_DeleteBuffer": (None, [POINTER(_Buffer)]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, c_void_p),
            *(POINTER(_Output), POINTER(c_void_p), c_int),
            *(POINTER(_Output), POINTER(c_void_p), c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ],
    ),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
}
"""Name -> (result, arguments) of what is called here."""


@cache
def _library() -> ctypes.CDLL:
    folder = Path(tf.__file__).parent
    files = sorted([*folder.glob("libtensorflow_cc.so.*"), *folder.glob("libtensorflow_cc.*.dylib")])
    if not files:
        raise OSError(f"{folder}: this TensorFlow comes without its C library, libtensorflow_cc")
    library = ctypes.CDLL(str(files[0]))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
