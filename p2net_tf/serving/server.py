"""`p2net serve`: a model folder behind TensorFlow Serving's gRPC and REST interfaces, in this process.

It is made for a laptop without containers: for trying a model out and for developing clients. It has no
TLS, no authentication, and Python between the network and the model. What runs in production is in
`export/serving/`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from p2net_tf.serving.batching import BatchRunner
from p2net_tf.serving.core import Core
from p2net_tf.serving.defaults import GRPC_PORT, MODEL_NAME, REST_PORT
from p2net_tf.serving.grpc_server import GrpcServer
from p2net_tf.serving.metrics import Metrics
from p2net_tf.serving.rest_server import RestServer
from p2net_tf.serving.stopping import stop_signals
from p2net_tf.serving.versions import Versions
from p2net_tf.utils.console import messages

_LAST_WORDS = 5.0
"""Seconds for answers that are on their way when everything has been computed."""


@dataclass(frozen=True)
class ServeSettings:
    """How a model folder is served.

    Attributes:
        grpc_port, rest_port: 0 takes a free one.
        max_queue: requests that may wait; further ones get RESOURCE_EXHAUSTED.
        max_batch: rows that the model runs at once.
        batch_timeout_ms: how long a request waits for others to share a batch with.
        threads: batches that run at the same time.
        max_rows: rows (people, images) of one request.
        poll_seconds: between looks at the folder for new versions.
        keep: how many of the newest versions are served.
        labels: label -> version, such as `{"canary": 3}`; these are served as well.
        drain_seconds: for the requests inside when the server is told to stop.
    """

    model_dir: Path
    name: str = MODEL_NAME
    host: str = "127.0.0.1"
    grpc_port: int = GRPC_PORT
    rest_port: int = REST_PORT
    max_queue: int = 128
    max_batch: int = 16
    batch_timeout_ms: float = 2.0
    threads: int = 2
    max_rows: int = 128
    poll_seconds: float = 2.0
    keep: int = 1
    labels: Mapping[str, int] = field(default_factory=dict)
    drain_seconds: float = 30.0


class Server:
    """A running server; as a context manager it stops at the end of the block.

    Raises:
        ServingError: no version can be served, or a port is taken.
    """

    def __init__(self, settings: ServeSettings):
        self.settings = settings
        metrics = Metrics()
        self._versions = Versions(settings.model_dir, settings.keep, settings.labels)
        self._stopped = False
        with ExitStack() as undo:
            undo.callback(self._versions.stop)
            self._versions.start(settings.poll_seconds)
            timeout = settings.batch_timeout_ms / 1000
            self._runner = BatchRunner(
                metrics, settings.max_queue, settings.max_batch, timeout, settings.threads
            )
            undo.callback(self._runner.close)
            self.core = Core(settings.name, self._versions, self._runner, metrics, settings.max_rows)
            # Those that wait, those in batches, and some to tell the others that the queue is full.
            threads = settings.max_queue + settings.threads * settings.max_batch + 16
            self._grpc = GrpcServer(self.core, settings.host, settings.grpc_port, threads)
            undo.callback(self._grpc.stop, 0)
            self._rest = RestServer(self.core, settings.host, settings.rest_port)
            undo.pop_all()

    @property
    def grpc_address(self) -> str:
        """`host:port`."""
        return f"{self.settings.host}:{self._grpc.port}"

    @property
    def rest_address(self) -> str:
        """`host:port`."""
        return f"{self.settings.host}:{self._rest.port}"

    def stop(self) -> bool:
        """Answers what is inside, refuses the rest, closes both ports; whether everything was answered."""
        if self._stopped:
            return True
        self._stopped = True
        end = time.monotonic() + self.settings.drain_seconds
        answered = self.core.drain(self.settings.drain_seconds)
        left = max(0.0, end - time.monotonic()) + _LAST_WORDS
        self._grpc.stop(left)
        self._rest.stop(left)
        self._versions.stop()
        if answered:
            self._runner.close()
        return answered

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def serve(settings: ServeSettings) -> bool:
    """Serves until SIGTERM or SIGINT, then drains; whether every request inside was answered.

    Raises:
        ServingError: no version can be served, or a port is taken.
    """
    with stop_signals() as asked, Server(settings) as server:
        _announce(server)
        asked.wait()
        messages.print("draining: requests inside are answered, new ones refused")
        answered = server.stop()
    words = "stopped" if answered else "[red]stopped before every request was answered[/red]"
    messages.print(f"{words}; {server.core.metrics.answered('OK')} requests were answered with OK")
    return answered


def _announce(server: Server) -> None:
    name = server.core.name
    messages.print(f"gRPC {server.grpc_address}, model '{name}'", soft_wrap=True)
    messages.print(f"REST http://{server.rest_address}/v1/models/{name}", soft_wrap=True)
    messages.print(
        "This is a development server: no TLS, no authentication. For production see export/serving/.",
        soft_wrap=True,
    )
