"""The result of `p2net compare`: its statistics, its table, its picture.

Values are scores on the test part as fractions, higher is better. Lists per seed follow `seeds`, with None
where a cell failed.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from p2net_tf.files import write_bytes, write_text

_NOISE = 2.0
"""Standard errors below which a difference counts as noise."""
_INK, _GRID = "#333a45", "#8a94a344"
_SEED_COLORS = ("#5b8def", "#f28c38", "#2fae8f", "#c15bd0", "#b58900", "#d64550")


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
    values = {arm: _column(row, "value") for arm, row in cells.items()}
    against = values.get(reference)
    arms = {
        arm: {
            **spread_of(values[arm]),
            "values": values[arm],
            "validation_loss": _column(row, "validation_loss"),
            "training_steps": _column(row, "training_steps"),
            "search_steps": _column(row, "search_steps"),
            "search_cost": _column(row, "search_cost"),
            "seconds": _column(row, "seconds"),
            "search_seconds": _column(row, "search_seconds"),
            "resumed": _column(row, "resumed"),
            "failed": _failures(seeds, row),
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


def spread_of(values: Sequence[float | None]) -> dict:
    """`mean` and `spread`, the sample standard deviation, of the values there are; None for too few."""
    there = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(there)) if there else None,
        "spread": float(np.std(there, ddof=1)) if len(there) > 1 else None,
    }


def difference(values: Sequence[float | None], reference: Sequence[float | None]) -> dict | None:
    """The difference to `reference`, paired by seed; None where no seed has both.

    Returns:
        `mean`, `standard_error` of the mean (None for one pair), `pairs`, and `within_noise`: whether the
        mean is smaller than two standard errors (None where there is none to measure it by).
    """
    pairs = [a - b for a, b in zip(values, reference, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    mean = float(np.mean(pairs))
    if len(pairs) < 2:
        return {"mean": mean, "standard_error": None, "pairs": 1, "within_noise": None}
    error = float(np.std(pairs, ddof=1) / math.sqrt(len(pairs)))
    # Arms that do the same differ by 0 with an error of 0.
    noise = abs(mean) < _NOISE * error or mean == 0
    return {"mean": mean, "standard_error": error, "pairs": len(pairs), "within_noise": noise}


def write_comparison(folder: Path, report: dict) -> None:
    """Writes `compare.json`, `compare.md` and `compare.png`."""
    write_text(folder / "compare.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "compare.md", markdown(report))
    write_bytes(folder / "compare.png", _picture(report))


def print_comparison(report: dict, console: Console) -> None:
    """Prints the table for a terminal of 80 columns, with a line per seed; then failures and notes."""
    headings = ["arm", "mean ±\nspread", "by\nseed", "training\nsteps", "search\nsteps", "wall\ntime"]
    table = Table(title=_title(report), title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for heading in [*headings, "against\n" + (report["reference"] or "none of them")]:
        left = heading == "arm" or heading.startswith("against")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for name, arm in report["arms"].items():
        table.add_row(
            name,
            _number(arm["mean"], ".4f") + ("" if arm["spread"] is None else f"\n± {arm['spread']:.4f}"),
            "\n".join("failed" if value is None else f"{value:.4f}" for value in arm["values"]),
            "\n".join(_number(value, "d") for value in arm["training_steps"]),
            "\n".join(_number(value, "d") for value in arm["search_steps"]),
            _wall_time(arm),
            _comparison(name, report).replace(", ", "\n"),
            end_section=True,
        )
    console.print(table)
    for name, arm in report["arms"].items():
        for seed, why in arm["failed"].items():
            console.print(f"! {name}, seed {seed}: {why}", markup=False)
    for note in report["notes"]:
        console.print(f"- {note}", markup=False)


def markdown(report: dict) -> str:
    headings, rows = table_of(report)
    lines = [headings, [":--", *["--:"] * (len(headings) - 2), ":--"], *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    notes = "\n".join(f"- {note}" for note in report["notes"])
    command = f"\n    {report['command']}\n" if report.get("command") else ""
    return f"# {_title(report)}\n\n{table}\n\n![one point per seed](compare.png)\n\n{notes}\n{command}"


def table_of(report: dict) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text, one row per arm; the last column is the comparison with the reference."""
    failures = any(arm["failed"] for arm in report["arms"].values())
    headings = [
        "arm",
        "mean",
        "spread",
        *(f"seed {seed}" for seed in report["seeds"]),
        "validation loss",
        "training steps",
        "search steps",
        "wall time",
        *(["failed"] if failures else []),
        f"difference to {report['reference']}" if report["reference"] else "difference",
    ]
    rows = [
        [
            name,
            _number(arm["mean"], ".4f"),
            _number(arm["spread"], ".4f"),
            *("failed" if value is None else f"{value:.4f}" for value in arm["values"]),
            _number(spread_of(arm["validation_loss"])["mean"], ".4g"),
            _counts(arm["training_steps"]),
            _counts(arm["search_steps"]),
            _wall_time(arm),
            *(["; ".join(f"seed {seed}: {why}" for seed, why in arm["failed"].items())] if failures else []),
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
        "Spread: sample standard deviation over the seeds.",
    ]
    pairs = [arm["difference"]["pairs"] for arm in arms.values() if arm["difference"]]
    if reference and pairs and max(pairs) > 1:
        cover = 1 - 2 * stats.t.sf(_NOISE, max(pairs) - 1)
        notes.append(
            f"Difference: mean of the differences to {reference} under the same seed, and its standard "
            f"error. Within noise: smaller than two standard errors, as {cover:.0%} of the differences "
            f"between equal arms are with {max(pairs)} pairs."
        )
    if any(any(arm["resumed"]) for arm in arms.values()):
        notes.append("'>' before a wall time: of a resumed training only the time since then is known.")
    return notes


def _comparison(name: str, report: dict) -> str:
    found = report["arms"][name]["difference"]
    if name == report["reference"]:
        return "reference"
    if found is None:
        return "-"
    if found["standard_error"] is None:
        return f"{found['mean']:+.4f}, one pair"
    verdict = "within noise" if found["within_noise"] else "better" if found["mean"] > 0 else "worse"
    return f"{found['mean']:+.4f} ± {found['standard_error']:.4f}, {verdict}"


def _counts(values: list[int | None]) -> str:
    """One number where all seeds have the same."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(_number(value, "d") for value in (distinct if len(distinct) == 1 else values))


def _wall_time(arm: dict) -> str:
    mean = spread_of(arm["seconds"])["mean"]
    if mean is None or mean < 1:
        return "-" if mean is None else "< 1 s"
    unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if mean >= s), ("s", 1))
    return f"{'> ' if any(arm['resumed']) else ''}{mean / size:.3g} {unit}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _failures(seeds: list[int], cells: list[dict]) -> dict[str, str]:
    """Seed -> reason; JSON's keys are text."""
    pairs = zip(seeds, cells, strict=True)
    return {str(seed): cell["failed"] for seed, cell in pairs if "failed" in cell}


def _column(cells: list[dict], key: str) -> list:
    return [cell.get(key) for cell in cells]


def _picture(report: dict) -> bytes:
    """One column per arm: a point per seed, of the seed's color, and mean and spread beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms, seeds = report["arms"], report["seeds"]
    # Without pyplot: no global state, no display.
    figure = Figure(figsize=(max(5.0, 1.7 + 1.3 * len(arms)), 4.0), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    offsets = np.linspace(-0.22, 0.06, len(seeds)) if len(seeds) > 1 else [-0.08]
    for index, (seed, offset) in enumerate(zip(seeds, offsets, strict=True)):
        points = [(place + offset, arm["values"][index]) for place, arm in enumerate(arms.values())]
        points = [point for point in points if point[1] is not None]
        color = _SEED_COLORS[index % len(_SEED_COLORS)]
        axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=color, label=f"seed {seed}")
    for place, arm in enumerate(arms.values()):
        if arm["mean"] is None:
            axes.annotate("failed", (place, 0.5), xycoords=("data", "axes fraction"), color=_INK, ha="center")
            continue
        height = arm["spread"] or 0.0
        axes.errorbar(place + 0.24, arm["mean"], height, fmt="D", color=_INK, capsize=4, markersize=5)
    axes.errorbar([], [], [], fmt="D", color=_INK, capsize=4, markersize=5, label="mean ± standard deviation")
    axes.set_xticks(range(len(arms)), arms, color=_INK)
    axes.set_xlim(-0.6, len(arms) - 0.4)
    axes.set_ylabel(f"{report['metric'] or 'score'} on the test part", color=_INK)
    axes.set_xlabel("augmentation", color=_INK)
    title = f"{report['budget']:,} gradient steps each, search included"
    axes.set_title(title, color=_INK, fontsize=11, loc="left")
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    return png.getvalue()
