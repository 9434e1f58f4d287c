"""The error analysis as tables: for the terminal and for the page."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.correction import STEPS
from p2net_tf.evaluation.error_analysis.keypoints import TYPES
from p2net_tf.utils.console import console as standard_output


def print_errors(analysis: ErrorAnalysis, console: Console | None = None) -> None:
    """Prints the share of each type of error per keypoint, and what each costs."""
    console = console or standard_output
    console.print(_table("Keypoints in percent", keypoint_rows(analysis), digits=1))
    console.print(_table("AP without an error", ap_rows(analysis), digits=4))
    console.print(describe(analysis))


def keypoint_rows(analysis: ErrorAnalysis) -> dict[str, dict[str, float]]:
    """Each keypoint, then all: how many are labeled, and the percentage of each type; NaN of none."""
    counts = analysis.counts
    names = (*analysis.case.skeleton.keypoints, "all")
    rows = [*counts.tolist(), counts.sum(0).tolist()]
    return {name: {"labeled": sum(row), **_percent(row)} for name, row in zip(names, rows, strict=True)}


def ap_rows(analysis: ErrorAnalysis) -> dict[str, dict[str, float]]:
    """Each step: AP and its gain with that one corrected, and with all up to it corrected."""
    return {
        step: {
            "alone": analysis.alone[step]["AP"],
            "gain": analysis.gain_alone(step),
            "with all above": analysis.together[step]["AP"],
            "its gain": analysis.gain_together(step),
        }
        for step in STEPS
    }


def describe(analysis: ErrorAnalysis) -> str:
    """What was compared, in one sentence."""
    matches = analysis.matches
    return (
        f"{len(matches.pose_rows)} of {matches.counted.sum()} persons that count are matched (OKS 0.1), "
        f"{matches.missed.sum()} are missed; {matches.background.sum()} of {len(matches.background)} poses "
        "lie on nobody."
    )


def _percent(row: list[int]) -> dict[str, float]:
    total = sum(row)
    return {name: 100 * count / total if total else math.nan for name, count in zip(TYPES, row, strict=True)}


def _table(title: str, rows: dict[str, dict[str, float]], digits: int) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(_cell(value, digits) for value in row.values()))
    return table


def _cell(value: float, digits: int) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) or value == -1 else f"{value:.{digits}f}"
