"""COCO ground truth and results, checked, and reduced to the fields that pycocotools reads."""

from __future__ import annotations

import numbers
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.samples import DataError

RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")


def read_ground_truth(source: dict | str | Path, num_keypoints: int) -> dict:
    """A slim copy of COCO ground truth with every field that pycocotools reads, missing ones filled in.

    Annotations get their place in the list, counted from 1, as ids: pycocotools takes a match with the id 0
    for none.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    return _Truth(source, num_keypoints).dataset()


def read_results(source: list | dict | str | Path, num_keypoints: int) -> list[dict]:
    """A slim copy of a COCO result list, in its order.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    where = str(source) if isinstance(source, str | Path) else "predictions"
    content = load_json(source) if isinstance(source, str | Path) else source
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list):
        fields = ", ".join(RESULT_FIELDS)
        raise DataError(f"{where}: not a result list; give a list of objects with {fields}")
    for row, pose in enumerate(content):
        _check_detection(f"{where}: [{row}]", pose, num_keypoints)
    # pycocotools takes a pose's area from its box when the first one has a box, else from its keypoints.
    boxes = bool(content) and all(pose.get("bbox") for pose in content)
    fields = (*RESULT_FIELDS, "bbox") if boxes else RESULT_FIELDS
    return [{name: pose[name] for name in fields} for pose in content]


class _Truth:
    def __init__(self, source: dict | str | Path, num_keypoints: int):
        self.where = "ground truth" if isinstance(source, dict) else str(source)
        self.content = source if isinstance(source, dict) else load_json(source)
        self.num_keypoints = num_keypoints

    def dataset(self) -> dict:
        for field in ("images", "annotations", "categories"):
            if not isinstance(self.content, dict) or not isinstance(self.content.get(field), list):
                raise DataError(
                    f"{self.where}: no list '{field}'; COCO ground truth is an object with images, "
                    "annotations and categories (a result list goes to the predictions)"
                )
        if self.content["annotations"] and not any("keypoints" in a for a in self.content["annotations"]):
            raise DataError(
                f"{self.where}: no annotation has 'keypoints'; take person_keypoints_*.json, not "
                "instances_*.json"
            )
        return {
            "images": self._ids("images"),
            "categories": self._ids("categories"),
            "annotations": [self._annotation(i, a) for i, a in enumerate(self.content["annotations"])],
        }

    def _ids(self, field: str) -> list[dict]:
        return [{"id": self._required(item, "id", field, i)} for i, item in enumerate(self.content[field])]

    def _required(self, item: dict, name: str, field: str, row: int):
        if name not in item:
            raise DataError(f"{self.where}: {field}[{row}] has no '{name}'; every one needs it")
        return item[name]

    def _annotation(self, row: int, annotation: dict) -> dict:
        keypoints = _given(annotation, "keypoints", [0] * (3 * self.num_keypoints))
        if len(keypoints) != 3 * self.num_keypoints:
            raise DataError(
                f"{self.where}: annotations[{row}]: {len(keypoints)} values in 'keypoints', expected "
                f"3 x {self.num_keypoints}; score with the sigmas of the skeleton that was annotated"
            )
        if not np.isfinite(np.asarray(keypoints, np.float64)).all():
            raise DataError(
                f"{self.where}: annotations[{row}]: a value of 'keypoints' is not a number; "
                "write 0, 0, 0 for a keypoint without a label"
            )
        labeled = [i for i in range(self.num_keypoints) if keypoints[3 * i + 2] > 0]
        return {
            "id": row + 1,
            "image_id": self._required(annotation, "image_id", "annotations", row),
            "category_id": self._required(annotation, "category_id", "annotations", row),
            "keypoints": keypoints,
            "num_keypoints": _given(annotation, "num_keypoints", len(labeled)),
            "iscrowd": _given(annotation, "iscrowd", 0),
            "area": float(np.nan_to_num(_given(annotation, "area", 0.0))),
            "bbox": _given(annotation, "bbox", _extent(keypoints, labeled)),
        }


def _given(annotation: dict, name: str, default):
    value = annotation.get(name)
    return default if value is None else value


def _extent(keypoints: list, labeled: list[int]) -> list[float]:
    if not labeled:
        return [0.0, 0.0, 0.0, 0.0]
    xs, ys = [keypoints[3 * i] for i in labeled], [keypoints[3 * i + 1] for i in labeled]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _check_detection(where: str, pose, num_keypoints: int):
    missing = [n for n in RESULT_FIELDS if not isinstance(pose, dict) or pose.get(n) is None]
    if missing:
        raise DataError(f"{where}: no '{missing[0]}'; every pose needs {', '.join(RESULT_FIELDS)}")
    if len(pose["keypoints"]) != 3 * num_keypoints:
        raise DataError(
            f"{where}: {len(pose['keypoints'])} values in 'keypoints', expected 3 x {num_keypoints} "
            "(x, y, score of each); predict the skeleton of the ground truth"
        )
    if not isinstance(pose["score"], numbers.Real) or not np.isfinite(pose["score"]):
        raise DataError(f"{where}: the score is {pose['score']}; poses are ranked by it, so give a number")
