"""The report of an experiment: `report.json` for programs and `report.html` for people.

A report is a dict. All fields but `title` may be left out; further ones are kept in the JSON.

| field | content |
|---|---|
| `title`, `subtitle` | text |
| `headline` | the few numbers that matter: label -> number or text; the first is the largest |
| `scores` | table title -> row -> number, or table title -> row -> column -> number |
| `figures` | list of `{"file": PNG or JPEG, relative to the folder, "caption": text}` |
| `notes` | list of sentences, for example diagnostics |
| `environment` | name -> value, as `p2net_tf.utils.provenance.describe_environment` gives it |
| `command` | the command line that computes the report again |
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np

from p2net_tf.evaluation.report_page import render_page
from p2net_tf.utils.files import write_bytes, write_text
from p2net_tf.utils.plotting import new_figure, png_of

_INK, _GRID = "#7d8796", "#8a94a333"
"""Readable on white and on black: the figure is transparent, the page light or dark."""
_TRAINING, _VALIDATION, _RATE = "#5b8def", "#f28c38", "#2fae8f"


def write_report(folder: str | Path, report: dict, name: str = "report") -> Path:
    """Writes `NAME.json` and the self-contained page `NAME.html` into `folder`; returns the page.

    Figures are embedded, so the page may be moved and mailed. NaN and infinity become null.

    Raises:
        ValueError: the report has no title, or a value of no JSON type, or scores that are no table.
        FileNotFoundError: a figure is not there.
    """
    folder = Path(folder)
    if not report.get("title"):
        raise ValueError("a report needs a 'title'")
    for table, rows in report.get("scores", {}).items():
        if not isinstance(rows, dict):
            raise ValueError(f"scores['{table}'] is a table: give {{row: number}}, not {rows!r}")
    plain = _plain(report)
    page = render_page(plain, folder, f"{name}.json")
    write_text(
        folder / f"{name}.json", json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    write_text(folder / f"{name}.html", page)
    return folder / f"{name}.html"


def plot_curves(history: str | Path, path: str | Path, metric: str | None = None) -> None:
    """Draws loss, metric and learning rate over the epochs of a `history.csv` (a Keras `CSVLogger` file).

    Args:
        history: CSV with `epoch`, `loss` and any of `val_loss`, metrics, `val_...` metrics and a rate.
            Cells may be empty, where an epoch had no validation.
        path: the PNG to write, with a transparent background.
        metric: name without `val_`; None takes the first that is not a loss.

    Raises:
        ValueError: no epochs in the file, or no such metric.
    """
    columns = _read_history(Path(history))
    metric = metric or _first_metric(columns)
    rate = next((name for name in ("learning_rate", "lr") if name in columns), None)
    if metric and not {metric, f"val_{metric}"} & columns.keys():
        raise ValueError(f"{history}: no column '{metric}' or 'val_{metric}'; there are {', '.join(columns)}")
    panels = [("loss", ["loss", "val_loss"])]
    panels += [(metric.replace("_", " "), [metric, f"val_{metric}"])] if metric else []
    panels += [("learning rate", [rate])] if rate else []
    write_bytes(path, _figure(columns, panels))


def _figure(columns: dict[str, np.ndarray], panels: list[tuple[str, list[str]]]) -> bytes:
    """A PNG with one panel per `(title, names of its columns)`."""
    figure = new_figure(4.2 * len(panels), 3.0)
    for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, title, columns, [name for name in names if name in columns])
    return png_of(figure, transparent=True)


def _draw_panel(axes, title: str, columns: dict[str, np.ndarray], names: list[str]) -> None:
    for name in names:
        is_validation = name.startswith("val_")
        color = _RATE if title == "learning rate" else _VALIDATION if is_validation else _TRAINING
        known = np.isfinite(columns[name])
        epochs, values = columns["epoch"][known], columns[name][known]
        marker = "o" if len(values) < 2 else None
        label = "validation" if is_validation else "training"
        axes.plot(epochs, values, color=color, label=label, linewidth=1.8, marker=marker, markersize=4)
        if is_validation and len(values):
            _mark_best(axes, epochs, values, color, lowest="loss" in name)
    axes.set_title(title, color=_INK, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel("epoch", color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.spines[:].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=8)
    axes.margins(y=0.12)


def _mark_best(axes, epochs, values, color: str, lowest: bool) -> None:
    best = int(np.argmin(values) if lowest else np.argmax(values))
    axes.plot(epochs[best], values[best], "o", color=color, markersize=5)
    # Validation is mostly the worse of the two curves, so its label has room on its worse side.
    offset = (0, 10) if lowest else (0, -14)
    align = "right" if best > 0.7 * len(values) else "center"
    place = (epochs[best], values[best])
    axes.annotate(
        f"{values[best]:.4g}", place, offset, textcoords="offset points", color=color, fontsize=8, ha=align
    )


def _read_history(path: Path) -> dict[str, np.ndarray]:
    """The columns of a history file as float64; NaN where a cell is empty. Epochs count from 1."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0]:
        raise ValueError(
            f"{path}: no epochs; it should be a CSV file with an 'epoch' column, as CSVLogger writes"
        )
    columns = {name: np.array([_number(row[name]) for row in rows]) for name in rows[0] if name}
    columns["epoch"] = columns["epoch"] + 1
    return columns


def _number(cell: str | None) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _first_metric(columns: dict[str, np.ndarray]) -> str | None:
    """The first validated metric, else the first of training; no part of the loss."""
    names = [name for name in columns if "loss" not in name and name not in ("epoch", "learning_rate", "lr")]
    validated = [name.removeprefix("val_") for name in names if name.startswith("val_")]
    return next(iter(validated + names), None)


def _plain(value):
    """The same value of JSON's types; numbers that JSON lacks become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a report holds numbers, texts, lists and dicts, not {type(value).__name__}: {value!r}")
