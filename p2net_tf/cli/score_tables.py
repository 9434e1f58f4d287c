"""Scores and the errors behind them as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from p2net_tf.evaluation.boxes.average_precision import BoxResult
from p2net_tf.evaluation.boxes.error_tables import describe as describe_boxes
from p2net_tf.evaluation.boxes.error_tables import error_rows
from p2net_tf.evaluation.boxes.error_types import BoxAnalysis
from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.tables import ap_rows, describe, keypoint_rows
from p2net_tf.evaluation.pck import PckResult
from p2net_tf.evaluation.tracks.score import TrackResult


def print_result(result: PckResult | CocoResult | BoxResult | TrackResult, console: Console) -> None:
    """Prints a result in the columns of the published tables, and its diagnostics below."""
    if isinstance(result, PckResult):
        _print_pck(result, console)
    elif isinstance(result, BoxResult):
        _print_boxes(result, console)
    elif isinstance(result, TrackResult):
        _print_tracks(result, console)
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
    _print_diagnostics(result, console)


def _print_coco(result: CocoResult, console: Console):
    values = list(result.metrics.values())
    console.print(
        _ap_table(
            result.name, ("OKS 0.50:0.95", "0.50", "0.75", "medium", "large"), AP=values[:5], AR=values[5:]
        )
    )
    console.print(
        f"{result.images} images, {result.persons} persons that count, {result.predictions} predicted poses."
    )
    _print_diagnostics(result, console)


def _print_boxes(result: BoxResult, console: Console):
    values = list(result.metrics.values())
    sizes = ("small", "medium", "large")
    console.print(_ap_table(f"{result.name}, IoU", ("0.50:0.95", "0.50", "0.75", *sizes), AP=values[:6]))
    console.print(_ap_table("Recall of boxes a picture", ("1", "10", "100", *sizes), AR=values[6:]))
    if result.classes:
        rows = {name: {**own.metrics, "objects": own.objects} for name, own in result.classes.items()}
        console.print(_table("Classes", rows, digits=4))
    point = result.at_limit
    console.print(
        f"{result.images} images, {result.objects} objects that count, {result.predictions} predicted boxes; "
        f"100 a picture find {_rate(result.recall)} of the objects (IoU 0.5)."
    )
    console.print(
        f"From a score of {point.limit:.3g} on: {point.kept} boxes, precision {point.precision:.4f}, recall "
        f"{point.recall:.4f}, {point.doubled} doubled ({point.doubles:.2%})."
    )
    _print_diagnostics(result, console)


def _print_tracks(result: TrackResult, console: Console):
    numbers = result.numbers
    table = Table(title="People over time")
    cells = {"MOTA": _number(numbers.mota, 4), "IDF1": _number(numbers.idf1, 4)}
    cells |= {name: str(count) for name, count in numbers.counts.items()}
    cells |= {"OKS AP": _rate(result.poses["AP"])}
    for name in cells:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    console.print(table)
    console.print(
        f"{result.frames} frames, {result.people} people that count; {numbers.found} were found, "
        f"{numbers.kept} of them under one number that nobody else had."
    )
    console.print(
        f"Jitter {_number(result.jitter, 5)} sizes of a person per frame^2, of the truth "
        f"{_number(result.true_jitter, 5)}; lag {_number(result.lag, 2)} frames."
    )
    _print_diagnostics(result, console)


def _ap_table(title: str, columns: Sequence[str], **rows: Sequence[float]) -> Table:
    table = Table(title=title)
    for name in ("", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    for name, values in rows.items():
        table.add_row(name, *(_rate(value) for value in values))
    return table


def _rate(value: float) -> str:
    """pycocotools gives -1 where nothing counts."""
    return "-" if value < 0 else _number(value, 5)


def _print_diagnostics(result: PckResult | CocoResult | BoxResult | TrackResult, console: Console) -> None:
    for sentence in result.diagnostics:
        console.print(f"! {sentence}", markup=False)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def print_errors(analysis: ErrorAnalysis | BoxAnalysis, console: Console) -> None:
    """Prints the share of each type of error, of keypoints for each, and what each costs."""
    if isinstance(analysis, BoxAnalysis):
        title = f"Errors from a score of {analysis.result.at_limit.limit:.3g} on"
        console.print(_table(title, error_rows(analysis), digits=4))
        console.print(describe_boxes(analysis))
        return
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
