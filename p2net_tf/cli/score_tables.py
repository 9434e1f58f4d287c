"""Scores and the errors behind them as tables."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.tables import ap_rows, describe, keypoint_rows
from p2net_tf.evaluation.pck import PckResult


def print_result(result: PckResult | CocoResult, console: Console) -> None:
    """Prints a result in the columns of the published tables, and its diagnostics below."""
    if isinstance(result, PckResult):
        _print_pck(result, console)
    else:
        _print_coco(result, console)


def _print_pck(result: PckResult, console: Console):
    table = Table(title=f"{result.name} in percent")
    cells = {name: _number(rate, 2) for name, rate in result.per_group.items()}
    cells |= {"Total": _number(result.total, 3), "Mean": _number(result.mean, 3)}
    for name in cells:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    console.print(table)
    console.print(
        f"{result.persons} persons, {sum(result.counts.values())} labeled keypoints. Total: hits over all of "
        f"them; Mean: of the {len(result.per_keypoint)} keypoints' rates."
    )
    if result.missing:
        console.print(f"{result.missing} keypoints have no prediction and count as misses.")
    if result.skipped:
        rows = ", ".join(map(str, result.skipped[:10])) + (" ..." if len(result.skipped) > 10 else "")
        console.print(
            f"{len(result.skipped)} persons do not count, their reference length is 0 or unknown (rows "
            f"{rows})."
        )


def _print_coco(result: CocoResult, console: Console):
    table = Table(title=result.name)
    for name in ("", "OKS 0.50:0.95", "0.50", "0.75", "medium", "large"):
        table.add_column(name, justify="right", no_wrap=True)
    values = ["-" if value < 0 else _number(value, 5) for value in result.metrics.values()]
    table.add_row("AP", *values[:5])
    table.add_row("AR", *values[5:])
    console.print(table)
    console.print(
        f"{result.images} images, {result.persons} persons that count, {result.predictions} predicted poses."
    )
    for sentence in result.diagnostics:
        console.print(f"! {sentence}", markup=False)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def print_errors(analysis: ErrorAnalysis, console: Console) -> None:
    """Prints the share of each type of error per keypoint, and what each costs."""
    console.print(_table("Keypoints in percent", keypoint_rows(analysis), digits=1))
    console.print(_table("AP without an error", ap_rows(analysis), digits=4))
    console.print(describe(analysis))


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
