"""Tables of comparisons as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def pipe_table(headings: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table for Markdown; the first `names` columns and the last one are words, the others numbers."""
    sides = [*[":--"] * names, *["--:"] * (len(headings) - names - 1), ":--"]
    lines = [headings, sides, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def terminal_table(title: str, headings: Sequence[str], names: int = 1) -> Table:
    """An empty table for a terminal of 80 columns, its columns aligned as those of `pipe_table`."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for number, heading in enumerate(headings):
        words = number < names or number == len(headings) - 1
        table.add_column(heading, justify="left" if words else "right", no_wrap=True)
    return table


def print_remarks(failed: dict[str, dict[str, str]], notes: Sequence[str], console: Console) -> None:
    """What stands below a table.

    Args:
        failed: name -> seed -> reason.
    """
    for name, reasons in failed.items():
        for seed, why in reasons.items():
            console.print(f"! {name}, seed {seed}: {why}", markup=False)
    for note in notes:
        console.print(f"- {note}", markup=False)


def format_number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def format_values(values: Sequence[float | None]) -> list[str]:
    """Scores, one per seed."""
    return ["failed" if value is None else f"{value:.4f}" for value in values]


def format_mean(entry: dict) -> str:
    """Mean and spread on two lines."""
    spread = "" if entry["spread"] is None else f"\n± {entry['spread']:.4f}"
    return format_number(entry["mean"]) + spread


def format_failures(failed: dict[str, str]) -> str:
    """Of one row: seed -> reason."""
    return "; ".join(f"seed {seed}: {why}".replace("\n", "; ") for seed, why in failed.items())


def failures(seeds: Sequence[int], cells: Sequence[dict]) -> dict[str, str]:
    """Seed -> reason of the cells that failed; JSON's keys are text."""
    pairs = zip(seeds, cells, strict=True)
    return {str(seed): cell["failed"] for seed, cell in pairs if "failed" in cell}


def column(cells: Sequence[dict], key: str) -> list:
    return [cell.get(key) for cell in cells]
