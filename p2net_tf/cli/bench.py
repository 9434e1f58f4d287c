"""`p2net bench ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, Overrides, command_line, print_json, start
from p2net_tf.console import console

app = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)


@app.command("search", epilog="Example: `p2net bench search planted_search --mixture --json`")
def bench_search(
    config: Annotated[Path, typer.Argument(help="whose network and search are measured")] = Path(
        "planted_search"
    ),
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(help="rounds, in which all steps take turns", min=1)] = 30,
    mixture: Annotated[bool, typer.Option("--mixture", help="also a step of `mixture`")] = False,
    out: Annotated[Path, typer.Option(help="JSON")] = Path("bench_search.json"),
    as_json: AsJson = False,
):
    """A search step in plain training steps, and what its parts cost; needs no data."""
    start(as_json)
    from p2net_tf.bench.search import bench_search as measure
    from p2net_tf.bench.search import print_bench
    from p2net_tf.config import load_config

    report = measure(load_config(config, overrides or []), out, repeats, mixture, command_line())
    if as_json:
        print_json(report)
    else:
        print_bench(report, console)
        console.print(f"results: {out}", soft_wrap=True)
