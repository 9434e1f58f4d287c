"""Python functions in `tf.data` graphs, and how they let the interpreter end.

An iterator that is alive when a program ends keeps calling its Python functions from threads of its own, and
the process aborts: the exit code of a training that was asked to stop would be lost. So from the moment of
leaving on, calls fail at once. The iterator runs full of failures and falls silent, and then Python may go.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable

_SILENCE = 0.05
"""Seconds without a call after which no more are expected."""
_PATIENCE = 5.0

_lock = threading.Lock()
_running, _last, _leaving = 0, 0.0, False


class LeavingError(RuntimeError):
    """The program ends."""


def host_call(function: Callable) -> Callable:
    """`function` for `tf.numpy_function`: the interpreter does not end in the middle of it."""

    @functools.wraps(function)
    def call(*arguments):
        _begin()
        try:
            return function(*arguments)
        finally:
            _end()

    return call


def _begin() -> None:
    global _running, _last
    with _lock:
        _last = time.monotonic()
        if _leaving:
            raise LeavingError("the program ends")
        _running += 1


def _end() -> None:
    global _running
    with _lock:
        _running -= 1


@atexit.register
def _leave() -> None:
    global _leaving
    with _lock:
        _leaving = True
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (_running or time.monotonic() - _last < _SILENCE):
        time.sleep(0.005)
