"""TensorFlow Serving's REST interface over a `Core`.

The HTTP server is Python's own, with limits: of connections, of the size of a body, and of the time that a
client may take to send it. waitress 3.0.2 has no such time: a body that trickles keeps its place for ever,
one connection too many waits without a word, and a body that ends early is not answered. werkzeug's server is
Python's own, too, without these limits.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from google.protobuf.json_format import MessageToJson
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from p2net_tf.serving.core import Core, Visit
from p2net_tf.serving.defaults import LARGEST_BODY
from p2net_tf.serving.json_tensors import arrays_of_json, body_of_arrays, parse_body
from p2net_tf.serving.responses import metadata_response, status_response
from p2net_tf.serving.status import RequestError, ServingError, http_status

MOST_CONNECTIONS = 256
SLOWEST_BODY = 60.0
"""Seconds in which a body must have arrived."""
METRICS_PATH = "/monitoring/prometheus/metrics"

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_API = "rest"
_CHUNK = 1 << 20
_VERSION = r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:predict")
_LOOK = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}(?P<metadata>/metadata)?")


class _HttpError(Exception):
    """A request that does not get as far as the model."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class RestServer:
    """An HTTP server at `host:port`; a port of 0 takes a free one.

    Raises:
        ServingError: the port is taken.
    """

    def __init__(self, core: Core, host: str, port: int):
        try:
            self._server = _HttpServer(core, (host, port))
        except OSError as error:
            raise ServingError(
                f"cannot listen on {host}:{port} ({error.strerror}); take another REST port"
            ) from None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="rest", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Takes no more connections, gives the requests inside `seconds`."""
        self._server.shutdown()
        self._server.server_close()
        self._server.wait_until_idle(seconds)
        self._thread.join()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    # Idle connections are kept alive by their clients; closing must not wait for these.
    block_on_close = False
    request_queue_size = 128

    def __init__(self, core: Core, address: tuple[str, int]):
        self.core = core
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._busy = 0
        self._idle = threading.Condition()
        super().__init__(address, _Handler)

    def process_request(self, request, client_address):
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.sendall(_TOO_MANY)
        self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""

    def enter(self, change: int) -> None:
        with self._idle:
            self._busy += change
            self._idle.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: self._busy == 0, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "p2net"
    # Seconds that one read may take; also how long an idle connection is kept.
    timeout = 30
    # An answer is two writes; without this the second waits for the client's acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._handle(self._get)

    def do_POST(self):
        self._handle(self._post)

    def _handle(self, method):
        self.server.enter(+1)
        try:
            self._send(200, *method())
        except RequestError as error:
            self._send_problem(http_status(error.code), error.message)
        except _HttpError as error:
            self.close_connection = True
            self._send_problem(error.status, error.message)
            self._swallow_rest()
        except OSError:  # the client has gone, or is too slow
            self.close_connection = True
        finally:
            self.server.enter(-1)

    def _get(self) -> tuple[str, bytes]:
        path = urlsplit(self.path).path
        core = self.server.core
        if path == METRICS_PATH:
            return "text/plain; version=0.0.4; charset=utf-8", core.metrics.text()
        match = _LOOK.fullmatch(path)
        if match is None:
            raise _HttpError(404, f"no such path; models are at /v1/models/{core.name}")
        with core.visit(_API):
            return "application/json", _json(_look(core, match))

    def _post(self) -> tuple[str, bytes]:
        # The body belongs to the connection, whatever the path says.
        body = self._read_body()
        core = self.server.core
        match = _PREDICT.fullmatch(urlsplit(self.path).path)
        if match is None:
            raise _HttpError(404, f"no such path; predictions are at /v1/models/{core.name}:predict")
        with core.visit(_API) as visit:
            return "application/json", _predict(core, match, body, visit)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding"):
            raise _HttpError(411, "send a Content-Length; chunked bodies are not read")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _HttpError(411, "send a Content-Length")
        if len(length) > 18 or int(length) > LARGEST_BODY:
            raise _HttpError(413, f"the body has {length[:30]} bytes; this server takes up to {LARGEST_BODY}")
        body, deadline = bytearray(), time.monotonic() + SLOWEST_BODY
        while len(body) < int(length):
            chunk = self.rfile.read1(min(_CHUNK, int(length) - len(body)))
            if not chunk:
                raise _HttpError(400, f"the body ended after {len(body)} of {length} bytes")
            if time.monotonic() > deadline:
                raise _HttpError(408, f"the body did not arrive within {SLOWEST_BODY:.0f} s")
            body += chunk
        return bytes(body)

    def send_error(self, code, message=None, explain=None):
        """What `http.server` refuses by itself is answered in JSON as well."""
        self.close_connection = True
        self._send_problem(code, message or "bad request")

    def log_message(self, format, *args):
        """Requests are counted (see METRICS_PATH), not logged."""

    def _send_problem(self, status: int, message: str) -> None:
        with suppress(OSError):
            self._send(status, "application/json", json.dumps({"error": message}).encode("utf-8"))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _swallow_rest(self) -> None:
        """Reads what the client still sends: closing at once would reset the connection under its answer."""
        deadline, left = time.monotonic() + 10, 4 * LARGEST_BODY
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            while left > 0 and time.monotonic() < deadline and (chunk := self.rfile.read1(_CHUNK)):
                left -= len(chunk)


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
