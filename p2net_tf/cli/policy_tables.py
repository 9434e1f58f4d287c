"""What there is to augment with, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from p2net_tf.augment.listing import listing
from p2net_tf.augment.operation_cards import OPERATION_CARDS


def print_listing(console: Console) -> None:
    """Prints `listing` as two tables."""
    found = listing()
    policies = Table("policy", "K x N", "what it is", title="Built-in policies", title_justify="left")
    for row in found["policies"]:
        policies.add_row(row["name"], f"{row['sub_policies']} x {row['stages']}", row["summary"])
    headings = ("operation", "what becomes of the image x", "m at level 0..10", "neutral", "keypoints")
    operations = Table(*headings, title="Operations (their sources: in the JSON)", title_justify="left")
    for row in OPERATION_CARDS:
        span = "-" if row.low == "-" else f"{row.low} .. {row.high}"
        neutral = "-" if row.neutral is None else f"{row.neutral:g}"
        operations.add_row(row.name, row.definition, span, neutral, "moved" if row.geometric else "kept")
    console.print(policies, operations)
