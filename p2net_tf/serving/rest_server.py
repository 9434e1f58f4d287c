"""TensorFlow Serving's REST interface over a `Core`, by the server of `p2net_tf.serving.http_server`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from google.protobuf.json_format import MessageToJson
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from p2net_tf.serving.core import Core, Visit
from p2net_tf.serving.defaults import LARGEST_BODY
from p2net_tf.serving.http_server import HttpError, HttpHandler, RunningHttpServer
from p2net_tf.serving.json_tensors import arrays_of_json, body_of_arrays, parse_body
from p2net_tf.serving.responses import metadata_response, status_response
from p2net_tf.serving.status import RequestError, ServingError, http_status

METRICS_PATH = "/monitoring/prometheus/metrics"

_API = "rest"
_VERSION = r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:predict")
_LOOK = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}(?P<metadata>/metadata)?")


class RestServer(RunningHttpServer):
    """An HTTP server at `host:port`; a port of 0 takes a free one.

    Raises:
        ServingError: the port is taken.
    """

    def __init__(self, core: Core, host: str, port: int):
        try:
            super().__init__(_Handler, core, host, port, "rest")
        except OSError as error:
            raise ServingError(
                f"cannot listen on {host}:{port} ({error.strerror}); take another REST port"
            ) from None


class _Handler(HttpHandler):
    """Requests are counted (see METRICS_PATH), not logged."""

    largest_body = LARGEST_BODY

    def get(self) -> tuple[str, bytes]:
        path = urlsplit(self.path).path
        core = self.server.context
        if path == METRICS_PATH:
            return "text/plain; version=0.0.4; charset=utf-8", core.metrics.text()
        match = _LOOK.fullmatch(path)
        if match is None:
            raise HttpError(404, f"no such path; models are at /v1/models/{core.name}")
        with _as_http_errors(), core.visit(_API):
            return "application/json", _json(_look(core, match))

    def post(self) -> tuple[str, bytes]:
        # The body belongs to the connection, whatever the path says.
        body = self.read_body()
        core = self.server.context
        match = _PREDICT.fullmatch(urlsplit(self.path).path)
        if match is None:
            raise HttpError(404, f"no such path; predictions are at /v1/models/{core.name}:predict")
        with _as_http_errors(), core.visit(_API) as visit:
            return "application/json", _predict(core, match, body, visit)


@contextmanager
def _as_http_errors() -> Iterator[None]:
    """What the model refuses, under its HTTP status; the connection stays, its body has been read."""
    try:
        yield
    except RequestError as error:
        raise HttpError(http_status(error.code), error.message, closes=False) from None


def _look(core: Core, match: re.Match):
    """Status or metadata, as a message."""
    if match["metadata"]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.CopyFrom(_spec(match))
        return metadata_response(core, request)
    return status_response(core, get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(match)))


def _predict(core: Core, match: re.Match, body: bytes, visit: Visit) -> bytes:
    spec = _spec(match)
    version = spec.version.value if spec.HasField("version") else None
    model = core.model(spec.name, version, spec.version_label)
    name, form, value = parse_body(body)
    signature = model.signature(name)
    visit.signature = signature.name
    arrays = arrays_of_json(signature, form, value, core.max_rows)
    return body_of_arrays(form, core.run(model, signature, arrays))


def _spec(match: re.Match) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _json(message) -> bytes:
    text = MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return text.encode("utf-8")
