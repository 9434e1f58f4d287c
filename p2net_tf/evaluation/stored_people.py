"""COCO ground truth and results out of files, read as `data check` reads the ground truth.

What pycocotools would take in another sense than the data set means it is brought into COCO's own form first:
several categories of people, keypoints in another order, file names for ids, people that stand twice.
Ordinary files come out as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotations.categories import Category
from p2net_tf.data.annotations.document import Document
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.picture_files import PictureFiles
from p2net_tf.data.annotations.values import key
from p2net_tf.data.coco import truth_of
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.coco_files import (
    RESULT_FIELDS,
    demand_keypoints,
    pose_keypoints,
    read_results,
    result_list,
)
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

_SILENT = ("image_without_file", "file_name", "annotation_id")
"""Kinds of problems that change no score of a file that is scored without its pictures."""
_FRACTION = 1.6
"""No keypoint of a set of fractions is further from 0."""


@dataclass(frozen=True)
class StoredPeople:
    """Ground truth and results of one set.

    Attributes:
        truth: COCO ground truth in the card's order, of one category.
        results: COCO results with the ids of the truth.
        notes: what was read in another form than COCO's, each once.
    """

    truth: dict
    results: list[dict]
    notes: tuple[str, ...]

    @property
    def people(self) -> list[dict]:
        """Those that count: no crowds, with labeled keypoints."""
        return [
            entry for entry in self.truth["annotations"] if entry["num_keypoints"] and not entry["iscrowd"]
        ]


def read_people(gt_path: str | Path, results: list | dict | str | Path, card: Skeleton) -> StoredPeople:
    """Both files, or the ground truth beside results that are read already.

    Raises:
        DataError: a file does not hold what is expected; names file, entry and remedy.
    """
    document = _Truth(Path(gt_path), card)
    people = document.people()
    truth = truth_of(document, people)
    _demand_people(document, truth)
    where, entries = result_list(results, RESULT_FIELDS)
    found = _Results(document, where, entries)
    notes = [*_notes(document), *found.notes(truth)]
    poses = found.read()
    slim = read_results(poses, card.num_keypoints, where)
    owned = [
        {**one, "annotation_id": pose.get("annotation_id")} for one, pose in zip(slim, poses, strict=True)
    ]
    return StoredPeople(truth, owned, tuple(notes))


class _Truth(Document):
    """An annotation file whose pictures are not asked for."""

    def __init__(self, path: Path, card: Skeleton):
        super().__init__(path, path.parent, path.parent, card)
        demand_keypoints(str(path), self.annotations)

    def picture_files(self, root: Path, folder: Path) -> PictureFiles:
        return _UnseenFiles(root, folder)


class _UnseenFiles(PictureFiles):
    """Pictures of which only the names count."""

    def find_all(self, names: Sequence[str | None]) -> list[tuple[str | None, list[str]]]:
        return [(name or "", []) for name in names]


def _demand_people(document: Document, truth: dict) -> None:
    errors = _errors(document)
    if errors and not truth["annotations"]:
        raise DataError(f"{document.notebook.source}: no usable person; first of {len(errors)}: {errors[0]}")
    keypoints = np.array([entry["keypoints"] for entry in truth["annotations"]], np.float64).reshape(-1, 3)
    labeled = keypoints[keypoints[:, 2] > NOT_LABELED, :2]
    if len(labeled) and 0 < np.abs(labeled).max() <= _FRACTION:
        raise DataError(
            f"{document.notebook.source}: no coordinate is larger than {np.abs(labeled).max():.3g}: they are "
            "fractions of the pictures; write both files in pixels (evaluating with coordinates: normalized "
            "writes ground_truth.json)"
        )


def _errors(document: Document) -> list:
    problems = document.notebook.problems
    return [problem for problem in problems if problem.severity == "error" and problem.kind not in _SILENT]


def _notes(document: Document) -> list[str]:
    errors = _errors(document)
    notes = [
        problem.detail + (f"; {problem.remedy}" if problem.remedy else "")
        for problem in document.notebook.problems
        if problem.severity != "error" and problem.kind not in _SILENT
    ]
    if errors:
        notes.append(f"{len(errors)} annotations of the ground truth are set aside; first: {errors[0]}")
    return notes


class _Results:
    """Results of the people of a document, whatever names their pictures and categories have."""

    def __init__(self, document: Document, where: str, entries: list):
        self._document, self._where, self._entries = document, where, entries
        self._categories = document.categories
        self._own_order = False

    def notes(self, truth: dict) -> list[str]:
        """Decides in which order their keypoints are, and says where that was not clear."""
        permuted = [category for category in self._categories.read.values() if category.order is not None]
        rows = [row for row, pose in enumerate(self._entries) if isinstance(pose, dict)]
        if not permuted or not rows:
            return []
        self._own_order = self._misfit(truth, rows, True) < self._misfit(truth, rows, False)
        taken = "the ground truth's" if self._own_order else f"'{self._document.card.name}'"
        return [f"the keypoints of the predictions are in the order of {taken}, as their people say"]

    def read(self) -> list:
        """Entries that are no objects stay as they are: who reads the list refuses them."""
        return [
            self._read(row, pose) if isinstance(pose, dict) else pose
            for row, pose in enumerate(self._entries)
        ]

    def _read(self, row: int, pose: dict) -> dict:
        found = dict(pose)
        image = self._image(pose)
        if image is not None:
            found["image_id"] = image.given
        if key(pose.get("category_id")) in self._categories.read:
            found["category_id"] = self._categories.written
        if self._own_order and (values := self._keypoints(row, pose, True)) is not None:
            found["keypoints"] = values.ravel().tolist()
        return found

    def _keypoints(self, row: int, pose: dict, own_order: bool) -> np.ndarray | None:
        """`[K, 3]` in the card's order; None where they are not so many.

        Args:
            own_order: they are in the order of their category in the ground truth, and not in the card's.
        """
        category = self._category(pose)
        count = len(category.names) if own_order else self._document.card.num_keypoints
        try:
            values = pose_keypoints(f"{self._where}: [{row}]", pose.get("keypoints"), count)
        except DataError:
            return None
        points = np.reshape(values, (count, 3))
        return points[category.order] if own_order and category.order is not None else points

    def _image(self, pose: dict) -> Image | None:
        """By its id, else by the name of its file, which may stand in the place of the id."""
        images, given = self._document.images, pose.get("image_id")
        return images.find(given) or images.find_file(pose.get("file_name")) or images.find_file(given)

    def _category(self, pose: dict) -> Category:
        read = self._categories.read
        return read.get(key(pose.get("category_id"))) or next(iter(read.values()))

    def _misfit(self, truth: dict, rows: Sequence[int], own_order: bool) -> float:
        """Median over poses of the mean distance, in pixels, to the keypoints of the nearest person."""
        people: dict[Any, list] = {}
        for entry in truth["annotations"]:
            if entry["num_keypoints"] and not entry["iscrowd"]:
                people.setdefault(key(entry["image_id"]), []).append(np.reshape(entry["keypoints"], (-1, 3)))
        distances = []
        for row in rows:
            pose = self._entries[row]
            image = self._image(pose)
            near = people.get(key(image.given), []) if image is not None else []
            points = self._keypoints(row, pose, own_order) if near else None
            if points is not None:
                distances.append(min(_distance(points, person) for person in near))
        return float(np.nanmedian(distances)) if np.isfinite(distances).any() else np.inf


def _distance(points: np.ndarray, person: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # which is far away
        apart = np.linalg.norm(points[:, :2] - person[:, :2], axis=1)[person[:, 2] > NOT_LABELED]
    return float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else np.nan
