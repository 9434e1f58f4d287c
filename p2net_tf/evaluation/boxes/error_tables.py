"""The errors of boxes as rows of tables and as a plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2net_tf.evaluation.boxes.error_types import MISSED, BoxAnalysis
from p2net_tf.utils.plotting import new_figure, save_figure

COLORS = {
    "missed": "#43484e",
    "doubled": "#b565d8",
    "loose": "#f2b632",
    "class": "#2fae8f",
    "background": "#e5484d",
}
"""Of types of errors, in all pictures."""


def error_rows(analysis: BoxAnalysis) -> dict[str, dict[str, float]]:
    """Each kind: how many, as a part of the kept boxes (of the objects, for `missed`), and what it costs."""
    point, objects = analysis.result.at_limit, analysis.result.objects
    rows = {}
    for name, count in analysis.counts.items():
        whole = objects if name == MISSED else point.kept
        rows[name] = {
            "count": count,
            "%": 100 * count / whole if whole else 0.0,
            "AP50 gained": analysis.gain(name),
            "AP gained": analysis.gain(name, "AP"),
        }
    return rows


def describe(analysis: BoxAnalysis) -> str:
    """What was compared, in one sentence."""
    point, result = analysis.result.at_limit, analysis.result
    return (
        f"{point.kept} boxes with a score of {point.limit:.3g} and more find {point.recall:.1%} of "
        f"{result.objects} objects; {point.precision:.1%} of them find one, {point.doubles:.1%} are doubled."
    )


def plot_errors(analysis: BoxAnalysis, path: str | Path) -> None:
    """Bars: how many errors of each kind there are, and the AP that each costs."""
    rows = error_rows(analysis)
    names, places = list(rows), np.arange(len(rows))
    colors = [COLORS[name] for name in names]
    figure = new_figure(10, 1.6 + 0.4 * len(rows))
    counts, gains = figure.subplots(1, 2)
    counts.barh(names, [row["count"] for row in rows.values()], color=colors)
    counts.set(xlabel=f"errors from a score of {analysis.result.at_limit.limit:.3g} on")
    gains.barh(places - 0.2, [row["AP50 gained"] for row in rows.values()], 0.38, color=colors, label="AP50")
    gains.barh(
        places + 0.2, [row["AP gained"] for row in rows.values()], 0.38, color=colors, alpha=0.45, label="AP"
    )
    gains.set_yticks(places, names)
    gains.set(xlabel="gain where the error is corrected, at all scores")
    gains.legend(fontsize=8)
    for axes in (counts, gains):
        axes.invert_yaxis()
        axes.grid(True, axis="x", alpha=0.3)
    save_figure(figure, path)
