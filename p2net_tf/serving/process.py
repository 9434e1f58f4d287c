"""`p2net serve` as a process of its own: a load test must not share an interpreter with the server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from p2net_tf.serving.status import ServingError

_GRPC = re.compile(r"^gRPC (\S+),", re.MULTILINE)
_REST = re.compile(r"^REST http://([^/\s]+)/", re.MULTILINE)
_START_SECONDS = 600.0


class ServerProcess:
    """A running server on free ports; as a context manager it is asked to stop at the end of the block.

    Args:
        options: further words of the command line, such as `"--max-batch", "8"`.

    Raises:
        ServingError: it did not start; carries what it wrote.
    """

    def __init__(self, model_dir: str | Path, *options: str):
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "server.log"
        command = [sys.executable, "-m", "p2net_tf", "serve", str(model_dir)]
        ports = ["--grpc-port", "0", "--rest-port", "0"]
        with open(self._log, "w") as log:
            self.process = subprocess.Popen([*command, *ports, *options], stdout=log, stderr=log)
        self.grpc_address, self.rest_address = self._addresses()

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return self._log.read_text(encoding="utf-8")

    def terminate(self) -> None:
        """Asks the server to answer what is inside and to stop."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60.0) -> int:
        """The exit status: 0 where every request inside was answered.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        return self.process.wait(seconds)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._folder.cleanup()

    def _addresses(self) -> tuple[str, str]:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            found = _GRPC.search(self.log), _REST.search(self.log)
            if all(found):
                return found[0][1], found[1][1]
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise ServingError(f"the server did not start: {self.log.strip()[-2000:]}")
