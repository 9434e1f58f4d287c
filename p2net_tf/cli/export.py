"""`p2net export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, Overrides, print_json, start
from p2net_tf.console import console
from p2net_tf.export.options import Exif, ExportOptions, Precision

app = typer.Typer()


class ExportFormat(StrEnum):
    saved_model = "saved_model"


@app.command(epilog="Example: `p2net export runs/demo --format saved_model --no-flip --fold-batch-norm`")
def export(
    run: Annotated[
        Path, typer.Argument(help="run folder, .keras file beside its config.yaml, or the .yaml of runs/NAME")
    ],
    overrides: Overrides = None,
    export_format: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.saved_model,
    out: Annotated[
        Path | None, typer.Option(help="folder of the versions; by default RUN/FORMAT", show_default=False)
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="flip pass; else the run's", show_default=False)
    ] = None,
    decode: Annotated[str | None, typer.Option(help="else the run's", show_default=False)] = None,
    exif: Annotated[
        Exif, typer.Option(help="turn pictures by their EXIF header, or take the stored pixels")
    ] = Exif.upright,
    precision: Annotated[Precision, typer.Option(help="of the network")] = Precision.float32,
    fold_batch_norm: Annotated[
        bool, typer.Option("--fold-batch-norm", help="merge it into the convolutions")
    ] = False,
    as_json: AsJson = False,
):
    """Write a trained network with its whole test recipe as a model that others run."""
    start(as_json)
    from p2net_tf.export.model_card import read_card
    from p2net_tf.export.saved_model import export_saved_model
    from p2net_tf.runs import load_run

    recipe = {"evaluation.flip_test": flip, "evaluation.decode": decode}
    changes = [f"{key}={value}" for key, value in recipe.items() if value is not None]
    opened = load_run(run, [*(overrides or []), *changes])
    options = ExportOptions(exif, precision, fold_batch_norm)
    folder = export_saved_model(opened, out or opened.folder / export_format.value, options)
    if as_json:
        print_json({"folder": str(folder), "card": read_card(folder)})
    else:
        console.print(f"{opened.config.name}, version {folder.name}: {folder}", soft_wrap=True)
