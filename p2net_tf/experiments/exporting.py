"""`p2net export`: a run in every format asked for, and the parity report in their model cards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.markup import escape

from p2net_tf.data.licences import licences_of
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.experiments.opened_run import Run
from p2net_tf.experiments.runs import sources_of
from p2net_tf.export.calibration import picture_files, pictures_below, training_people
from p2net_tf.export.detector import export_detector_saved_model, export_detector_tflite
from p2net_tf.export.export import export_network
from p2net_tf.export.model_card import read_card, write_card
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.parity import verify
from p2net_tf.export.runtimes import PoseFunction
from p2net_tf.export.tflite import CALIBRATION_CROPS
from p2net_tf.inference.pictures import load_pictures
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import demand_writable


def export_run(
    run: Run,
    formats: Sequence[str],
    out: Path | None = None,
    options: ExportOptions | None = None,
    calibration: int = CALIBRATION_CROPS,
    pictures: str | Path | None = None,
) -> dict[str, Path]:
    """Exports `run`; returns format -> folder of the new version.

    Args:
        formats: of `saved_model` and `tflite`.
        out: folder of the versions; with two formats, of a folder for each. None: inside of the run folder.
        calibration: crops that int8 is calibrated on.
        pictures: folder of pictures to take them from, whole; None takes people of the training part. Where
            these are not at hand there is no int8, and a line says so.

    Raises:
        DataError: `pictures` holds none.
        WriteError: nothing can be written there.
    """
    chosen = options or ExportOptions()
    goals, folders = _goals(formats, out, run.folder), {}
    for name, goal in goals.items():
        people = _to_calibrate_on(run, calibration, pictures) if name == "tflite" else None
        mine = chosen if name == "tflite" else replace(chosen, batch=1)
        folders[name] = export_network(run.network, run.card, goal, name, people, _facts(run), **asdict(mine))
    return folders


def export_detector(
    file: Path,
    formats: Sequence[str],
    out: Path | None = None,
    exif: Exif = Exif.upright,
    calibration: int = CALIBRATION_CROPS,
    pictures: str | Path | None = None,
) -> dict[str, Path]:
    """Exports the detector in a `.keras` file; returns format -> folder of the new version.

    Args:
        formats, out: as for `export_run`; by default beside the file.
        calibration: pictures that int8 is calibrated on.
        pictures: folder of them; without one there is no int8, and a line says so.

    Raises:
        DataError: `pictures` holds none.
        WriteError: nothing can be written there.
    """
    detector = NetworkDetector.load(file)
    goals, folders = _goals(formats, out, file.parent), {}
    if "saved_model" in goals:
        upright = exif is Exif.upright
        folders["saved_model"] = export_detector_saved_model(detector, goals["saved_model"], upright)
    if "tflite" in goals:
        if pictures is None:
            messages.print("[yellow]no int8[/yellow]: give a folder of pictures to calibrate it on")
        seen = [] if pictures is None else list(load_pictures(picture_files(pictures, calibration)))
        folders["tflite"] = export_detector_tflite(detector, goals["tflite"], seen)
    return folders


def _goals(formats: Sequence[str], out: Path | None, usual: Path) -> dict[str, Path]:
    """Format -> folder of its versions.

    Raises:
        WriteError: nothing can be written there; before the first of them is converted.
    """
    goals = {name: out if out and len(formats) == 1 else (out or usual) / name for name in formats}
    for goal in goals.values():
        demand_writable(goal)
    return goals


def _to_calibrate_on(run: Run, count: int, pictures: str | Path | None) -> list[Samples]:
    if pictures is not None:
        return [pictures_below(pictures, count, run.card.skeleton)]
    try:
        people, why = training_people(run.config, count), "none of its pictures can be read"
    except DataError as error:
        people, why = [], str(error)
    if not people:
        messages.print(
            "[yellow]no int8[/yellow]: it learns the range of every activation from pictures, and the "
            f"training part is not at hand ({escape(why)}); give a folder of any pictures to calibrate on",
            soft_wrap=True,
        )
    return people


def verify_export(
    run: Run,
    folders: Mapping[str, Path],
    part: str,
    options: ExportOptions,
    others: Mapping[str, PoseFunction] | None = None,
    limit: int | None = None,
) -> dict:
    """`parity.verify` of what `export_run` wrote; its report becomes `parity` in every model card.

    Args:
        part: `test`, `validation` or `train`; the first data source of it is compared.
        limit: only the first people.

    Raises:
        RunError: the configuration names no data for the part.
        DataError: `limit` on detector boxes, which belong to all people of their images.
    """
    report = verify(
        run.network,
        run.card,
        _first(next(iter(sources_of(run, part).values())), limit),
        run.config.evaluation,
        options.exif is Exif.upright,
        folders.get("saved_model"),
        folders.get("tflite"),
        others,
    )
    for folder in folders.values():
        write_card({**read_card(folder), "parity": report}, folder)
    return report


def _first(source: DatasetConfig, limit: int | None) -> DatasetConfig:
    if limit is None:
        return source
    if source.detections:
        raise DataError(f"{source.root}: a limit cuts people off, but detector boxes belong to whole images")
    start, stop = source.rows or (0, limit)
    return source.model_copy(update={"rows": (start, min(stop, start + limit))})


def _facts(run: Run) -> dict:
    """What the model card says of the run."""
    train = run.config.data.train
    if not train:  # a file without a configuration
        return {}
    return {
        "run": {"folder": run.folder.resolve().name, "model": run.config.model.model_dump(mode="json")},
        "trained_on": [
            source.model_dump(mode="json", include={"format", "split", "rows"}, exclude_none=True)
            for source in train
        ],
        "licence_of_the_data": licences_of(train),
        "scores": _scores(run.folder),
    }


def _scores(folder: Path) -> dict | None:
    """The scores of the test part, of the run as it was trained; None where the run has no report."""
    report = folder / "report.json"
    if not report.is_file():
        return None
    found = json.loads(report.read_text(encoding="utf-8"))
    return {"headline": found.get("headline", {}), "result": found.get("result")}
