"""`p2net export`: a run in every format asked for, and the parity report in their model cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from p2net_tf.experiments.runs import Run
from p2net_tf.export.model_card import read_card, write_card
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.parity import verify
from p2net_tf.export.runtimes import PoseFunction
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.tflite import CALIBRATION_CROPS, export_tflite


def export_run(
    run: Run,
    formats: Sequence[str],
    out: Path | None = None,
    options: ExportOptions | None = None,
    calibration: int = CALIBRATION_CROPS,
) -> dict[str, Path]:
    """Exports `run`; returns format -> folder of the new version.

    Args:
        formats: of `saved_model` and `tflite`.
        out: folder of the versions; with two formats, of a folder for each. None: inside of the run folder.
        calibration: training crops that int8 is calibrated on.
    """
    folders = {}
    for name in formats:
        goal = out if out is not None and len(formats) == 1 else (out or run.folder) / name
        if name == "tflite":
            folders[name] = export_tflite(run, goal, options, calibration)
        else:
            folders[name] = export_saved_model(run, goal, options)
    return folders


def verify_export(
    run: Run,
    folders: Mapping[str, Path],
    part: str,
    options: ExportOptions,
    others: Mapping[str, PoseFunction] | None = None,
    limit: int | None = None,
) -> dict:
    """`parity.verify` of what `export_run` wrote; its report becomes `parity` in every model card."""
    upright = options.exif is Exif.upright
    report = verify(run, part, upright, folders.get("saved_model"), folders.get("tflite"), others, limit)
    for folder in folders.values():
        write_card({**read_card(folder), "parity": report}, folder)
    return report
