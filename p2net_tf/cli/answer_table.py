"""The answer of a server as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from p2net_tf.serving.query import Answer, skeleton_of


def print_answer(answer: Answer, console: Console, skeleton: str | None = None) -> None:
    """A row per keypoint."""
    names, found = skeleton_of(answer, skeleton).keypoints, answer.predictions
    for number, score in enumerate(found.scores):
        table = Table(title=f"pose {number + 1}, score {score:.3f}", header_style="bold")
        table.add_column("keypoint")
        for heading in ("x", "y", "score"):
            table.add_column(heading, justify="right")
        for name, (x, y, height) in zip(names, found.scored_keypoints[number], strict=True):
            table.add_row(name, f"{x:.1f}", f"{y:.1f}", f"{height:.3f}")
        console.print(table)
    if not len(found.scores):
        console.print("no boxes, no poses")
