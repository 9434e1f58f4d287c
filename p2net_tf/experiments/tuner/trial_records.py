"""What is kept of the trials of a black-box search: a cell each, a record of it, a table, a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from p2net_tf.augment.policies import Policy
from p2net_tf.experiments.cells import CellFiles
from p2net_tf.utils.files import write_bytes, write_text
from p2net_tf.utils.plotting import new_figure, png_of

COMPLETED, FAILED = "COMPLETED", "FAILED"

_INK, _GRID, _TRIAL, _BEST = "#7d8796", "#8a94a333", "#5b8def", "#f28c38"
"""Readable on white and on black, as in `evaluation.report`."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        trial: its number, as text.
        status: `COMPLETED` or `FAILED`.
        reason: why it failed.
        steps: gradient steps it was given.
        worker: who ran it, `tuner0` where nothing is distributed.
        policy: in short, see `describe`.
    """

    trial: str
    status: str
    policy: str
    steps: int
    reason: str = ""
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    training_loss: float | None = None
    seconds: float | None = None
    worker: str = ""


def record_of(files: CellFiles) -> TrialRecord | None:
    """Of a trial's cell; None where it has not ended."""
    request, found, reason = files.request(), files.found(), files.failure()
    if not request or (found is None and reason is None):
        return None
    ended = {"status": FAILED, "reason": reason}
    if found is not None:
        scores = {name: value for name, value in found.items() if name not in ("metric", "value")}
        ended = {"status": COMPLETED, "validation_loss": found["value"], **scores}
    return TrialRecord(**request | ended)


def describe(policy: Policy) -> str:
    """A policy on one line: `Rotate 3, p 0.5 > Cutout 5 | ...`."""
    return " | ".join(" > ".join(map(str, stages)) for stages in policy.sub_policies)


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The lowest validation loss among those that trained longest: a short training is no fair rival."""
    completed = [record for record in records if record.status == COMPLETED]
    longest = max((record.steps for record in completed), default=0)
    rivals = [record for record in completed if record.steps == longest]
    return min(rivals, key=lambda record: record.validation_loss, default=None)


def write_table(records: Sequence[TrialRecord], path: Path) -> None:
    """A CSV with one row per trial; of a reason only the first line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(TrialRecord)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**asdict(record), "reason": first_line(record.reason)})
    write_text(path, text.getvalue())


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def plot_trials(records: Sequence[TrialRecord], path: Path) -> None:
    """Draws every trial's validation loss, and the best so far, over the gradient steps spent."""
    spent = np.cumsum([record.steps for record in records])
    done = np.array([record.status == COMPLETED for record in records])
    # What failed has no loss, and None becomes NaN, which is not drawn.
    losses = np.array([record.validation_loss for record in records], float)
    figure = new_figure(6.4, 3.4)
    axes = figure.subplots()
    axes.plot(spent, losses, "o", color=_TRIAL, markersize=4, label="trial")
    best = np.fmin.accumulate(losses)
    axes.step(spent, best, where="post", color=_BEST, linewidth=1.8, label="best so far")
    if not done.all():
        top = np.full((~done).sum(), np.nanmax(losses) if done.any() else 0.0)
        axes.plot(spent[~done], top, "x", color=_INK, markersize=6, label="failed")
    axes.set_title("validation loss", color=_INK, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel("gradient steps", color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK, fontsize=8)
    write_bytes(path, png_of(figure, transparent=True))
