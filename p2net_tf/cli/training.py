"""`p2net demo` and `p2net train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import (
    AsJson,
    Config,
    Overrides,
    Strict,
    command_line,
    finish,
    start,
    writable_folder,
)

app = typer.Typer()


@app.command(epilog="Example: `p2net demo`")
def demo(
    out: Annotated[Path, typer.Option(help="run folder, made anew", callback=writable_folder)] = Path(
        "runs/demo"
    ),
    as_json: AsJson = False,
):
    """Render people, train a small P2Net on them, score it on unseen ones: the whole path in six minutes."""
    start(as_json)
    from p2net_tf.experiments.demo import run_demo

    finish(run_demo(out), out, as_json)


@app.command(epilog="Example: `p2net train configs/p2net_small_lsp_128x128.yaml training.epochs=10 --resume`")
def train(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="run folder; by default runs/NAME", callback=writable_folder)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Train as CONFIG says, score the test part, and write a run folder."""
    start(as_json)
    from p2net_tf.config.loading import load_config
    from p2net_tf.experiments.runs import run_experiment

    experiment = load_config(config, overrides or [])
    folder = writable_folder(out or Path("runs") / experiment.name)
    report = run_experiment(experiment, folder, resume=resume, strict=strict, command=command_line())
    if report is not None:
        finish(report, folder, as_json)
