"""Python's own HTTP server, with limits: of connections, of the size of a body, and of the time that a client
may take to send it.

waitress 3.0.2 has no such time: a body that trickles keeps its place for ever, one connection too many waits
without a word, and a body that ends early is not answered. werkzeug's server is Python's own, too, without
these limits.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST_CONNECTIONS = 256
SLOWEST_BODY = 60.0
"""Seconds in which a body must have arrived."""

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CHUNK = 1 << 20


class HttpError(Exception):
    """A request that is answered with a status and words.

    Args:
        closes: whether the connection ends with the answer, since the body has not been read.
    """

    def __init__(self, status: int, message: str, closes: bool = True):
        super().__init__(message)
        self.status, self.message, self.closes = status, message, closes


class RunningHttpServer:
    """An `HttpServer` at `host:port` in a thread of its own; a port of 0 takes a free one.

    Args:
        context: what its handlers find as `self.server.context`.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, handler: type[HttpHandler], context, host: str, port: int, name: str):
        self._server = HttpServer((host, port), handler, context)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name=name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Takes no more connections, gives the requests inside `seconds`."""
        self._server.shutdown()
        self._server.server_close()
        self._server.wait_until_idle(seconds)
        self._thread.join()


class HttpServer(ThreadingHTTPServer):
    """See the top of the module."""

    daemon_threads = True
    # Idle connections are kept alive by their clients; closing must not wait for these.
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[HttpHandler], context):
        self.context = context
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._busy = 0
        self._idle = threading.Condition()
        super().__init__(address, handler)

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


class HttpHandler(BaseHTTPRequestHandler):
    """Answers a connection; sub-classes have `get` and `post`, which return `(content type, body)`.

    Either may raise `HttpError`. Refusals are JSON: `{"error": words}`.

    Attributes:
        largest_body: bytes that `read_body` takes.
        headers_of_all: name -> value of headers of every answer.
    """

    largest_body: int
    headers_of_all: dict[str, str] = {}

    protocol_version = "HTTP/1.1"
    server_version = "p2net"
    # Seconds that one read may take; also how long an idle connection is kept.
    timeout = 30
    # An answer is two writes; without this the second waits for the client's acknowledgement of the first.
    disable_nagle_algorithm = True

    def get(self) -> tuple[str, bytes]:
        raise HttpError(405, "nothing is read here")

    def post(self) -> tuple[str, bytes]:
        raise HttpError(405, "nothing is taken here")

    def do_GET(self):
        self._handle(self.get)

    def do_POST(self):
        self._handle(self.post)

    def read_body(self) -> bytes:
        """The body of the request.

        Raises:
            HttpError: it is too large, too slow, ends early, or does not say how long it is.
        """
        if self.headers.get("Transfer-Encoding"):
            raise HttpError(411, "send a Content-Length; chunked bodies are not read")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise HttpError(411, "send a Content-Length")
        if len(length) > 18 or int(length) > self.largest_body:
            raise HttpError(
                413, f"the body has {length[:30]} bytes; this server takes up to {self.largest_body}"
            )
        body, deadline = bytearray(), time.monotonic() + SLOWEST_BODY
        while len(body) < int(length):
            chunk = self.rfile.read1(min(_CHUNK, int(length) - len(body)))
            if not chunk:
                raise HttpError(400, f"the body ended after {len(body)} of {length} bytes")
            if time.monotonic() > deadline:
                raise HttpError(408, f"the body did not arrive within {SLOWEST_BODY:.0f} s")
            body += chunk
        return bytes(body)

    def send_error(self, code, message=None, explain=None):
        """What `http.server` refuses by itself is answered in JSON as well."""
        self.close_connection = True
        self._send_problem(code, message or "bad request")

    def log_message(self, format, *args):
        """Requests are not logged."""

    def _handle(self, method: Callable[[], tuple[str, bytes]]) -> None:
        self.server.enter(+1)
        try:
            self._send(200, *method())
        except HttpError as error:
            self.close_connection |= error.closes
            self._send_problem(error.status, error.message)
            if error.closes:
                self._swallow_rest()
        except OSError:  # the client has gone, or is too slow
            self.close_connection = True
        finally:
            self.server.enter(-1)

    def _send_problem(self, status: int, message: str) -> None:
        with suppress(OSError):
            self._send(status, "application/json", json.dumps({"error": message}).encode("utf-8"))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.headers_of_all.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _swallow_rest(self) -> None:
        """Reads what the client still sends: closing at once would reset the connection under its answer."""
        deadline, left = time.monotonic() + 10, 4 * self.largest_body
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            while left > 0 and time.monotonic() < deadline and (chunk := self.rfile.read1(_CHUNK)):
                left -= len(chunk)
