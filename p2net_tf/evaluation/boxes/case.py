"""True and found boxes as columns, and who matches whom by COCO's rules."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from p2net_tf.data.annotations.boxes import overlaps
from p2net_tf.evaluation.boxes.files import BoxTruth, read_box_results
from p2net_tf.evaluation.coco import indexed
from p2net_tf.evaluation.coco_files import with_one_kind_of_ids

FOUND_IOU = 0.5
"""From this IoU on, a box has found an object."""


@dataclass(frozen=True)
class BoxCase:
    """D found boxes and G true ones, as they are compared.

    Attributes:
        dataset: slim COCO ground truth; annotation g is object g.
        detections: slim COCO results, those on images that the ground truth lacks too.
        class_names: of the categories of `dataset`, in their order.
    """

    dataset: dict
    detections: list[dict]
    class_names: tuple[str, ...]

    @cached_property
    def used(self) -> list[dict]:
        """D of the results: those on images of the ground truth."""
        return [found for found in self.detections if found["image_id"] in self._images]

    @cached_property
    def boxes(self) -> np.ndarray:
        """`[D, 4]` xywh."""
        return _boxes(self.used)

    @cached_property
    def scores(self) -> np.ndarray:
        """`[D]`."""
        return np.asarray([found["score"] for found in self.used], np.float64)

    @cached_property
    def pictures(self) -> np.ndarray:
        """`[D]` places in the list of images."""
        return self._places(self.used, "image_id", self._images)

    @cached_property
    def classes(self) -> np.ndarray:
        """`[D]` places in the list of categories; -1 for others."""
        return self._places(self.used, "category_id", self._categories)

    @cached_property
    def truth_boxes(self) -> np.ndarray:
        """`[G, 4]` xywh."""
        return _boxes(self.dataset["annotations"])

    @cached_property
    def truth_pictures(self) -> np.ndarray:
        """`[G]` places in the list of images; -1 where the image is not listed."""
        return self._places(self.dataset["annotations"], "image_id", self._images)

    @cached_property
    def truth_classes(self) -> np.ndarray:
        """`[G]` places in the list of categories; -1 for others."""
        return self._places(self.dataset["annotations"], "category_id", self._categories)

    @cached_property
    def crowds(self) -> np.ndarray:
        """`[G]` bool."""
        return np.asarray([bool(entry["iscrowd"]) for entry in self.dataset["annotations"]], bool)

    def pairs_of_pictures(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For every picture with found boxes: the rows of these, and of its true ones that are no crowds."""
        found, truths = _rows_by(self.pictures), _rows_by(self.truth_pictures)
        nothing = np.zeros(0, np.int64)
        for picture, rows in found.items():
            true_rows = truths.get(picture, nothing)
            yield rows, true_rows[~self.crowds[true_rows]]

    @cached_property
    def _images(self) -> dict:
        return {image["id"]: place for place, image in enumerate(self.dataset["images"])}

    @cached_property
    def _categories(self) -> dict:
        return {category["id"]: place for place, category in enumerate(self.dataset["categories"])}

    @staticmethod
    def _places(entries: list[dict], name: str, place_of: dict) -> np.ndarray:
        return np.asarray([place_of.get(entry[name], -1) for entry in entries], np.int64)


@dataclass(frozen=True)
class Matches:
    """Who matches whom at an IoU of `FOUND_IOU`, by falling score.

    Attributes:
        truths: `[D]` row of the true box that a found one matches; -1 for none.
        ignored: `[D]` bool: on crowds, of other classes, or beyond the boxes of a picture that count.
        found: `[G]` row of the found box that matches a true one; -1 for none.
        counted: `[G]` bool: no crowds.
    """

    truths: np.ndarray
    ignored: np.ndarray
    found: np.ndarray
    counted: np.ndarray


def read_box_case(ground_truth: dict | str | Path, results: list | dict | str | Path) -> BoxCase:
    """Args:
    ground_truth, results: as `evaluate_boxes` takes them.

    Raises:
        DataError: a field is missing or has another form; names it and the remedy.
    """
    truth = BoxTruth(ground_truth)
    dataset = truth.dataset()
    detections = read_box_results(results, truth, dataset)
    names = truth.class_names
    class_names = tuple(names.get(str(known["id"]), str(known["id"])) for known in dataset["categories"])
    dataset, detections = with_one_kind_of_ids(dataset, detections)
    return BoxCase(dataset, detections, class_names)


def run_box_evaluation(case: BoxCase) -> COCOeval:
    """pycocotools' evaluation of boxes up to its matches, without its prints.

    It knows images and categories by their places in the lists, since it sorts ids and NumPy cuts some texts
    short; each true box by its row and each found one by its place in `case.used`, both from 1 on.
    """
    areas = np.prod(case.boxes[:, 2:], axis=1).tolist()
    found = [entry | {"area": area} for entry, area in zip(case.used, areas, strict=True)]
    lists = {
        name: [{"id": place} for place in range(len(case.dataset[name]))] for name in ("images", "categories")
    }
    truth = _numbered(case.dataset["annotations"], case.truth_pictures, case.truth_classes)
    results = _numbered(found, case.pictures, case.classes)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            indexed({**lists, "annotations": truth}), indexed({**lists, "annotations": results}), "bbox"
        )
        evaluation.evaluate()
    return evaluation


def _numbered(entries: list[dict], pictures: np.ndarray, classes: np.ndarray) -> list[dict]:
    """With places for ids; those of no listed image or category are left out."""
    columns = zip(entries, pictures.tolist(), classes.tolist(), strict=True)
    return [
        {"iscrowd": 0} | entry | {"id": row, "image_id": picture, "category_id": kind}
        for row, (entry, picture, kind) in enumerate(columns, 1)
        if picture >= 0 and kind >= 0
    ]


def matches_of(evaluation: COCOeval, case: BoxCase) -> Matches:
    """Those of `run_box_evaluation`, of which `FOUND_IOU` is the first threshold."""
    everything = evaluation.params.areaRng[0]
    parts = [part for part in evaluation.evalImgs if part is not None and part["aRng"] == everything]
    rows, truths = _column(parts, "dtIds") - 1, _column(parts, "gtIds") - 1
    truth_of = np.full(len(case.used), -1, np.int64)
    truth_of[rows] = _first_threshold(parts, "dtMatches") - 1
    ignored = np.ones(len(case.used), bool)
    ignored[rows] = _first_threshold(parts, "dtIgnore") != 0
    found = np.full(len(case.crowds), -1, np.int64)
    found[truths] = _first_threshold(parts, "gtMatches") - 1
    counted = np.zeros(len(case.crowds), bool)
    counted[truths] = _column(parts, "gtIgnore") == 0
    return Matches(truth_of, ignored, found, counted)


def best_truths(case: BoxCase, same_class: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Of each found box the true one of its picture, of its class or of another, that it overlaps most.

    Returns:
        `(rows [D], IoUs [D])`; -1 and 0 where there is none.
    """
    rows, ious = np.full(len(case.used), -1, np.int64), np.zeros(len(case.used))
    for found, truths in case.pairs_of_pictures():
        if not len(truths):
            continue
        overlap = overlaps(case.boxes[found, None], case.truth_boxes[None, truths])
        alike = case.classes[found, None] == case.truth_classes[None, truths]
        overlap = np.where(alike == same_class, overlap, 0.0)
        best = overlap.argmax(axis=1)
        ious[found] = overlap[np.arange(len(found)), best]
        rows[found] = np.where(ious[found] > 0, truths[best], -1)
    return rows, ious


def _boxes(entries: list[dict]) -> np.ndarray:
    return np.asarray([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)


def _rows_by(keys: np.ndarray) -> dict[int, np.ndarray]:
    """The rows of each key that is no -1."""
    order = np.argsort(keys, kind="stable")
    values, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts)[1:]
    return {value: rows for value, rows in zip(values.tolist(), parts, strict=True) if value >= 0}


def _column(parts: list[dict], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.ravel(part[name]) for part in parts)]).astype(np.int64)


def _first_threshold(parts: list[dict], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(part[name][0] for part in parts)]).astype(np.int64)
