"""What a training shows while it runs: a bar, or lines in a log, with rates and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta

import keras

from p2net_tf.training.loop import Clock
from p2net_tf.utils.console import messages, progress, shows_progress

_LINE_SECONDS = 60.0
"""Between the lines of a log, where there is no bar."""


class TrainingProgress(keras.callbacks.Callback):
    """One bar for the whole run, and a line of scores per epoch; without a terminal a line per minute.

    Args:
        epochs, steps, batch_size: of the run.
        step: finished when it begins.
        clock: knows the rates.
        closing: takes the bar down at the end; Keras calls no callback after an interrupt.
        remarks: give further words for every line.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        batch_size: int,
        step: int,
        clock: Clock,
        closing: ExitStack,
        remarks: Sequence[Callable[[], str]] = (),
    ):
        super().__init__()
        self._remarks = remarks
        self._epochs, self._steps, self._batch_size = epochs, steps, batch_size
        self._step, self._clock, self._closing = step, clock, closing

    def on_train_begin(self, logs=None):
        images = (self._epochs * self._steps - self._step) * self._batch_size
        self._advance = self._closing.enter_context(progress("training, images", total=images))
        self._printed = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self._advance(self._batch_size)
        self._advance.describe(f"training, images; {describe_rates(self._clock, self._batch_size)}")
        if not shows_progress() and time.monotonic() - self._printed > _LINE_SECONDS:
            epoch, step = divmod(self._step - 1, self._steps)
            self._print(f"epoch {epoch + 1}/{self._epochs}, step {step + 1}/{self._steps}", logs)

    def on_epoch_end(self, epoch, logs=None):
        self._print(f"epoch {epoch + 1}/{self._epochs}", logs)

    def _print(self, where: str, logs: dict[str, float]) -> None:
        self._printed = time.monotonic()
        scores = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        scores = "  ".join([scores, *(remark() for remark in self._remarks)])
        rates = describe_rates(self._clock, self._batch_size)
        messages.print(f"{where}  {scores}  [dim]{rates}, eta {self._eta()}[/dim]", soft_wrap=True)

    def _eta(self) -> str:
        """Of the training steps; what comes between them is not foreseen."""
        if not self._clock.steps:
            return "unknown"
        left = (self._epochs * self._steps - self._step) / self._clock.steps_per_second
        return str(timedelta(seconds=round(left)))


def describe_rates(clock: Clock, batch_size: int) -> str:
    """Steps and images per second, and the share of the time spent waiting for data, in words."""
    rate, share = clock.steps_per_second, 100 * clock.waiting_share
    return f"{rate:.3g} steps/s, {rate * batch_size:.3g} images/s, {share:.0f} % waiting for data"
