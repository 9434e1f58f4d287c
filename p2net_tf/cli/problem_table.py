"""What is broken or suspicious in data, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from p2net_tf.data.check import problem_report
from p2net_tf.data.samples import Problem


def print_problems(problems: Sequence[Problem], console: Console, most: int = 50) -> None:
    """Prints the notes, the first `most` problems as a table, broken ones first, and the counts of all."""
    for note in (problem for problem in problems if problem.severity == "note"):
        console.print(f"read: {note.detail}" + (f"; {note.remedy}" if note.remedy else ""), markup=False)
    problems = [problem for problem in problems if problem.severity != "note"]
    table = Table("", "kind", "where", "what", "remedy")
    for problem in sorted(problems, key=lambda problem: problem.severity)[:most]:
        where = Path(problem.file).name + (f" #{problem.sample_id}" if problem.sample_id is not None else "")
        table.add_row(problem.severity, problem.kind, where, problem.detail, problem.remedy)
    if problems:
        console.print(table)
    report = problem_report(problems)
    more = f", the first {most} shown" if len(problems) > most else ""
    console.print(f"{report['errors']} broken items, {report['warnings']} warnings{more}")
