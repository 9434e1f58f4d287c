"""Who may use the network: one at a time, a few who wait, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from p2net_tf.serving.http_server import HttpError


class Turns:
    """Places of requests, of which one at a time is worked on.

    ```python
    with turns.place():   # refused where all are taken
        body = read()
        with turns.turn:  # waits for the others
            work(body)
    ```

    Args:
        most: places.

    Attributes:
        turn: the lock of whoever works.
    """

    def __init__(self, most: int):
        self.turn = threading.Lock()
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises:
        HttpError: all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise HttpError(503, f"{self._most} pictures are waiting already; try again in a moment")
        try:
            yield
        finally:
            self._places.release()
