"""What gRPC and REST have in common: who is admitted, which model answers, what is counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from p2net_tf.serving.batching import Arrays, BatchRunner, Job
from p2net_tf.serving.metrics import Metrics
from p2net_tf.serving.model import Model
from p2net_tf.serving.signatures import Signature
from p2net_tf.serving.status import Code, RequestError, invalid
from p2net_tf.serving.versions import Versions

LONGEST_WAIT = 120.0
"""Seconds; of a request that names no deadline."""
_UNKNOWN = "unknown"
_REFUSAL_PAUSE = 0.2
"""Seconds before a draining server refuses. A client that asks again at once would be at the door when it
closes, and gRPC cancels who stands there without a word."""
_log = logging.getLogger(__name__)


@dataclass
class Visit:
    """One request while it is in the server."""

    api: str
    signature: str = _UNKNOWN
    code: Code = Code.OK
    since: float = field(default_factory=time.monotonic)


class Core:
    """Answers requests that an interface has taken apart.

    Args:
        name: the one model that is served.
        max_rows: rows (people, images) of one request.
    """

    def __init__(
        self, name: str, versions: Versions, runner: BatchRunner, metrics: Metrics, max_rows: int = 128
    ):
        self.name, self.versions, self.runner = name, versions, runner
        self.metrics, self.max_rows = metrics, max_rows
        self._visits = 0
        self._draining = False
        self._left = threading.Condition()
        metrics.gauge("p2net_serving_queue_jobs", "Requests that wait.", lambda: len(runner))
        metrics.gauge("p2net_serving_in_flight", "Requests that are being answered.", lambda: self._visits)

    @contextmanager
    def visit(self, api: str) -> Iterator[Visit]:
        """Lets a request in, counts it, and turns whatever it raises into a `RequestError`.

        Raises:
            RequestError: the request's own; UNAVAILABLE while the server shuts down; INTERNAL for the rest.
        """
        visit = Visit(api)
        try:
            with self._admitted():
                yield visit
        except RequestError as error:
            visit.code = error.code
            raise
        except Exception:
            visit.code = Code.INTERNAL
            _log.exception("a request failed")
            raise RequestError(Code.INTERNAL, "internal error; the log of the server has more") from None
        finally:
            self.metrics.requests.labels(api, visit.signature, visit.code.name).inc()
            self.metrics.latency.labels(api, visit.signature).observe(time.monotonic() - visit.since)

    def model(self, name: str, version: int | None = None, label: str = "") -> Model:
        """Raises:
        RequestError: NOT_FOUND or INVALID_ARGUMENT; says what there is.
        """
        self.check_name(name)
        return self.versions.get(version, label)

    def check_name(self, name: str) -> None:
        if not name:
            raise invalid("the request names no model")
        if name != self.name:
            raise RequestError(Code.NOT_FOUND, f"no model '{name[:80]}'; this server has '{self.name}'")

    def run(
        self, model: Model, signature: Signature, arrays: Arrays, seconds: float | None = None
    ) -> dict[str, np.ndarray]:
        """Queues the request and waits for its answer, for `seconds` at most.

        Raises:
            RequestError: the model's own, RESOURCE_EXHAUSTED, UNAVAILABLE or DEADLINE_EXCEEDED.
        """
        seconds = LONGEST_WAIT if seconds is None else min(seconds, LONGEST_WAIT)
        deadline = time.monotonic() + seconds
        return _wait(self.runner.submit(Job(model, signature, arrays, deadline)), seconds)

    def drain(self, seconds: float) -> bool:
        """Refuses new requests and waits until those inside are answered; whether they all were."""
        with self._left:
            self._draining = True
            return self._left.wait_for(lambda: self._visits == 0, seconds)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        with self._left:
            admitted = not self._draining
            self._visits += admitted
        if not admitted:
            time.sleep(_REFUSAL_PAUSE)
            raise RequestError(Code.UNAVAILABLE, "the server is shutting down")
        try:
            yield
        finally:
            with self._left:
                self._visits -= 1
                self._left.notify_all()


def _wait(answer: Future, seconds: float) -> dict[str, np.ndarray]:
    try:
        return answer.result(seconds)
    except (FutureTimeout, CancelledError):
        answer.cancel()
        raise RequestError(Code.DEADLINE_EXCEEDED, f"no answer within {seconds:.1f} s") from None
    finally:
        # An error that is raised here refers to this frame, and the future to the error: see `batching`.
        del answer
