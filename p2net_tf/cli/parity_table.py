"""All runtimes on the same people, in one table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from p2net_tf.export.parity import SURE


def print_parity(report: dict, console: Console) -> None:
    """The table of `verify`."""
    title = f"{report['people']} people of {report['data']}"
    table = Table(title=title, header_style="bold")
    pixels = ("median px", "max px", f"99 % px, score > {SURE}")
    columns = ("", *pixels, report["metric"], "MB", "ms", "people/s")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for name, figures in report["runtimes"].items():
        pixels = [_cell(figures.get(key), 4) for key in ("median_px", "max_px", "sure_99_px")]
        size = None if figures["size"] is None else figures["size"] / 1e6
        speed = [_cell(figures["latency_ms"], 1), _cell(figures["people_per_s"], 1)]
        table.add_row(name, *pixels, f"{figures['score']:.4f}", _cell(size, 1), *speed)
    console.print(table)
    console.print(
        "Differences are in image pixels to Python's evaluation; those of TFLite to Python on the same 8-bit "
        "crops. ms: median of one request, one at a time; people/s: as many requests at once as cores "
        "(TFLite: one, on all cores).",
        soft_wrap=True,
    )


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
