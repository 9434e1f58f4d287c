"""Scores a detector on pictures whose people are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.samples import Problem
from p2net_tf.data.scenes import Scenes
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import FileDetector, PersonDetector
from p2net_tf.evaluation.boxes.average_precision import BoxResult, score_case
from p2net_tf.evaluation.boxes.case import BoxCase, read_box_case
from p2net_tf.evaluation.boxes.scored_scenes import (
    ScoredScenes,
    box_ground_truth,
    category_ids_of,
    image_ids_of,
    only_class,
    select_scenes,
)
from p2net_tf.inference.pictures import load_pictures
from p2net_tf.utils.console import track


@dataclass(frozen=True)
class FoundBoxes:
    """D boxes that were found in the pictures of some `Scenes`.

    Attributes:
        owners: `[D]` int64, rows of the pictures.
        boxes: `[D, 4]` xywh in pixels.
        scores: `[D]`.
        classes: `[D]` int64, rows of the classes' names.
    """

    owners: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    @classmethod
    def of_people(cls, found: list[Boxes]) -> FoundBoxes:
        """Those of each picture in turn, all of the first class."""
        counts = [len(boxes) for boxes in found]
        nothing = Boxes(np.zeros((0, 4)), np.zeros(0))
        return cls(
            np.repeat(np.arange(len(found)), counts),
            np.concatenate([boxes.windows for boxes in (nothing, *found)]),
            np.concatenate([boxes.scores for boxes in (nothing, *found)]),
            np.zeros(sum(counts), np.int64),
        )


@dataclass(frozen=True)
class BoxEvaluation:
    """What one evaluation found: the score, and exactly what it is of.

    Attributes:
        result: the score.
        pictures: those that were scored, and what was set aside.
        results: the found boxes as COCO results, to every digit.
        ground_truth: what they were compared with, as COCO ground truth.
        case: both, as they were compared.
    """

    result: BoxResult
    pictures: ScoredScenes
    results: list[dict]
    ground_truth: dict
    case: BoxCase

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.pictures.problems

    @property
    def scope(self) -> str:
        """`162 of 205 pictures`."""
        return f"{self.pictures.scored} pictures"

    def to_dict(self) -> dict:
        """The score, and under `pictures` what was scored, as plain JSON types."""
        return self.result.to_dict() | {"pictures": self.pictures.to_dict()}


def evaluate_detector(
    detector: PersonDetector | FileDetector,
    scenes: Scenes,
    score_limit: float | None = None,
    strict: bool = False,
    skip_missing: bool = False,
) -> BoxEvaluation:
    """Finds people in the pictures of `scenes` and scores their boxes by COCO's rules.

    Args:
        scenes: as a reader gives them, broken items and all; objects of other classes than `person` are not
            asked for.
        score_limit: as in `evaluate_boxes`.
        strict: the first broken item is an error.
        skip_missing: people in missing or broken pictures do not count, instead of as missed.

    Raises:
        DataError: nothing usable in `scenes`, or no class `person`.
    """
    pictures = select_scenes(only_class(scenes, PERSON), skip_missing, strict)
    found = list(track(_detected(detector, pictures.scenes), "finding people", len(pictures.scenes)))
    return score_found(pictures, FoundBoxes.of_people(found), score_limit)


def score_found(
    pictures: ScoredScenes | Scenes, found: FoundBoxes, score_limit: float | None = None
) -> BoxEvaluation:
    """Scores boxes that were found, wherever and of whatever class.

    Args:
        pictures: with those that count as missed; or scenes that are known to be usable.
        found: in `pictures.scenes`.
        score_limit: as in `evaluate_boxes`.
    """
    pictures = pictures if isinstance(pictures, ScoredScenes) else ScoredScenes.of(pictures)
    everything = pictures.everything
    truth, results = box_ground_truth(everything), box_results(everything, found)
    case = read_box_case(truth, results)
    return BoxEvaluation(score_case(case, score_limit), pictures, results, truth, case)


def box_results(scenes: Scenes, found: FoundBoxes) -> list[dict]:
    """Found boxes as a COCO result list, with the ids of the data set."""
    ids, categories = image_ids_of(scenes), category_ids_of(scenes)
    columns = zip(
        np.asarray(found.owners).tolist(),
        np.asarray(found.classes).tolist(),
        np.asarray(found.boxes).tolist(),
        np.asarray(found.scores).tolist(),
        strict=True,
    )
    return [
        {"image_id": ids[owner], "category_id": categories[row], "bbox": box, "score": score}
        for owner, row, box, score in columns
    ]


def _detected(detector: PersonDetector | FileDetector, scenes: Scenes) -> Iterator[Boxes]:
    paths = scenes.image_paths.tolist()
    if isinstance(detector, FileDetector):
        return detector.detect(paths)
    return map(detector.detect_in, load_pictures(paths, scenes.exif_orientation))
