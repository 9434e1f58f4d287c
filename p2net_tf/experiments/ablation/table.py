"""The result of an ablation as files and on a terminal; what `summary` found, in words."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from p2net_tf.experiments.cells import write_json
from p2net_tf.experiments.picture import draw_seeds
from p2net_tf.experiments.statistics import describe_difference
from p2net_tf.experiments.tables import (
    format_failures,
    format_mean,
    format_number,
    format_values,
    pipe_table,
    print_remarks,
    terminal_table,
)
from p2net_tf.utils.files import write_text
from p2net_tf.utils.plotting import save_figure


def write_ablation(folder: Path, report: dict) -> None:
    """Writes `ablation.json`, `.md`, `.csv` and `.png`; all but the first know no time and no place."""
    write_json(folder / "ablation.json", report)
    write_text(folder / "ablation.md", markdown(report))
    write_text(folder / "ablation.csv", comma_separated(report))
    entries = {"\n".join(entry["labels"].values()): entry for entry in report["settings"]}
    across = " and ".join(report["axes"])
    save_figure(
        draw_seeds(entries, report["seeds"], _score(report), across, report["title"]), folder / "ablation.png"
    )


def markdown(report: dict) -> str:
    settings = pipe_table(*settings_table(report), names=len(report["axes"]))
    effects = f"\n{pipe_table(*effects_table(report), names=3)}\n" if len(report["axes"]) > 1 else ""
    notes = "\n".join(f"- {note}" for note in report["notes"])
    return f"# {_title(report)}\n\n{settings}\n{effects}\n![one point per seed](ablation.png)\n\n{notes}\n"


def settings_table(report: dict) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text, one row per setting; the last column is the comparison with the baseline."""
    some_failed = any(entry["failed"] for entry in report["settings"])
    headings = [
        *report["axes"],
        "mean",
        "spread",
        *(f"seed {seed}" for seed in report["seeds"]),
        *(["failed"] if some_failed else []),
        "difference to the baseline",
    ]
    rows = [
        [
            *entry["labels"].values(),
            format_number(entry["mean"]),
            format_number(entry["spread"]),
            *format_values(entry["values"]),
            *([format_failures(entry["failed"])] if some_failed else []),
            _comparison(entry, report),
        ]
        for entry in report["settings"]
    ]
    return headings, rows


def effects_table(report: dict) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text, one row per value that is not the first of its axis."""
    rows = [
        [effect["axis"], effect["value"], effect["against"], describe_difference(effect["difference"])]
        for effect in report["effects"]
    ]
    return ["axis", "value", "against", "effect"], rows


def comma_separated(report: dict) -> str:
    """One line per training; the score is empty where it failed."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*report["axes"], "seed", report["metric"] or "score"])
    for entry in report["settings"]:
        for seed, value in zip(report["seeds"], entry["values"], strict=True):
            rows.writerow([*entry["labels"].values(), seed, value])
    return text.getvalue()


def print_ablation(report: dict, console: Console) -> None:
    """Prints the tables for a terminal, with a line per seed; then failures and notes."""
    headings = [*report["axes"], "mean ±\nspread", "by\nseed", "difference to\nthe baseline"]
    table = terminal_table(_title(report), headings, names=len(report["axes"]))
    for entry in report["settings"]:
        table.add_row(
            *entry["labels"].values(),
            format_mean(entry),
            "\n".join(format_values(entry["values"])),
            _comparison(entry, report).replace(", ", "\n"),
            end_section=True,
        )
    console.print(table)
    if len(report["axes"]) > 1:
        headings, rows = effects_table(report)
        effects = terminal_table("Effects", headings, names=3)
        for row in rows:
            effects.add_row(*row)
        console.print(effects)
    failed = {entry["name"]: entry["failed"] for entry in report["settings"]}
    print_remarks(failed, report["notes"], console)


def _title(report: dict) -> str:
    return f"{report['title']}: {_score(report)}"


def _score(report: dict) -> str:
    return f"{report['metric'] or 'score'} on the {report['part']} part"


def _comparison(entry: dict, report: dict) -> str:
    if entry["name"] == report["baseline"]:
        return "baseline"
    return describe_difference(entry["difference"])
