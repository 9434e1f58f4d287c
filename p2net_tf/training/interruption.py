"""SIGTERM: what a scheduler sends before it takes the machine away."""

from __future__ import annotations

import signal
import threading

from p2net_tf.utils.exceptions import Interrupted, UserError


class Interruption:
    """While open, SIGTERM asks the training to save and stop, instead of killing it.

    ```python
    with Interruption() as interruption:
        ...
        if interruption.requested:
            save()
            interruption.leave()
    ```

    Attributes:
        requested: a SIGTERM came.
        nothing_to_lose: set while all that was done is saved; a SIGTERM then ends the work at once, even in
            the middle of a long validation.
    """

    def __init__(self, words: str):
        """`words`: what the user reads, with the remedy."""
        self._words = words
        self.requested = False
        self.nothing_to_lose = False
        self._left_at_once = False

    def __enter__(self) -> Interruption:
        # Python runs signal handlers in the main thread only; elsewhere somebody else is in charge of them.
        self._installed = threading.current_thread() is threading.main_thread()
        if self._installed:
            self._before = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, _, error: BaseException | None, *__) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._before)
        # Native code that calls Python, as that of TensorFlow does while a graph is traced, turns what is
        # raised in the handler into an error of its own, such as SystemError.
        if self._left_at_once and error is not None and not isinstance(error, UserError | Interrupted):
            raise Interrupted(self._words) from error

    def leave(self) -> None:
        """Raises:
        Interrupted: always.
        """
        raise Interrupted(self._words)

    def _on_signal(self, *_) -> None:
        self.requested = True
        if self.nothing_to_lose:
            self._left_at_once = True
            self.leave()
