"""The table of a comparison: Markdown, CSV, a picture, and the same on a terminal.

A row is a dictionary: `values` (score per seed, a fraction, None where the training failed), `mean`,
`spread`, `failed` (seed -> reason) and `difference` to the reference, see `make_row`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from p2net_tf.experiments.cells import write_json
from p2net_tf.experiments.picture import draw_seeds
from p2net_tf.experiments.statistics import describe_difference, difference, spread_of
from p2net_tf.utils.files import write_text
from p2net_tf.utils.plotting import save_figure

_UNLIMITED = 10_000


def make_row(seeds: Sequence[int], cells: Sequence[dict], reference: Sequence[float | None] | None) -> dict:
    """A row of what the cells of all seeds found.

    Args:
        cells: what their `cell.json` hold, or `{"failed": reason}`.
        reference: the scores to compare with; None for those of the reference itself.
    """
    values = column(cells, "value")
    pairs = zip(seeds, cells, strict=True)
    return {
        **spread_of(values),
        "values": values,
        "failed": {
            str(seed): cell["failed"] for seed, cell in pairs if "failed" in cell
        },  # JSON's keys are text
        "difference": None if reference is None else difference(values, reference),
    }


def column(cells: Sequence[dict], key: str) -> list:
    return [cell.get(key) for cell in cells]


def metric_of(cells: Sequence[dict]) -> str | None:
    """The name of their score; None where all failed."""
    return next((cell["metric"] for cell in cells if "metric" in cell), None)


@dataclass(frozen=True)
class Column:
    """More about every row: the text of each seed, or one for all; a terminal has no place for some."""

    heading: str
    texts: Sequence[Sequence[str]]
    on_terminal: bool = True


@dataclass(frozen=True)
class ScoreTable:
    """What a comparison found.

    Attributes:
        title: of the table.
        metric: its name, None where all failed.
        part: of the data, that was scored.
        plot_title: of the picture.
        names: the columns that name a row.
        rows: the words in these columns -> the row.
        reference: what the others are compared with, None where it is not there.
        reference_word: what stands in place of its own difference.
        against: how the heading calls it.
        columns: further ones.
        effects: rows of a second table, see `effect_headings`; none leaves it out.
    """

    title: str
    metric: str | None
    part: str
    plot_title: str
    names: Sequence[str]
    seeds: Sequence[int]
    rows: Mapping[tuple[str, ...], dict]
    reference: tuple[str, ...] | None
    reference_word: str
    against: str
    notes: Sequence[str]
    columns: Sequence[Column] = ()
    effects: Sequence[Sequence[str]] = ()

    effect_headings = ("axis", "value", "against", "effect")

    @property
    def score(self) -> str:
        return f"{self.metric or 'score'} on the {self.part} part"

    def lines(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of text; the last column is the comparison with the reference."""
        some_failed = any(row["failed"] for row in self.rows.values())
        headings = [
            *self.names,
            "mean",
            "spread",
            *(f"seed {seed}" for seed in self.seeds),
            *(column.heading for column in self.columns),
            *(["failed"] if some_failed else []),
            f"difference to {self.against}",
        ]
        lines = [
            [
                *name,
                format_number(row["mean"]),
                format_number(row["spread"]),
                *_format_values(row),
                *(_join(column.texts[place]) for column in self.columns),
                *([_format_failures(row)] if some_failed else []),
                self._comparison(name),
            ]
            for place, (name, row) in enumerate(self.rows.items())
        ]
        return headings, lines

    def markdown(self, picture: str, command: str = "") -> str:
        """The table, the picture and the notes; `command` stands at the end."""
        tables = [_pipe_table(*self.lines(), names=len(self.names))]
        tables += [_pipe_table(self.effect_headings, self.effects, names=3)] if self.effects else []
        notes = "\n".join(f"- {note}" for note in self.notes)
        parts = [f"# {self.title}", *tables, f"![one point per seed]({picture})", notes]
        return "\n\n".join([*parts, f"    {command}"] if command else parts) + "\n"

    def comma_separated(self) -> str:
        """One line per training; the score is empty where it failed."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow([*self.names, "seed", self.metric or "score"])
        for name, row in self.rows.items():
            lines.writerows(
                [*name, seed, value] for seed, value in zip(self.seeds, row["values"], strict=True)
            )
        return text.getvalue()

    def write(self, folder: Path, stem: str, report: dict, command: str = "") -> None:
        """Writes `STEM.json` with the report, and the table as `.md`, `.csv` and `.png`."""
        write_json(folder / f"{stem}.json", report)
        write_text(folder / f"{stem}.md", self.markdown(f"{stem}.png", command))
        write_text(folder / f"{stem}.csv", self.comma_separated())
        entries = {"\n".join(name): row for name, row in self.rows.items()}
        figure = draw_seeds(entries, self.seeds, self.score, " and ".join(self.names), self.plot_title)
        save_figure(figure, folder / f"{stem}.png")

    def print(self, console: Console) -> None:
        """Prints the tables, with a line per seed; then failures and notes.

        Where the terminal is narrower than a table, its further columns follow in tables of their own.
        """
        columns = [column for column in self.columns if column.on_terminal]
        table = self._terminal(columns)
        if _width(table, console) <= console.width:
            console.print(table)
        else:
            console.print(self._terminal([]))
            for part in self._parts(columns, console):
                console.print(part)
        if self.effects:
            effects = _terminal_table("Effects", self.effect_headings, names=3)
            for effect in self.effects:
                effects.add_row(*effect)
            console.print(effects)
        for name, row in self.rows.items():
            for seed, why in row["failed"].items():
                console.print(f"! {row.get('name', name[0])}, seed {seed}: {why}", markup=False)
        for note in self.notes:
            console.print(f"- {note}", markup=False)

    def _terminal(self, columns: Sequence[Column]) -> Table:
        words = [column.heading.replace(" ", "\n") for column in columns]
        headings = [*self.names, "mean ±\nspread", "by\nseed", *words, f"difference to\n{self.against}"]
        table = _terminal_table(self.title, headings, names=len(self.names))
        for place, (name, row) in enumerate(self.rows.items()):
            spread = "" if row["spread"] is None else f"\n± {row['spread']:.4f}"
            table.add_row(
                *name,
                format_number(row["mean"]) + spread,
                "\n".join(_format_values(row)),
                *("\n".join(column.texts[place]) for column in columns),
                self._comparison(name).replace(", ", "\n"),
                end_section=True,
            )
        return table

    def _parts(self, columns: Sequence[Column], console: Console) -> Iterator[Table]:
        """Tables of as many of the columns as the terminal has room for, the names before them."""
        columns = list(columns)
        while columns:
            count = len(columns)
            while count > 1 and _width(self._further(columns[:count]), console) > console.width:
                count -= 1
            yield self._further(columns[:count])
            columns = columns[count:]

    def _further(self, columns: Sequence[Column]) -> Table:
        words = [column.heading.replace(" ", "\n") for column in columns]
        table = _terminal_table("", [*self.names, "seed", *words], names=len(self.names))
        table.columns[-1].justify = "right"
        seeds = "\n".join(map(str, self.seeds))
        for place, name in enumerate(self.rows):
            texts = ["\n".join(column.texts[place]) for column in columns]
            table.add_row(*name, seeds, *texts, end_section=True)
        return table

    def _comparison(self, name: tuple[str, ...]) -> str:
        if name == self.reference:
            return self.reference_word
        return describe_difference(self.rows[name]["difference"])


def format_number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _format_values(row: dict) -> list[str]:
    return ["failed" if value is None else f"{value:.4f}" for value in row["values"]]


def _format_failures(row: dict) -> str:
    return "; ".join(f"seed {seed}: {why}".replace("\n", "; ") for seed, why in row["failed"].items())


def _join(texts: Sequence[str]) -> str:
    """One text where all seeds have the same."""
    return ", ".join(texts if len(set(texts)) > 1 else texts[:1])


def _pipe_table(headings: Sequence[str], lines: Sequence[Sequence[str]], names: int) -> str:
    """For Markdown; the first `names` columns and the last one are words, the others numbers."""
    sides = [*[":--"] * names, *["--:"] * (len(headings) - names - 1), ":--"]
    lines = [headings, sides, *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _terminal_table(title: str, headings: Sequence[str], names: int) -> Table:
    """An empty one, its columns aligned as those of `_pipe_table`."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for number, heading in enumerate(headings):
        words = number < names or number == len(headings) - 1
        table.add_column(heading, justify="left" if words else "right", no_wrap=True)
    return table


def _width(table: Table, console: Console) -> int:
    """Columns of a terminal on which nothing of the table is cut off."""
    return console.measure(table, options=console.options.update(max_width=_UNLIMITED)).maximum
