"""What went wrong with a request, in the codes that gRPC, TensorFlow and TensorFlow Serving share."""

from __future__ import annotations

import grpc
import tensorflow as tf

from p2net_tf.utils.exceptions import UserError

Code = grpc.StatusCode
"""TensorFlow's numbers of error codes are those of gRPC."""

_BY_NUMBER = {code.value[0]: code for code in Code}
_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
_LONGEST_MESSAGE = 2000
"""gRPC sends messages in a header, and a header over 8 KB breaks the connection."""


class ServingError(UserError):
    """A server that cannot start, or a request that a server refused; the message says which and why."""


class RequestError(Exception):
    """A request that is answered with `code` and words that name the problem."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."


def invalid(message: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> RequestError:
    """The same code; of the message what a caller can use, without nodes and stack traces."""
    head, _, rest = error.message.partition("<stack traces unavailable>\n")
    words = (rest or head).partition("\n\t [[{{node")[0].strip()
    return RequestError(code_of(error.error_code), words)


def code_of(number: int) -> Code:
    return _BY_NUMBER.get(number, Code.UNKNOWN)


def http_status(code: Code) -> int:
    """The HTTP status that TensorFlow Serving's REST interface gives for `code`."""
    return _HTTP.get(code, 500)


def code_of_http(status: int) -> Code:
    """A code for an HTTP status, for clients: the first of those that share it."""
    return next((code for code, value in _HTTP.items() if value == status), Code.UNKNOWN)
