"""What `p2net train` leaves of a detector beside its weights: scores of the test part and the report."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.data.boxes.datasets import open_scenes
from p2net_tf.data.settings import name_sources
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.evaluation.boxes.evaluate import BoxEvaluation, evaluate_detector
from p2net_tf.evaluation.report import write_report
from p2net_tf.experiments.curves import CURVES, draw_curves
from p2net_tf.experiments.detector_runs import evaluate_sources
from p2net_tf.experiments.run_folder import place_of
from p2net_tf.inference.pictures import load_picture
from p2net_tf.inference.run_folder import network_file
from p2net_tf.models.summary import count_parameters
from p2net_tf.skeletons import drawing
from p2net_tf.utils.provenance import describe_environment

_SHEET_PICTURES = 24
_TILE = 256
_DRAWN_FROM = 0.3
"""Score from which on a box is drawn."""
_HEADLINE = ("AP", "AP50", "AR100")


def report_detector(
    config: DetectorExperimentConfig, folder: Path, facts: dict, strict: bool = False, command: str = ""
) -> dict:
    """Scores a trained detector on its test part, if any, and writes the run folder's report.

    Args:
        folder: of the finished run.
        facts: about the training, for the report.
        strict: the first broken item of the test part is an error.
        command: the command line, for the report.
    """
    likely = _settle_likely_score(config, folder, strict)
    drawn = draw_curves(folder, "AP" if config.data.validation else None)
    curves = {"file": CURVES, "caption": "Loss, AP and learning rate over the epochs"}
    report = {
        "title": config.name,
        "subtitle": f"{config.model.name} on {_backbone(config)}",
        "headline": {},
        "scores": {},
        "notes": [],
        "figures": [curves] if drawn else [],
        "environment": describe_environment(seed=config.seed),
        "command": command,
    }
    sources = {
        name: source.model_copy(update={"repeat": 1})
        for name, source in name_sources(config.data.test).items()
    }
    for name, found in evaluate_sources(folder, sources, out=folder, strict=strict).items():
        sheet = place_of(folder, name, sources) / "overlays.jpg"
        drawing.write_image(sheet, _overlays(found))
        _add_scores(report, found, f", {name}" if len(sources) > 1 else "", sheet.relative_to(folder))
    report["scores"]["Run"] = facts | {"likely score": likely} | _size_of(network_file(folder))
    write_report(folder, report)
    return report


def _backbone(config: DetectorExperimentConfig) -> str:
    """Of its own name a small TridentNet has only the width."""
    return "small" if getattr(config.model, "small_width", None) else config.model.backbone


def _settle_likely_score(config: DetectorExperimentConfig, folder: Path, strict: bool) -> float:
    """Writes into the cards of the run what is likely a person, if the configuration leaves it open."""
    detector = NetworkDetector.load(network_file(folder))
    if config.evaluation.likely_score is not None or not config.data.validation:
        return detector.card.likely_score
    scenes, _ = open_scenes(config.data.validation, config.data.classes, strict)
    likely = round(evaluate_detector(detector, scenes).result.at_limit.limit, 3)
    for file in sorted(folder.glob("*.keras")):
        detector = NetworkDetector.load(file)
        card = detector.card.model_copy(update={"likely_score": likely})
        NetworkDetector(detector.network, card).save(file)
    return likely


def _size_of(file: Path) -> dict:
    return {
        "parameters": count_parameters(NetworkDetector.load(file).network),
        "megabytes": round(file.stat().st_size / 1e6, 2),
    }


def _add_scores(report: dict, found: BoxEvaluation, of: str, sheet: Path) -> None:
    report["headline"] |= {f"{label}{of}": found.result[label] for label in _HEADLINE}
    report["scores"][f"{found.result.name}{of}"] = dict(found.result.metrics) | {"R100": found.result.recall}
    report.setdefault("result", found.to_dict())
    notes = [found.pictures.describe(), *found.result.diagnostics]
    report["notes"] += [f"{of.removeprefix(', ')}: {note}" if of else note for note in notes if note]
    caption = f"Boxes in pictures that the network never saw{of}"
    report["figures"].append({"file": sheet.as_posix(), "caption": caption})


def _overlays(found: BoxEvaluation) -> np.ndarray:
    """A sheet of pictures spread evenly over the scored ones, with the boxes that were found."""
    scenes, case = found.pictures.scenes, found.case
    rows = np.unique(np.linspace(0, len(scenes) - 1, _SHEET_PICTURES).astype(int))
    tiles = []
    for row in rows:
        own = case.pictures == row
        picture = load_picture(str(scenes.image_paths[row]), scenes.exif_orientation)
        tiles.append(_tile(picture, Boxes(case.boxes[own], case.scores[own]).above(_DRAWN_FROM)))
    return drawing.contact_sheet(tiles, columns=6)


def _tile(picture: np.ndarray, boxes: Boxes) -> np.ndarray:
    """A picture with boxes, its longer side of one size."""
    height, width = picture.shape[:2]
    factor = _TILE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    tile = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    for window, score in zip(boxes.windows * factor, boxes.scores, strict=True):
        tile = drawing.draw_box(tile, window, label=f"{score:.2f}")
    return tile
