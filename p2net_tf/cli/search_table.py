"""What a search found, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_found(report: dict, console: Console) -> None:
    """The policy of a finished search, its mixing weights and the discretisation gap."""
    table = Table(title=f"policy {report['title']}", header_style="bold")
    for heading in ("sub-policy", "operation", "probability", "magnitude", "spread"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    for number, stages in enumerate(report["policy"], start=1):
        for stage in stages:
            values = (f"{stage[name]:.2f}" for name in ("probability", "magnitude", "spread"))
            table.add_row(str(number), stage["operation"], *values)
    console.print(table)
    means = ", ".join(f"{name} {weight:.2f}" for name, weight in report["mean_weights"].items())
    console.print(f"mean mixing weights: {means}", soft_wrap=True)
    gap = report["discretisation"]
    console.print(
        f"outer loss {gap['now']:.3f} now; after {gap['steps']} steps {gap['continuous']:.3f} continuous, "
        f"{gap['discrete']:.3f} discrete"
    )
    console.print(f"cost: {report['gradient_steps']} gradient steps, {report['seconds']:.0f} s")
