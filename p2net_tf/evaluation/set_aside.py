"""What an evaluation left out, in words and numbers."""

from __future__ import annotations

from p2net_tf.data.check import count_kinds
from p2net_tf.data.samples import Problem


class SetAside:
    """Of what holds `problems`: everything broken or suspicious in a data set."""

    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The broken items, which were set aside."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read in another form than usual, in its one sensible way."""
        return tuple(str(problem) for problem in self.problems if problem.severity == "note")

    def describe_errors(self, scored: str, fate: str) -> str | None:
        """A line on what was set aside; None where nothing was.

        Args:
            scored: what was not, `162 of 205`.
            fate: what became of it.
        """
        if not self.errors:
            return None
        kinds = ", ".join(f"{count} {kind}" for kind, count in count_kinds(self.errors).items())
        return f"{scored} scored; set aside: {kinds}; {fate}; first: {self.errors[0]}"
