"""Clients of a model server, over gRPC and over REST: the development server or TensorFlow Serving.

Both take and give arrays by name, have one deadline over all attempts, and try again while the server is
UNAVAILABLE. Other errors are no accident of the moment, and come out at once.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import Parse
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from p2net_tf.serving.defaults import GRPC_PORT, LARGEST_MESSAGE, MODEL_NAME, REST_PORT
from p2net_tf.serving.signatures import Signature, parse_signature
from p2net_tf.serving.status import Code, ServingError, code_of_http

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_Result = TypeVar("_Result")


class RequestFailed(ServingError):
    """A request without an answer.

    Attributes:
        code: gRPC's code; for REST the one that TensorFlow Serving gives as this HTTP status.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(f"{code.name}: {message}")
        self.code = code


class Client:
    """What the clients have in common.

    Args:
        address: `host` or `host:port`.
        deadline: seconds for a call with all its attempts.
        retries: further attempts while the server is UNAVAILABLE.
    """

    default_port: int

    def __init__(self, address: str, model: str = MODEL_NAME, deadline: float = 30.0, retries: int = 5):
        self.address, self.model = with_port(address, self.default_port), model
        self.deadline, self.retries = deadline, retries

    def predict(
        self, signature: str, inputs: Mapping[str, Any], version: int | None = None
    ) -> dict[str, np.ndarray]:
        """Output name -> array. Strings are bytes, in arrays of objects or lists.

        Raises:
            RequestFailed: the server's code and words.
        """
        raise NotImplementedError

    def signatures(self, version: int | None = None) -> dict[str, Signature]:
        """What the model offers."""
        raise NotImplementedError

    def status(self) -> dict[int, str]:
        """Version -> `LOADING`, `AVAILABLE`, `UNLOADING` or `END`."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection, where one is kept."""


class GrpcClient(Client):
    """A client of the gRPC interface; one may be shared between threads."""

    default_port = GRPC_PORT

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        channel_options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            # Clients of one process would otherwise share a connection, and a server sees one peer.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(self.address, options=channel_options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, signature, inputs, version=None):
        request = predict_pb2.PredictRequest()
        self._name(request, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(_proto(value))
        outputs = self._call(self._predictions.Predict, request).outputs
        return {name: tf.make_ndarray(proto) for name, proto in outputs.items()}

    def signatures(self, version=None):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request, version)
        return _signatures(self._call(self._predictions.GetModelMetadata, request))

    def status(self):
        request = get_model_status_pb2.GetModelStatusRequest()
        self._name(request, None)
        return _states(self._call(self._models.GetModelStatus, request))

    def close(self):
        self._channel.close()

    def _name(self, request, version: int | None) -> None:
        request.model_spec.name = self.model
        if version is not None:
            request.model_spec.version.value = version

    def _call(self, method, request):
        def attempt(seconds: float):
            try:
                return method(request, timeout=seconds)
            except grpc.RpcError as error:
                code, words = error.code(), error.details()
                if code is Code.CANCELLED:
                    # Nobody here cancels: the call reached a server that closes, which has not looked at it.
                    code, words = Code.UNAVAILABLE, "the server closed"
                raise RequestFailed(code, f"{words} ({self.address})") from None

        return with_retries(attempt, self.deadline, self.retries)


class RestClient(Client):
    """A client of the REST interface; every call has a connection of its own."""

    default_port = REST_PORT

    def predict(self, signature, inputs, version=None):
        values = {name: _plain(value) for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": values}).encode("utf-8")
        outputs = json.loads(self._call("POST", f"{self._path(version)}:predict", body))["outputs"]
        if not isinstance(outputs, dict):  # a single output comes without its name
            (name,) = self.signatures(version)[signature].outputs
            outputs = {name: outputs}
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}

    def signatures(self, version=None):
        text = self._call("GET", f"{self._path(version)}/metadata")
        document = json.loads(text)
        return _signatures(_metadata(document))

    def status(self):
        text = self._call("GET", self._path(None))
        return _states(Parse(text, get_model_status_pb2.GetModelStatusResponse(), ignore_unknown_fields=True))

    def _path(self, version: int | None) -> str:
        return f"/v1/models/{self.model}" + ("" if version is None else f"/versions/{version}")

    def _call(self, method: str, path: str, body: bytes | None = None) -> str:
        def attempt(seconds: float) -> str:
            connection = http.client.HTTPConnection(self.address, timeout=seconds)
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read().decode("utf-8", "replace")
            except TimeoutError:
                words = f"no answer within {seconds:.1f} s ({self.address})"
                raise RequestFailed(Code.DEADLINE_EXCEEDED, words) from None
            except (OSError, http.client.HTTPException) as error:
                raise RequestFailed(Code.UNAVAILABLE, f"{error} ({self.address})") from None
            finally:
                connection.close()
            if response.status != 200:
                words = f"{_error_words(text)} (HTTP {response.status}, {self.address})"
                raise RequestFailed(code_of_http(response.status), words)
            return text

        return with_retries(attempt, self.deadline, self.retries)


def with_retries(attempt: Callable[[float], _Result], deadline: float, retries: int) -> _Result:
    """`attempt(seconds left)`, again after growing pauses while it fails with UNAVAILABLE.

    Raises:
        RequestFailed: of the last attempt.
    """
    end, pause = time.monotonic() + deadline, _FIRST_PAUSE
    for number in itertools.count():
        try:
            return attempt(max(0.001, end - time.monotonic()))
        except RequestFailed as error:
            # Half of the pause is random, so that clients that failed together do not come back together.
            wait = pause * random.uniform(0.5, 1.0)
            if error.code is not Code.UNAVAILABLE or number >= retries or time.monotonic() + wait >= end:
                raise
        time.sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def with_port(address: str, port: int) -> str:
    """`host:port`, from an address with or without a port.

    Raises:
        ServingError: it is neither.
    """
    host, colon, number = address.rpartition(":")
    if not colon:
        host, number = address, str(port)
    if not host or not (number.isascii() and number.isdecimal()) or not 0 < int(number) < 65536:
        raise ServingError(f"'{address}' is no HOST or HOST:PORT, such as localhost:{port}")
    return f"{host}:{number}"


def _proto(value) -> Any:
    """What TensorFlow makes of it, which for lists of numbers is float32 or int32; objects are strings."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return tf.make_tensor_proto(value.reshape(-1).tolist(), tf.string, value.shape)
    return tf.make_tensor_proto(value)


def _plain(value) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _signatures(response) -> dict[str, Signature]:
    definitions = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(definitions)
    return {
        name: parse_signature(name, definition)
        for name, definition in sorted(definitions.signature_def.items())
        if not name.startswith("__")
    }


def _metadata(document: dict):
    """The message that the REST interface wrote as JSON."""
    text = json.dumps(document)
    return Parse(text, get_model_metadata_pb2.GetModelMetadataResponse(), ignore_unknown_fields=True)


def _states(response) -> dict[int, str]:
    names = get_model_status_pb2.ModelVersionStatus.State
    return {entry.version: names.Name(entry.state) for entry in response.model_version_status}


def _error_words(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "no words"
