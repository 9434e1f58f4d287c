"""The result of `p2net compare`: its table and its picture.

Values are scores on the test part as fractions, higher is better. Lists per seed follow `seeds`, with None
where a cell failed.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from p2net_tf.experiments.cells import write_json
from p2net_tf.experiments.picture import draw_seeds
from p2net_tf.experiments.statistics import (
    SPREAD_NOTE,
    describe_difference,
    difference,
    noise_notes,
    spread_of,
)
from p2net_tf.experiments.tables import (
    column,
    failures,
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


def summarize(
    results: dict[str, dict[int, dict]], seeds: list[int], budget: int, batch_size: int, reference: str
) -> dict:
    """The content of `compare.json`.

    Args:
        results: arm -> seed -> cell: what its `cell.json` holds, or `{"failed": reason}`.
        budget: gradient steps of every cell, of `batch_size` people each.
        reference: the arm that the others are held against, if it is there.
    """
    cells = {arm: [of_seed[seed] for seed in seeds] for arm, of_seed in results.items()}
    values = {arm: column(row, "value") for arm, row in cells.items()}
    against = values.get(reference)
    arms = {
        arm: {
            **spread_of(values[arm]),
            "values": values[arm],
            "validation_loss": column(row, "validation_loss"),
            "training_steps": column(row, "training_steps"),
            "search_steps": column(row, "search_steps"),
            "search_cost": column(row, "search_cost"),
            "seconds": column(row, "seconds"),
            "search_seconds": column(row, "search_seconds"),
            "resumed": column(row, "resumed"),
            "failed": failures(seeds, row),
            "difference": None if against is None or arm == reference else difference(values[arm], against),
        }
        for arm, row in cells.items()
    }
    metrics = dict.fromkeys(cell["metric"] for row in cells.values() for cell in row if "metric" in cell)
    return {
        "metric": next(iter(metrics), None),
        "budget": budget,
        "batch_size": batch_size,
        "seeds": seeds,
        "reference": reference if against is not None else None,
        "arms": arms,
        "notes": _notes(arms, budget, batch_size, reference if against is not None else None),
    }


def write_comparison(folder: Path, report: dict) -> None:
    """Writes `compare.json`, `compare.md` and `compare.png`."""
    write_json(folder / "compare.json", report)
    write_text(folder / "compare.md", markdown(report))
    score = f"{report['metric'] or 'score'} on the test part"
    title = f"{report['budget']:,} gradient steps each, search included"
    figure = draw_seeds(report["arms"], report["seeds"], score, "augmentation", title)
    save_figure(figure, folder / "compare.png")


def print_comparison(report: dict, console: Console) -> None:
    """Prints the table for a terminal of 80 columns, with a line per seed; then failures and notes."""
    headings = ["arm", "mean ±\nspread", "by\nseed", "training\nsteps", "search\nsteps", "wall\ntime"]
    against = "against\n" + (report["reference"] or "none of them")
    table = terminal_table(_title(report), [*headings, against])
    for name, arm in report["arms"].items():
        table.add_row(
            name,
            format_mean(arm),
            "\n".join(format_values(arm["values"])),
            "\n".join(format_number(value, "d") for value in arm["training_steps"]),
            "\n".join(format_number(value, "d") for value in arm["search_steps"]),
            _wall_time(arm),
            _comparison(name, report).replace(", ", "\n"),
            end_section=True,
        )
    console.print(table)
    failed = {name: arm["failed"] for name, arm in report["arms"].items()}
    print_remarks(failed, report["notes"], console)


def markdown(report: dict) -> str:
    table = pipe_table(*table_of(report))
    notes = "\n".join(f"- {note}" for note in report["notes"])
    command = f"\n    {report['command']}\n" if report.get("command") else ""
    return f"# {_title(report)}\n\n{table}\n\n![one point per seed](compare.png)\n\n{notes}\n{command}"


def table_of(report: dict) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text, one row per arm; the last column is the comparison with the reference."""
    some_failed = any(arm["failed"] for arm in report["arms"].values())
    headings = [
        "arm",
        "mean",
        "spread",
        *(f"seed {seed}" for seed in report["seeds"]),
        "validation loss",
        "training steps",
        "search steps",
        "wall time",
        *(["failed"] if some_failed else []),
        f"difference to {report['reference']}" if report["reference"] else "difference",
    ]
    rows = [
        [
            name,
            format_number(arm["mean"]),
            format_number(arm["spread"]),
            *format_values(arm["values"]),
            format_number(spread_of(arm["validation_loss"])["mean"], ".4g"),
            _counts(arm["training_steps"]),
            _counts(arm["search_steps"]),
            _wall_time(arm),
            *([format_failures(arm["failed"])] if some_failed else []),
            _comparison(name, report),
        ]
        for name, arm in report["arms"].items()
    ]
    return headings, rows


def _title(report: dict) -> str:
    metric = report["metric"] or "no result"
    return f"{report['title']}: {metric} on the test part, {report['budget']:,} gradient steps for every arm"


def _notes(arms: dict, budget: int, batch_size: int, reference: str | None) -> list[str]:
    notes = [
        f"Every cell has {budget} gradient steps of {batch_size} people. 'Search steps' is what a search "
        "cost in gradient-step equivalents, rounded up to leave a training of equal epochs; it is taken from "
        "the budget, so training and search steps add up to it exactly.",
        "Searches saw the training part alone: the validation and the test part were withheld from them.",
        "The last network of a training is scored, once, on the test part; no choice was made by it, nor by "
        "the validation part, whose loss is that of the same network.",
        "The learning rate is a cosine over the cell's own training steps; its warm-up, and the window of "
        "averaged weights, are at most a tenth of them. Wall time: search and training, mean of the seeds.",
        SPREAD_NOTE,
    ]
    if reference:
        notes += noise_notes([arm["difference"] for arm in arms.values()], reference)
    if any(any(arm["resumed"]) for arm in arms.values()):
        notes.append("'>' before a wall time: of a resumed training only the time since then is known.")
    return notes


def _comparison(name: str, report: dict) -> str:
    if name == report["reference"]:
        return "reference"
    return describe_difference(report["arms"][name]["difference"])


def _counts(values: list[int | None]) -> str:
    """One number where all seeds have the same."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(format_number(value, "d") for value in (distinct if len(distinct) == 1 else values))


def _wall_time(arm: dict) -> str:
    mean = spread_of(arm["seconds"])["mean"]
    if mean is None or mean < 1:
        return "-" if mean is None else "< 1 s"
    unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if mean >= s), ("s", 1))
    return f"{'> ' if any(arm['resumed']) else ''}{mean / size:.3g} {unit}"
