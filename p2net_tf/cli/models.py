"""`p2net models`: the trained networks that ship."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.table import Table

from p2net_tf.cli.options import AsJson, print_json, start
from p2net_tf.utils.console import console

app = typer.Typer()


@app.command(epilog="Example: `p2net models`; then `p2net predict photo.jpg --model p2net_small_lsp`")
def models(as_json: AsJson = False):
    """List the trained networks that ship: what each is, its score, and what it may be used for."""
    start(as_json, tensorflow=False)
    from p2net_tf.inference.shelf import list_models

    entries = list_models()
    if as_json:
        print_json([vars(entry) | {"file": str(entry.file)} for entry in entries])
        return
    for entry in entries:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
        rows = {"task": entry.task, "size": f"{entry.megabytes} MB", **entry.card, "file": str(entry.file)}
        for name, words in rows.items():
            table.add_row(name, escape(words))
        console.print(f"[bold]{entry.name}[/bold]")
        console.print(table)
