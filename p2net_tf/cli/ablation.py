"""`p2net ablate`: what each choice is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, Config, Overrides, command_line, print_json, start, writable_folder
from p2net_tf.utils.console import console

app = typer.Typer()


@app.command(
    epilog="Example: `p2net ablate configs/p2net_small_lsp_128x128.yaml --axis apm=on,off "
    "--axis augmentation=none,hand_crafted,runs/found --seeds 3`; Table 4 of the paper: "
    "`p2net ablate coco_tiny_overfit --axis detector=truth,runs/detector --seeds 1`"
)
def ablate(
    config: Config,
    axis: Annotated[
        list[str],
        typer.Option(
            help="NAME=V1,V2,...: apm, augmentation, detector, model, or a key of the configuration"
        ),
    ],
    overrides: Overrides = None,
    seeds: Annotated[str, typer.Option(help="how many, or which: 3 is 0,1,2")] = "3",
    baseline: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE to compare with, else the first value")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="trainings at a time; by default one per GPU, or per core")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="goes on where it stopped there; by default runs/ablate_NAME", callback=writable_folder
        ),
    ] = None,
    as_json: AsJson = False,
):
    """Train every combination of some choices, and say what each is worth; exit with 1 where one failed."""
    start(as_json)
    from p2net_tf.config.loading import load_pose_config
    from p2net_tf.experiments.ablation import run
    from p2net_tf.experiments.ablation.summary import table_of
    from p2net_tf.experiments.cells import parse_seeds

    name = load_pose_config(config, overrides or []).name
    folder = writable_folder(out or Path("runs") / f"ablate_{name}")
    report = run.ablate(
        config,
        overrides or [],
        axis,
        parse_seeds(seeds),
        folder,
        baseline=baseline or (),
        jobs=jobs,
        command=command_line(),
    )
    if as_json:
        print_json(report)
    else:
        table_of(report).print(console)
        console.print(f"results: {folder / 'ablation.md'}", soft_wrap=True)
    if any(entry["failed"] for entry in report["settings"]):
        raise typer.Exit(1)
