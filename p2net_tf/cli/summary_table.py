"""The table of `p2net info`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_summary(summary: dict, console: Console) -> None:
    """Prints what `summarize` returns as a table."""
    table = Table("", "parameters", "multiply-adds")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in summary["sub_networks"].items():
        table.add_row(name, f"{part['parameters']:,}", f"{part['multiply_adds']:,}")
    table.add_section()
    table.add_row("total", f"{summary['parameters']:,}", f"{summary['multiply_adds']:,}")
    console.print(table)
    console.print(
        f"for one crop: {summary['multiply_adds'] / 1e9:.2f} G multiply-adds of convolutions and dense "
        f"layers; {summary['published_gflops']:.2f} GFLOPs as tables of papers count (units of 1024 ** 3, "
        "a transposed convolution four times, without heatmaps on the way that a prediction does not need)",
        soft_wrap=True,
    )
    for name, shape in summary["output_shapes"].items():
        console.print(f"{name}: {' x '.join(map(str, shape))}")
