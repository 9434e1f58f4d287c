"""`p2net search`, `tune` and `compare`: augmentation policies, learned and judged."""

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
    print_json,
    start,
    writable_folder,
)
from p2net_tf.utils.console import console

app = typer.Typer()


@app.command(epilog="Example: `p2net search planted_search search.plant.operation=Rotate --out runs/found`")
def search(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="folder; by default runs/NAME_search", callback=writable_folder)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Learn an augmentation policy by gradient (Auto-Pose); then `p2net train CONFIG policy=OUT`."""
    start(as_json)
    from p2net_tf.cli.search_table import print_found
    from p2net_tf.config.loading import load_pose_config
    from p2net_tf.experiments.search import run_search

    experiment = load_pose_config(config, overrides or [])
    folder = writable_folder(out or Path("runs") / f"{experiment.name}_search")
    report = run_search(experiment, folder, resume=resume, strict=strict, command=command_line())
    if as_json:
        print_json(report)
    else:
        print_found(report, console)
        console.print(f"results: {folder / 'policy.yaml'}", soft_wrap=True)


@app.command(epilog="Example: `p2net tune p2net_small_lsp_128x128 tuner.algorithm=bayesian --out runs/tuned`")
def tune(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="folder; by default runs/NAME_tuned", callback=writable_folder)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on; finished trials stay")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Search an augmentation policy with keras-tuner, the black-box rival of `p2net search`."""
    start(as_json)
    from p2net_tf.config.loading import load_pose_config
    from p2net_tf.experiments.tuner.run import run_tuning

    experiment = load_pose_config(config, overrides or [])
    folder = writable_folder(out or Path("runs") / f"{experiment.name}_tuned")
    report = run_tuning(experiment, folder, resume=resume, strict=strict, command=command_line())
    finish(report, folder, as_json)


@app.command(
    epilog="Example: `p2net compare configs/p2net_small_lsp_128x128.yaml --budget 3000 --seeds 3 "
    "--arms none,hand_crafted,learned,runs/mine/policy.yaml`"
)
def compare(
    config: Config,
    budget: Annotated[int, typer.Option(help="gradient steps of every arm, its search included")],
    overrides: Overrides = None,
    arms: Annotated[
        str, typer.Option(help="with commas; also built-in policies, and files or folders of policies")
    ] = "none,hand_crafted,random,tuner,learned",
    seeds: Annotated[str, typer.Option(help="how many, or which: 3 is 0,1,2")] = "3",
    out: Annotated[
        Path | None,
        typer.Option(
            help="goes on where it stopped there; by default runs/compare_NAME", callback=writable_folder
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="trainings at a time; of more than one the wall times do not compare")
    ] = 1,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Compare augmentation policies under one budget; exit with 1 where an arm failed."""
    start(as_json)
    from p2net_tf.config.loading import load_pose_config
    from p2net_tf.experiments import compare as comparison
    from p2net_tf.experiments.cells import parse_seeds

    experiment = load_pose_config(config, overrides or [])
    folder = writable_folder(out or Path("runs") / f"compare_{experiment.name}")
    names = [name.strip() for name in arms.split(",") if name.strip()]
    report = comparison.compare(
        experiment,
        folder,
        names,
        parse_seeds(seeds),
        budget=budget,
        strict=strict,
        jobs=jobs,
        command=command_line(),
    )
    if as_json:
        print_json(report)
    else:
        comparison.table_of(report).print(console)
        console.print(f"results: {folder / 'compare.md'}", soft_wrap=True)
    if any(arm["failed"] for arm in report["arms"].values()):
        raise typer.Exit(1)
