"""COCO ground truth and results, checked, and reduced to the fields that pycocotools reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.areas import person_area
from p2net_tf.data.annotations.boxes import box_of_keypoints, read_box
from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.annotations.keypoint_values import KeypointFault, read_keypoints
from p2net_tf.data.annotations.values import as_list, is_set, number, same_id
from p2net_tf.data.annotations.values import numbers as value_list
from p2net_tf.data.samples import DataError
from p2net_tf.keypoints.visibility import NOT_LABELED

RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")


def read_ground_truth(source: dict | str | Path, num_keypoints: int, name: str | None = None) -> dict:
    """A slim copy of COCO ground truth with every field that pycocotools reads, missing ones filled in.

    Annotations get their place in the list, counted from 1, as ids: pycocotools takes a match with the id 0
    for none.

    Args:
        name: of the source in messages, where it is another than its path.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    return _KeypointTruth(source, num_keypoints, name).dataset()


def read_results(source: list | dict | str | Path, num_keypoints: int, name: str | None = None) -> list[dict]:
    """A slim copy of a COCO result list, in its order.

    Args:
        name: of the source in messages, where it is another than its path.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    where, content = result_list(source, RESULT_FIELDS)
    where = name or where
    for row, pose in enumerate(content):
        _check_ids(f"{where}: [{row}]", pose)
    # pycocotools takes a pose's area from its box when the first one has a box, else from its keypoints.
    boxes = [value_list(pose.get("bbox"), 4) for pose in content]
    found = [
        {
            "image_id": same_id(pose["image_id"]),
            "category_id": same_id(pose["category_id"]),
            "keypoints": pose_keypoints(f"{where}: [{row}]", pose["keypoints"], num_keypoints),
            "score": pose_score(f"{where}: [{row}]", pose["score"]),
        }
        for row, pose in enumerate(content)
    ]
    if any(box is None for box in boxes):
        return found
    return [pose | {"bbox": box.tolist()} for pose, box in zip(found, boxes, strict=True)]


def result_list(source: list | dict | str | Path, fields: Sequence[str]) -> tuple[str, list]:
    """`(name for messages, entries)` of COCO results: a list, a dict that holds it, or the path of either.

    Raises:
        DataError: there is no list; names the `fields` of its entries.
    """
    where = str(source) if isinstance(source, str | Path) else "predictions"
    content = load_json(source) if isinstance(source, str | Path) else source
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list):
        raise DataError(f"{where}: not a result list; give a list of objects with {', '.join(fields)}")
    return where, content


def with_one_kind_of_ids(dataset: dict, detections: list[dict]) -> tuple[dict, list[dict]]:
    """The same with all image or category ids as text where any of them is text: pycocotools sorts them."""
    for field, rows in (("image_id", "images"), ("category_id", "categories")):
        people = (dataset["annotations"], detections)
        ids = [entry[field] for part in people for entry in part] + [row["id"] for row in dataset[rows]]
        if any(isinstance(found, str) for found in ids):
            annotations, detections = (
                [{**entry, field: str(entry[field])} for entry in part] for part in people
            )
            listed = [{"id": str(row["id"])} for row in dataset[rows]]
            dataset = dataset | {rows: listed, "annotations": annotations}
    return dataset, detections


def demand_keypoints(where: str, entries: list) -> None:
    """Raises:
    DataError: no annotation of the file `where` has keypoints.
    """
    if entries and not any(isinstance(entry, dict) and "keypoints" in entry for entry in entries):
        raise DataError(
            f"{where}: no annotation has 'keypoints'; take person_keypoints_*.json, not instances_*.json"
        )


def pose_keypoints(where: str, values, num_keypoints: int) -> list[float]:
    """`[3 K]` x, y and score of each keypoint of a result; null is NaN, which matches nobody.

    Args:
        values: flat or nested, also as text.

    Raises:
        DataError: they are no such numbers; `where` names the result.
    """
    values = as_list(values)
    if not isinstance(values, list | tuple | np.ndarray):
        raise DataError(f"{where}: 'keypoints' is no list; give x, y, score of each")
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where}: a value of 'keypoints' is not a number; give x, y, score of each"
        ) from None
    if found.shape not in ((3 * num_keypoints,), (num_keypoints, 3)):
        raise DataError(
            f"{where}: {found.size} values in 'keypoints', expected 3 x {num_keypoints} "
            "(x, y, score of each); predict the skeleton of the ground truth"
        )
    return found.ravel().tolist()


def pose_score(where: str, value) -> float:
    """The score of a result, also as text.

    Raises:
        DataError: it is no finite number; `where` names the result.
    """
    # numpy's own numbers come from arrays.
    found = number(value.item() if isinstance(value, np.generic) else value)
    if found is None:
        raise DataError(f"{where}: the score is {value!r:.40}; poses are ranked by it, so give a number")
    return found


class Truth(ABC):
    """COCO ground truth, of which the values are read by the rules of `p2net_tf.data.annotations`.

    Attributes:
        where: the file, for messages.
        content: what it holds.
    """

    def __init__(self, source: dict | str | Path, name: str | None = None):
        self.where = name or ("ground truth" if isinstance(source, dict) else str(source))
        self.content = source if isinstance(source, dict) else load_json(source)

    def dataset(self) -> dict:
        """The slim copy.

        Raises:
            DataError: a field is missing or has another length; names it and the remedy.
        """
        for field in ("images", "annotations"):
            if not isinstance(self.content, dict) or not isinstance(self.content.get(field), list):
                raise DataError(
                    f"{self.where}: no list '{field}'; COCO ground truth is an object with images, "
                    "annotations and categories (a result list goes to the predictions)"
                )
            self._demand_objects(field)
        images, entries = self.content["images"], self.content["annotations"]
        self.demand_kind(entries)
        categories = self._categories()
        only = categories[0] if len(categories) == 1 else PERSON
        annotations = [
            {"id": row + 1, **self._owner(row, entry, only), **self.values(row, entry)}
            for row, entry in enumerate(entries)
        ]
        if not categories:
            categories = list(dict.fromkeys(entry["category_id"] for entry in annotations)) or [PERSON]
        return {
            "images": [{"id": self._id(image, "id", "images", row)} for row, image in enumerate(images)],
            "categories": [{"id": found} for found in categories],
            "annotations": annotations,
        }

    @abstractmethod
    def demand_kind(self, entries: list[dict]) -> None:
        """Raises:
        DataError: the annotations are of another kind.
        """

    @abstractmethod
    def values(self, row: int, entry: dict) -> dict:
        """What pycocotools reads of an annotation beside its ids."""

    def _demand_objects(self, field: str) -> None:
        for row, entry in enumerate(self.content[field]):
            if not isinstance(entry, dict):
                raise DataError(f"{self.where}: {field}[{row}] is {entry!r:.40}; give an object")

    def _categories(self) -> list[int | str]:
        """Those listed."""
        listed = self.content.get("categories")
        if not listed:
            return []
        if not isinstance(listed, list):
            raise DataError(f"{self.where}: 'categories' is no list; give a list of objects with id and name")
        self._demand_objects("categories")
        return [self._id(item, "id", "categories", row) for row, item in enumerate(listed)]

    def _id(self, item: dict, name: str, field: str, row: int) -> int | str:
        found = same_id(item.get(name))
        if found is None:
            raise DataError(f"{self.where}: {field}[{row}] has no '{name}'; every one needs it")
        return found

    def _owner(self, row: int, entry: dict, only: int | str) -> dict:
        """Args:
        only: the category of annotations that name none.
        """
        category = entry.get("category_id")
        return {
            "image_id": self._id(entry, "image_id", "annotations", row),
            "category_id": only if category is None else self._id(entry, "category_id", "annotations", row),
            "iscrowd": int(is_set(entry.get("iscrowd"))),
        }


class _KeypointTruth(Truth):
    def __init__(self, source: dict | str | Path, num_keypoints: int, name: str | None):
        super().__init__(source, name)
        self.num_keypoints = num_keypoints

    def demand_kind(self, entries: list[dict]) -> None:
        demand_keypoints(self.where, entries)

    def values(self, row: int, entry: dict) -> dict:
        keypoints = self._keypoints(row, entry)
        box = read_box(entry.get("bbox"))
        if box is None:
            box = box_of_keypoints(keypoints)
        box = np.zeros(4) if box is None else box
        return {
            "keypoints": keypoints.ravel().tolist(),
            "num_keypoints": int(np.count_nonzero(keypoints[:, 2] > NOT_LABELED)),
            "area": person_area(entry, box)[0],
            "bbox": box.tolist(),
        }

    def _keypoints(self, row: int, entry: dict) -> np.ndarray:
        """`[K, 3]`."""
        values = entry.get("keypoints")
        if not values:
            return np.zeros((self.num_keypoints, 3))
        names = [str(number) for number in range(self.num_keypoints)]
        try:
            return read_keypoints(values, names, (0.0, 0.0), Counter())
        except KeypointFault as fault:
            _, detail, remedy = fault.args
            raise DataError(
                f"{self.where}: annotations[{row}]: {detail}; {remedy}, and score with the sigmas of the "
                "skeleton that was annotated"
            ) from None


def _check_ids(where: str, pose):
    missing = [n for n in RESULT_FIELDS if not isinstance(pose, dict) or pose.get(n) is None]
    missing += [n for n in RESULT_FIELDS[:2] if not missing and same_id(pose[n]) is None]
    if missing:
        raise DataError(f"{where}: no '{missing[0]}'; every pose needs {', '.join(RESULT_FIELDS)}")
