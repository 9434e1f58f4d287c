"""What there is to augment with, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from p2net_tf.augment.operation_cards import OPERATION_CARDS


def print_listing(found: dict, console: Console) -> None:
    """Prints what `listing` found as two tables."""
    policies = Table("policy", "form", "what it is", title="Policies, K x N", title_justify="left")
    for row in found["policies"]:
        policies.add_row(row["name"], _form(row), row["summary"])
    headings = ("operation", "what becomes of the image x", "m at level 0..10", "neutral", "keypoints")
    operations = Table(*headings, title="Operations (their sources: in the JSON)", title_justify="left")
    for name, row in OPERATION_CARDS.items():
        span = f"{row.low} .. {row.high}" if row.has_level else "-"
        neutral = "-" if row.neutral is None else f"{row.neutral:g}"
        operations.add_row(name, row.definition, span, neutral, "moved" if row.geometric else "kept")
    console.print(policies, operations)


def print_moments(moments: list[dict], console: Console) -> None:
    """Prints the shares of a schedule at some moments, in which operations stand in the same order."""
    table = Table("operation", title="Share of one draw (mean level)", title_justify="left")
    for moment in moments:
        table.add_column(f"{moment['moment']}, {moment['progress']:g}", justify="right")
    for shares in zip(*(moment["shares"] for moment in moments), strict=True):
        table.add_row(shares[0]["operation"], *map(_share, shares))
    table.add_section()
    table.add_row("operations per person", *(f"{moment['strength']:.2f}" for moment in moments))
    console.print(table)


def _share(share: dict) -> str:
    if not share["share"]:
        return "-"
    level = f" ({share['mean_level']:.1f})" if OPERATION_CARDS[share["operation"]].has_level else ""
    return f"{share['share']:.2f}{level}"


def _form(row: dict) -> str:
    if row["form"] == "schedule":
        return f"schedule, {row['draws']} draws, {row['knots']} knots"
    return f"{row['sub_policies']} x {row['stages']}"
