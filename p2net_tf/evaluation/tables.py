"""Results as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.pck import PckResult
from p2net_tf.utils.console import console as standard_output


def print_result(result: PckResult | CocoResult, console: Console | None = None) -> None:
    """Prints a result in the columns of the published tables, and its diagnostics below."""
    console = console or standard_output
    if isinstance(result, PckResult):
        _print_pck(result, console)
    else:
        _print_coco(result, console)


def _print_pck(result: PckResult, console: Console):
    table = Table(title=f"{result.name} in percent")
    cells = {name: _cell(rate, 2) for name, rate in result.per_group.items()}
    cells |= {"Total": _cell(result.total, 3), "Mean": _cell(result.mean, 3)}
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
    values = ["-" if value < 0 else _cell(value, 5) for value in result.metrics.values()]
    table.add_row("AP", *values[:5])
    table.add_row("AR", *values[5:])
    console.print(table)
    console.print(
        f"{result.images} images, {result.persons} persons that count, {result.predictions} predicted poses."
    )
    for sentence in result.diagnostics:
        console.print(f"! {sentence}", markup=False)


def _cell(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
