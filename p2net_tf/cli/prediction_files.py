"""From picture files to overlays and a COCO result file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.cli.keypoint_tables import open_table
from p2net_tf.data.annotation_files import write_json
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import Problem
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.detection.opening import chosen_detector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.suppression import suppressed
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.inference.boxes import PictureBoxes, read_boxes
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.poses import Poses
from p2net_tf.inference.precision import Precision
from p2net_tf.inference.run_folder import network_file
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.inference.without_graphs import without_graphs
from p2net_tf.skeletons import drawing
from p2net_tf.utils.console import track
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.yaml_files import Document, Section, validate

_COLUMNS = {
    "file_name": str, "image_id": str, "person": int, "keypoint": str, "x": float, "y": float, "score": float,
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What `predict_files` did.

    Attributes:
        poses: how many were written.
        overlays: pictures that have one.
        boxes: how many were looked at.
        problems: boxes that were set aside, and what else is to be said of them.
        unlimited: detected boxes that neither suppression nor a limit has thinned out.
    """

    poses: int
    overlays: int
    boxes: int
    problems: tuple[Problem, ...]
    unlimited: bool


def predict_files(
    model: str,
    images: Sequence[str],
    boxes: str | None,
    out: Path,
    overrides: Sequence[str] = (),
    top: int | None = None,
    strict: bool = False,
    detector: str | None = None,
    min_score: float | None = None,
    table: str = "csv",
    on_poses: Callable[[Poses, list[dict], Any], None] = lambda *_: None,
    precision: Precision | None = None,
) -> Written:
    """Finds poses and writes an overlay per image and `predictions.json` into `out`.

    And a table of keypoints, one row a person and keypoint.

    Detected boxes are thinned out as the recipe of the run says: by `evaluation.box_threshold` and
    `evaluation.nms`.

    Args:
        model: run folder, `.keras` file, or the name of a preset.
        images: files that can be read.
        boxes: as `read_boxes` takes them; None where `detector` finds them.
        overrides: `key=value` on the run's configuration, e.g. `evaluation.nms=oks`.
        top: keep so many poses of an image, the best ones.
        strict: a box that cannot be read is an error.
        detector: as `open_detector` takes it; None: as `chosen_detector` says.
        min_score: its boxes must score above it; None: as it says itself.
        table: `csv` or `parquet`.
        on_poses: called with those of every image, its entries of `predictions.json` and its id, when all is
            written.
        precision: of the network; None: its own. `auto` measures by as many people as there are, at most a
            full batch.

    Raises:
        DataError: boxes that match no image, or anything broken and `strict`.
    """
    pose, settings = open_estimator(model, overrides)
    # `auto` times the graphs that many pictures would be found with.
    with without_graphs(len(images) == 1 and precision is None):
        if boxes is not None:
            sizes, _ = image_headers(images, exif_orientation=True)
            given = read_boxes(boxes, images, sizes, strict)
        else:
            given = _detect(chosen_detector(detector, pose.skeleton), images, min_score)
        if precision is not None:
            pose = pose.with_precision(precision, max(1, min(len(given.owners), pose.card.recipe.batch_size)))
        poses_of_all = _predict(pose, settings, images, given)
    found = _keep(poses_of_all, pose.card, settings, top)
    thinned = settings.nms or settings.box_threshold > 0 or top is not None
    entries = [
        poses.to_coco(image_id, given.category_id, Path(poses.source).name)
        for image_id, poses in zip(given.image_ids, found, strict=True)
    ]
    write_json(make_folder(out) / "predictions.json", [entry for one in entries for entry in one])
    overlays = _draw(found, out)
    _write_table(found, given, out / f"keypoints.{table}")
    for of_image in zip(found, entries, given.image_ids, strict=True):
        on_poses(*of_image)
    count = sum(len(poses) for poses in found)
    unlimited = boxes is not None and given.detected and not thinned  # detectors thin out by themselves
    return Written(count, overlays, len(given.owners), (*given.problems, *given.notes), unlimited)


class _Recipe(Section):
    """What can be changed of a file that no `config.yaml` lies beside."""

    evaluation: EvaluationConfig


def open_estimator(model: str, overrides: Sequence[str]) -> tuple[PoseEstimator, EvaluationConfig]:
    """The network, and what its run does with poses."""
    file = network_file(model)
    if (file.parent / "config.yaml").is_file():
        run = load_run(file, overrides)
        return PoseEstimator(run.network, run.card), run.config.evaluation
    pose = PoseEstimator.load(file)
    stored = pose.card.recipe.model_dump(include=set(EvaluationConfig.model_fields))
    document = Document.of_tree({"evaluation": stored}, str(file))
    for override in overrides:
        document.override(override)
    settings = validate(_Recipe, document).evaluation
    return pose.with_recipe(**settings.model_dump(include=set(TestRecipe.model_fields))), settings


def _detect(detector: PersonDetector, images: Sequence[str], min_score: float | None) -> PictureBoxes:
    every = track(detector.detect(list(images)), "detecting", total=len(images))
    found = [detector.likely(boxes, min_score) for boxes in every]
    return PictureBoxes(
        np.repeat(np.arange(len(found)), [len(boxes) for boxes in found]),
        np.concatenate([boxes.windows for boxes in found]),
        np.concatenate([boxes.scores for boxes in found]),
        image_ids=tuple(range(1, len(found) + 1)),
        detected=True,
    )


def _predict(
    pose: PoseEstimator, settings: EvaluationConfig, images: Sequence[str], given: PictureBoxes
) -> list[Poses]:
    # Boxes that no detector scored are certain.
    likely = (given.scores >= settings.box_threshold) | (not given.detected)
    rows = [np.flatnonzero((given.owners == number) & likely) for number in range(len(images))]
    return pose.predict(
        list(images), [given.windows[mine] for mine in rows], [given.scores[mine] for mine in rows]
    )


def _keep(
    found: list[Poses], card: InferenceCard, settings: EvaluationConfig, top: int | None
) -> list[Poses]:
    """What the suppression of `settings` and `top` leave, best first where any of them is asked for."""
    kept = []
    for poses in found:
        poses = suppressed(poses, card, settings)
        if top is not None:
            poses = poses.take(np.argsort(-poses.scores, kind="stable")[:top])
        kept.append(poses)
    return kept


def _draw(found: Sequence[Poses], folder: Path) -> int:
    seen = [(number, poses) for number, poses in enumerate(found, start=1) if len(poses)]
    for number, poses in track(seen, "drawing"):
        # The number keeps pictures of the same name in different folders apart.
        drawing.write_image(folder / f"{Path(poses.source).stem}_{number}.jpg", poses.draw())
    return len(seen)


def _write_table(found: Sequence[Poses], given: PictureBoxes, path: Path) -> None:
    with open_table(path, _COLUMNS) as add:
        for image_id, poses in zip(given.image_ids, found, strict=True):
            add((Path(poses.source).name, str(image_id), *row) for row in keypoint_rows(poses))


def keypoint_rows(poses: Poses) -> Iterator[tuple[int, str, float, float, float]]:
    """Place of the person, keypoint, x, y (continuous pixels, `p2net_tf.keypoints.geometry`) and score."""
    people = zip(poses.keypoints.tolist(), poses.keypoint_scores.tolist(), strict=True)
    for person, (places, scores) in enumerate(people):
        for keypoint, (x, y), score in zip(poses.skeleton.keypoints, places, scores, strict=True):
            yield person, keypoint, x, y, score
