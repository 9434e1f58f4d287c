"""`p2net export`."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, Overrides, print_json, start, writable_folder
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.inference.precision import Precision
from p2net_tf.utils.console import console, messages

app = typer.Typer()


class ExportFormat(StrEnum):
    saved_model = "saved_model"
    tflite = "tflite"
    all = "all"


@app.command(epilog="Example: `p2net export runs/demo --format saved_model --no-flip --fold-batch-norm`")
def export(
    run: Annotated[
        Path, typer.Argument(help="run folder, .keras file beside its config.yaml, or the .yaml of runs/NAME")
    ],
    overrides: Overrides = None,
    export_format: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.saved_model,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder of the versions (all: of both folders); by default RUN/FORMAT",
            callback=writable_folder,
            show_default=False,
        ),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="flip pass; else the run's", show_default=False)
    ] = None,
    decode: Annotated[str | None, typer.Option(help="else the run's", show_default=False)] = None,
    exif: Annotated[
        Exif, typer.Option(help="turn pictures by their EXIF header, or take the stored pixels")
    ] = Exif.upright,
    precision: Annotated[
        Precision,
        typer.Option(help="of a SavedModel's network; auto measures which is faster on this machine"),
    ] = Precision.float32,
    fold_batch_norm: Annotated[
        bool, typer.Option("--fold-batch-norm", help="merge it into the convolutions")
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="folder of any pictures for int8; by default the training part", show_default=False
        ),
    ] = None,
    calibration_crops: Annotated[int, typer.Option(help="that int8 is calibrated on", min=1)] = 200,
    detector: Annotated[
        str | None,
        typer.Option(
            help="a preset, run folder or .keras file of a detector, which the SavedModel then holds: the "
            "signature `people` finds everybody",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="crops that a TFLite file takes at once", min=1)] = 1,
    verify: Annotated[
        str | None,
        typer.Option(help="compare all runtimes on this part: test, validation, train", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="people to compare; else all of the part", min=1, show_default=False)
    ] = None,
    as_json: AsJson = False,
):
    """Write a trained network with its whole test recipe as a model that others run."""
    start(as_json)
    from p2net_tf.cli.parity_table import print_parity
    from p2net_tf.detection.card import is_detector
    from p2net_tf.experiments.exporting import export_detector, export_run, verify_export
    from p2net_tf.experiments.opened_run import load_run
    from p2net_tf.inference.run_folder import network_file

    formats = ("saved_model", "tflite") if export_format is ExportFormat.all else (export_format.value,)
    if is_detector(run):
        of_poses = overrides, decode, fold_batch_norm, batch > 1, verify, detector, precision != "float32"
        if flip is not None or any(of_poses):
            raise typer.BadParameter(
                "a detector has no recipe of poses; it takes --format, --out, --exif and --calibration"
            )
        file = network_file(run)
        folders = export_detector(file, formats, out, exif, calibration_crops, calibration)
        if as_json:
            print_json({"folders": {name: str(folder) for name, folder in folders.items()}})
        else:
            _say(file.stem, folders)
        return
    recipe = {"evaluation.flip_test": flip, "evaluation.decode": decode}
    changes = [f"{key}={value}" for key, value in recipe.items() if value is not None]
    opened = load_run(run, [*(overrides or []), *changes])
    if batch > 1 and export_format is ExportFormat.saved_model:
        raise typer.BadParameter("--batch belongs to tflite; a SavedModel takes any number of crops")
    if detector is not None and "saved_model" not in formats:
        raise typer.BadParameter("--detector belongs to a SavedModel; export it as TFLite by itself")
    if precision is not Precision.float32 and "tflite" in formats:
        raise typer.BadParameter("--precision belongs to a SavedModel; TFLite files have their own three")
    options = ExportOptions(exif, precision, fold_batch_norm, batch, detector)
    folders = export_run(opened, formats, out, options, calibration_crops, calibration)
    report = None
    if verify is not None:
        with _servers(folders) as others:
            report = verify_export(opened, folders, verify, options, others, limit)
    if as_json:
        print_json({"folders": {name: str(folder) for name, folder in folders.items()}, "parity": report})
        return
    _say(opened.config.name, folders)
    if report is not None:
        print_parity(report, console)


def _say(network: str, folders: dict[str, Path]) -> None:
    for name, folder in folders.items():
        console.print(f"{network}, {name}, version {folder.name}: {folder}", soft_wrap=True)


def _servers(folders: dict[str, Path]):
    """Name -> `PoseFunction` of the servers that the parity report asks too, while they run."""
    if "saved_model" not in folders:
        return nullcontext({})
    if find_spec("tensorflow_serving") is None:
        messages.print("no server in the comparison: it needs tensorflow-serving-api, the extra `serving`")
        return nullcontext({})
    from p2net_tf.serving.pose_function import served

    return served(folders["saved_model"])
