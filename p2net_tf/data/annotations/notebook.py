"""What a reader has to say about a file: what is broken, one by one; what was read differently, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from p2net_tf.data.samples import Problem


@dataclass
class Notebook:
    """Collects the problems of one annotation file, and counts the rules by which odd values were read."""

    source: str
    problems: list[Problem] = field(default_factory=list)
    rules: Counter = field(default_factory=Counter)

    def error(
        self, kind: str, detail: str, remedy: str, sample_id=None, image_id=None, file: str | None = None
    ) -> None:
        """Something broken; `file` where it is another than `source`."""
        self._add("error", kind, detail, remedy, sample_id, image_id, file)

    def warning(self, kind: str, detail: str, remedy: str) -> None:
        self._add("warning", kind, detail, remedy)

    def note(self, kind: str, detail: str, remedy: str = "") -> None:
        """Something that was read in its one sensible way, said once for the whole file."""
        self._add("note", kind, detail, remedy)

    def _add(
        self,
        severity: Literal["error", "warning", "note"],
        kind,
        detail,
        remedy,
        sample_id=None,
        image_id=None,
        file: str | None = None,
    ):
        where = self.source if file is None else file
        self.problems.append(Problem(severity, kind, where, detail, remedy, sample_id, image_id))

    def note_rules(self, of: int, items: str = "persons") -> None:
        """One note for each rule that was used."""
        for rule, count in self.rules.items():
            self.note("read_as", f"{count} of {of} {items}: {rule}")
