"""The curves of a run, drawn from the history in its folder."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.evaluation.report import plot_curves
from p2net_tf.training.callbacks import read_history

CURVES = "curves.png"


def draw_curves(folder: Path, metric: str | None) -> bool:
    """Draws `curves.png` beside `history.csv`; False where that is missing, or damaged and set aside.

    Args:
        metric: as `plot_curves` takes it.
    """
    history = folder / "history.csv"
    if not read_history(history):
        return False
    plot_curves(history, folder / CURVES, metric)
    return True
