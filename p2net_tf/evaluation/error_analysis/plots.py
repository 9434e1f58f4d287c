"""The error analysis as plots: which keypoints fail how, and what each kind of error costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.correction import STEPS
from p2net_tf.evaluation.error_analysis.keypoints import JITTER, TYPES
from p2net_tf.evaluation.error_analysis.tables import keypoint_rows
from p2net_tf.utils.plotting import new_figure, save_figure

COLORS = {
    "jitter": "#f2b632",
    "inversion": "#2fae8f",
    "swap": "#b565d8",
    "miss": "#e5484d",
    "score": "#5b8def",
    "background": "#8b8d98",
    "missed person": "#43484e",
}
"""Of types of errors and of steps, in all pictures."""


def plot_keypoints(analysis: ErrorAnalysis, path: str | Path) -> None:
    """A stacked bar per keypoint: the percentage of each type of error. What lacks to 100 is good."""
    rows = keypoint_rows(analysis)
    figure = new_figure(8, 1.4 + 0.28 * len(rows))
    axes = figure.subplots()
    start = np.zeros(len(rows))
    for name in TYPES[JITTER:]:
        shares = np.nan_to_num([row[name] for row in rows.values()])
        axes.barh(list(rows), shares, left=start, color=COLORS[name], label=name)
        start += shares
    for place, (row, end) in enumerate(zip(rows.values(), start, strict=True)):
        axes.text(end, place, f"  {end:.1f} % of {row['labeled']}", va="center", fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, 1.25 * start.max()))
    axes.set_xlabel("% of the labeled keypoints of matched persons")
    figure.legend(fontsize=8, ncols=len(TYPES), loc="outside upper center", frameon=False)
    save_figure(figure, path)


def plot_ap(analysis: ErrorAnalysis, path: str | Path) -> None:
    """AP over the OKS threshold as one error after the other is corrected, and the gains of each."""
    figure = new_figure(11, 4.2)
    thresholds, gains = figure.subplots(1, 2)
    _draw_thresholds(thresholds, analysis)
    _draw_gains(gains, analysis)
    save_figure(figure, path)


def _draw_thresholds(axes, analysis: ErrorAnalysis) -> None:
    curves = [_curve(analysis.original), *(_curve(analysis.together[step]) for step in STEPS)]
    places = list(analysis.original.ap_by_threshold)
    for step, below, above in zip(STEPS, curves, curves[1:], strict=False):
        axes.fill_between(places, below, above, color=COLORS[step], alpha=0.75, linewidth=0, label=step)
    axes.plot(places, curves[0], color="black", label="as predicted")
    axes.set(xlabel="OKS threshold", ylabel="AP", ylim=(0, 1.02), title="AP as errors are corrected")
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(True, alpha=0.3)


def _draw_gains(axes, analysis: ErrorAnalysis) -> None:
    places = np.arange(len(STEPS))
    colors = [COLORS[step] for step in STEPS]
    alone = np.nan_to_num([analysis.gain_alone(step) for step in STEPS])
    together = np.nan_to_num([analysis.gain_together(step) for step in STEPS])
    axes.barh(places - 0.2, alone, 0.38, color=colors, label="alone")
    axes.barh(places + 0.2, together, 0.38, color=colors, alpha=0.45, label="after all above")
    axes.set_yticks(places, STEPS)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="gain in AP", title="What each error costs")
    axes.legend(fontsize=8)
    axes.grid(True, axis="x", alpha=0.3)


def _curve(result: CocoResult) -> np.ndarray:
    """NaN where nobody counts."""
    curve = np.array(list(result.ap_by_threshold.values()))
    return np.where(curve < 0, np.nan, curve)
