"""A conversion as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_conversion(conversion, console: Console, following: str) -> None:
    """`conversion` of a network for poses or of a detector; `following`: the command that is next."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in conversion.rows().items():
        table.add_row(name, value)
    console.print(table)
    console.print(f"next: {following}", soft_wrap=True)
