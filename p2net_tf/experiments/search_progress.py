"""A search as it goes: a table of mixing weights on a terminal, lines in a log, and TensorBoard."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchSpace
from p2net_tf.autopose.step import StepRecord
from p2net_tf.autopose.trajectory import Trajectory
from p2net_tf.utils.console import messages, shows_progress

_SHOWN = 4
"""Operations named in a line of the log."""


class LiveTable:
    """While open, shows the newest mixing weights.

    Args:
        space: what is searched.
        settings: of the search.
    """

    def __init__(self, space: SearchSpace, settings: SearchConfig):
        self._space, self._settings = space, settings
        columns = (
            TextColumn("search, steps"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=messages)
        self._task = self._bar.add_task("", total=settings.steps)
        self._live = Live(self._bar, console=messages, transient=True) if shows_progress() else None

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._live.stop()

    def advance(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def show(self, done: int, trajectory: Trajectory) -> None:
        self.advance(done)
        weights = trajectory.last.weights
        if self._live:
            self._live.update(Group(_table(self._space, weights), _facts(trajectory), self._bar))
        else:
            mean = weights.mean(axis=(0, 1))
            best = [f"{self._space.operations[o]} {mean[o]:.2f}" for o in np.argsort(-mean)[:_SHOWN]]
            messages.print(
                f"step {done}/{self._settings.steps}  {_facts(trajectory)}  {', '.join(best)}", soft_wrap=True
            )


def _table(space: SearchSpace, weights: np.ndarray) -> Table:
    """Operations in rows, stages in columns; the most likely of each stage in bold."""
    table = Table(title="mixing weights", header_style="bold")
    table.add_column("operation")
    places = list(np.ndindex(space.sub_policies, space.stages))
    for k, n in places:
        table.add_column(f"{k + 1}.{n + 1}", justify="right")
    table.add_column("mean", justify="right")
    for o, name in enumerate(space.operations):
        cells = [
            f"{'[bold]' if o == weights[k, n].argmax() else ''}{weights[k, n, o]:.2f}" for k, n in places
        ]
        table.add_row(name, *cells, f"{weights[:, :, o].mean():.2f}")
    return table


def _facts(trajectory: Trajectory) -> str:
    return (
        f"inner {trajectory.recent('inner_loss'):.3f}  outer {trajectory.recent('outer_loss'):.3f}  "
        f"entropy {trajectory.entropy():.2f}  noise {trajectory.recent('noise'):.2f}"
    )


def log_step(step: int, record: StepRecord, space: SearchSpace) -> None:
    """Writes the numbers of one step to the TensorBoard writer in use."""
    mean = record.weights.mean(axis=(0, 1))
    for name, weight in zip(space.operations, mean, strict=True):
        tf.summary.scalar(f"mixing_weight/{name}", weight, step)
    for name in ("inner_loss", "outer_loss", "noise"):
        tf.summary.scalar(name, getattr(record, name), step)
    tf.summary.histogram("probabilities", record.probabilities, step)
    tf.summary.histogram("magnitudes", record.magnitudes, step)
