"""What an ablation found: every setting against the baseline, every value of an axis against its first.

Scores are fractions, higher is better. Lists per seed follow `seeds`, with None where a training failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2net_tf.experiments.ablation.axes import Axis
from p2net_tf.experiments.ablation.grid import Grid
from p2net_tf.experiments.cells import note_other_sources
from p2net_tf.experiments.statistics import SPREAD_NOTE, describe_difference, difference, noise_notes
from p2net_tf.experiments.tables import Column, ScoreTable, column, make_row, metric_of

Scores = Mapping[str, Sequence[float | None]]
"""Name of a setting -> score per seed."""


def summarize(grid: Grid, seeds: Sequence[int], rows: Mapping[str, Sequence[dict]], threads: int) -> dict:
    """The content of `ablation.json`.

    Args:
        rows: name of a setting -> cell per seed: what its `cell.json` holds, or `{"failed": reason}`.
        threads: of every training.
    """
    scores = {name: column(cells, "value") for name, cells in rows.items()}
    baseline = scores[grid.baseline.name]
    settings = [
        {
            "name": setting.name,
            "labels": setting.labels,
            "folder": f"cells/{setting.folder}",
            **make_row(seeds, rows[setting.name], None if setting is grid.baseline else baseline),
        }
        for setting in grid.settings
    ]
    effects = [effect for axis in grid.axes for effect in effects_of(grid, axis, scores)]
    differences = [entry["difference"] for entry in [*settings, *effects]]
    return {
        "title": grid.baseline.config.name,
        "metric": metric_of([cell for cells in rows.values() for cell in cells]),
        "part": grid.baseline.part,
        "seeds": list(seeds),
        "axes": {axis.name: axis.labels for axis in grid.axes},
        "baseline": grid.baseline.name,
        "settings": settings,
        "effects": effects,
        "notes": [*_notes(grid, threads), *noise_notes(differences, "the baseline")],
        "circumstances": {
            "seconds": {name: column(cells, "seconds") for name, cells in rows.items()},
            "resumed": {name: column(cells, "resumed") for name, cells in rows.items()},
        },
    }


def table_of(report: dict) -> ScoreTable:
    rows = {tuple(entry["labels"].values()): entry for entry in report["settings"]}
    return ScoreTable(
        title=f"{report['title']}: {report['metric'] or 'score'} on the {report['part']} part",
        metric=report["metric"],
        part=report["part"],
        plot_title=report["title"],
        names=list(report["axes"]),
        seeds=report["seeds"],
        rows=rows,
        reference=next(name for name, entry in rows.items() if entry["name"] == report["baseline"]),
        reference_word="baseline",
        against="the baseline",
        notes=report["notes"],
        columns=[Column(**entry) for entry in report.get("columns", ())],
        effects=[
            [effect["axis"], effect["value"], effect["against"], describe_difference(effect["difference"])]
            for effect in report["effects"]
            if len(report["axes"]) > 1
        ],
    )


def effects_of(grid: Grid, axis: Axis, scores: Scores) -> list[dict]:
    """What each other value of an axis does, against the first: its difference, averaged over the other axes.

    The seeds are what repeats, so the spread of a difference is that over the seeds. A seed counts where all
    its trainings with the two values are there: a mean over others would compare unlike settings.
    """
    first, *others = axis.labels
    against = _means_at(grid, axis.name, first, scores)
    return [
        {
            "axis": axis.name,
            "value": label,
            "against": first,
            "difference": difference(_means_at(grid, axis.name, label, scores), against),
        }
        for label in others
    ]


def _means_at(grid: Grid, axis: str, label: str, scores: Scores) -> list[float | None]:
    """Per seed the mean score of all settings with one value; None where one of them failed."""
    names = [setting.name for setting in grid.settings if setting.labels[axis] == label]
    by_seed = zip(*(scores[name] for name in names), strict=True)
    return [None if None in values else sum(values) / len(values) for values in by_seed]


def _notes(grid: Grid, threads: int) -> list[str]:
    baseline = grid.baseline
    notes = [_scored_network(baseline.part, bool(baseline.config.data.validation))]
    notes += [*note_other_sources(baseline.config, baseline.part), SPREAD_NOTE]
    if len(grid.axes) > 1:
        notes.append(
            "Effect: of one value against the first of its axis, with the mean over the other axes; a seed "
            "counts where all its trainings with the two are there."
        )
    if any(axis.name == "augmentation" for axis in grid.axes):
        notes.append(
            "Every augmentation, none included, mirrors people with the probability augment.flip_probability."
        )
    notes.append(f"Threads of TensorFlow in every training: {threads}, whatever runs beside it.")
    return notes


def _scored_network(part: str, is_chosen: bool) -> str:
    if part == "validation":
        return (
            "Scored is the network with the lowest validation loss of its training, on the validation part "
            "itself: better than on people that did not choose it, for all settings alike."
        )
    chosen = "with the lowest validation loss" if is_chosen else "after the last epoch"
    return f"Scored is the network {chosen} of its training, once, on the test part."
