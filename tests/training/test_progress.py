"""What a training says about its speed."""

from contextlib import ExitStack

import pytest

from p2net_tf.training import progress as module
from p2net_tf.training.loop import Clock
from p2net_tf.training.progress import TrainingProgress, describe_rates
from p2net_tf.utils.console import messages


@pytest.fixture
def clock():
    """8 steps in 4 seconds, one of which was spent waiting."""
    clock = Clock()
    clock.waiting, clock.training, clock.steps = 1.0, 3.0, 8
    return clock


def said(clock, monkeypatch, seconds, step=0):
    """Lines of an epoch of 4 steps of 16, the second of 3, with so many seconds between all events."""
    now = iter(range(0, 10**6, seconds))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(now)))
    with messages.capture() as lines, ExitStack() as closing:
        shown = TrainingProgress(epochs=3, steps=4, batch_size=16, step=step, clock=clock, closing=closing)
        shown.on_train_begin()
        for batch in range(4):
            shown.on_train_batch_end(batch, {"loss": 0.5})
        shown.on_epoch_end(step // 4, {"loss": 0.25, "val_loss": 0.75})
    return lines.get().splitlines()


class TestRates:
    def test_in_words(self, clock):
        assert describe_rates(clock, 16) == "2 steps/s, 32 images/s, 25 % waiting for data"

    def test_before_the_first_step(self):
        assert describe_rates(Clock(), 16) == "0 steps/s, 0 images/s, 0 % waiting for data"


class TestLines:
    def test_one_per_epoch_with_the_time_that_is_left(self, clock, monkeypatch):
        lines = said(clock, monkeypatch, seconds=1, step=4)
        # 12 steps in all, 8 are done: 4 are left, at 2 per second.
        rates = "2 steps/s, 32 images/s, 25 % waiting for data, eta 0:00:02"
        assert lines == [f"epoch 2/3  loss 0.2500  val_loss 0.7500  {rates}"]

    def test_one_per_minute_in_a_log(self, clock, monkeypatch):
        lines = said(clock, monkeypatch, seconds=40)
        assert [line.split("  ")[0] for line in lines] == [
            "epoch 1/3, step 2/4", "epoch 1/3, step 4/4", "epoch 1/3"
        ]  # fmt: skip
        assert lines[0].endswith("eta 0:00:05")

    def test_no_speed_yet(self, monkeypatch):
        assert said(Clock(), monkeypatch, seconds=1)[-1].endswith("eta unknown")
