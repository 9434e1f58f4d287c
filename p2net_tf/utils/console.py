"""The one console of the program: tables and words on stdout, progress on stderr.

Progress bars appear only on a terminal, and never once `be_quiet()` was called (`--json`), so that
logs, pipes and JSON output stay clean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")

console = Console(highlight=False, emoji=False)
"""Results. `--json` prints its document here and silences everything else."""
messages = Console(stderr=True, highlight=False, emoji=False)
"""Progress, hints, warnings and errors."""


class Advance:
    """What `progress` hands out: call it for every finished item, or with a number of them."""

    def __init__(self, bar: Progress, task: int):
        self._bar, self._task = bar, task

    def __call__(self, count: float = 1) -> None:
        self._bar.advance(self._task, count)

    def describe(self, description: str) -> None:
        """Changes the words before the bar."""
        self._bar.update(self._task, description=description)


class _Rate(ProgressColumn):
    """Items per second, or seconds per item where that is the larger number."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("", style="progress.data.speed")
        words = f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
        return Text(words, style="progress.data.speed")


def be_quiet(quiet: bool = True) -> None:
    """Silences `messages` and all progress bars, as `--json` asks; errors belong to the caller's exit."""
    messages.quiet = quiet


def shows_progress() -> bool:
    return messages.is_terminal and not messages.quiet


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Advance]:
    """A bar with count, rate and remaining time; `total` None shows a moving bar without an end.

    ```
    with progress("scoring", total=len(images)) as advance:
        for image in images:
            ...
            advance()
    ```
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True, disable=not shows_progress()) as bar:
        yield Advance(bar, bar.add_task(description, total=total))


def track(items: Iterable[Item], description: str, total: float | None = None) -> Iterator[Item]:
    """The items, while a `progress` bar counts them; `total` is needed where `len(items)` does not work."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with progress(description, total) as advance:
        for item in items:
            yield item
            advance()
