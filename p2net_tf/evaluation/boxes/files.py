"""COCO ground truth and results of boxes, checked, and reduced to the fields that pycocotools reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotations.areas import person_area
from p2net_tf.data.annotations.boxes import box_of_segments, read_box
from p2net_tf.data.annotations.images import file_aliases
from p2net_tf.data.annotations.values import is_set, number, numbers, same_id
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.coco_files import Truth, result_list

RESULT_FIELDS = ("image_id", "category_id", "bbox", "score")


class BoxTruth(Truth):
    """COCO ground truth of boxes, whatever else it holds."""

    def demand_kind(self, entries: list[dict]) -> None:
        if entries and not any("bbox" in entry or "segmentation" in entry for entry in entries):
            raise DataError(f"{self.where}: no annotation has 'bbox'; give COCO ground truth of boxes")

    def values(self, row: int, entry: dict) -> dict:
        box = read_box(entry.get("bbox"))
        if box is None:
            box = box_of_segments(entry.get("segmentation"))
        if box is None:
            box = _flat_box(entry)
        if box is None:
            raise DataError(
                f"{self.where}: annotations[{row}]: bbox {entry.get('bbox')!r:.60} is no box with an area; "
                "give x, y, width and height, or remove the annotation"
            )
        # The area of the whole box, where none is given: that of a detection is no other.
        return {"area": person_area(entry, box, area_of_box=None)[0], "bbox": box.tolist()}

    @property
    def class_names(self) -> dict[str, str]:
        """Names by the ids of the categories, as text; ids where they have none."""
        listed = self.content.get("categories") or []
        return {
            str(same_id(entry.get("id"))): str(entry.get("name") or entry.get("id"))
            for entry in listed
            if isinstance(entry, dict)
        }

    @property
    def image_ids_by_file(self) -> dict[str, int | str]:
        """Ids by the names of files, with and without folders and suffix, as far as they are unique."""
        found: dict[str, Any] = {}
        for image in self.content["images"]:
            name = image.get("file_name")
            for alias in file_aliases(name) if isinstance(name, str) else ():
                found[alias] = None if alias in found else same_id(image["id"])
        return {alias: given for alias, given in found.items() if given is not None}


def _flat_box(entry: dict) -> np.ndarray | None:
    """One without an area, which COCO's own files have a few of: it counts, and nothing matches it."""
    if entry.get("bbox") is None and is_set(entry.get("iscrowd")):
        return np.zeros(4)
    box = numbers(entry.get("bbox"), 4)
    return box if box is not None and np.all(box[2:] >= 0) else None


def read_box_results(source: list | dict | str | Path, truth: BoxTruth, dataset: dict) -> list[dict]:
    """A slim copy of a COCO result list of boxes, in its order.

    Without `category_id` a box is of the only category of the truth, and a name stands for its id; without
    `image_id` it is on the picture of its `file_name`.

    Args:
        dataset: the slim copy of `truth`.

    Raises:
        DataError: a field is missing or has another form; names it and the remedy.
    """
    where, content = result_list(source, RESULT_FIELDS)
    reader = _ResultReader(where, truth, dataset)
    return [reader.read(row, entry) for row, entry in enumerate(content)]


class _ResultReader:
    def __init__(self, where: str, truth: BoxTruth, dataset: dict):
        self._where = where
        known = [category["id"] for category in dataset["categories"]]
        self._only = known[0] if len(known) == 1 else None
        self._ids = {name.casefold(): same_id(given) for given, name in truth.class_names.items()}
        self._by_file = truth.image_ids_by_file

    def read(self, row: int, entry: Any) -> dict:
        if not isinstance(entry, dict):
            raise self._fault(row, f"is {entry!r:.40}", f"give an object with {', '.join(RESULT_FIELDS)}")
        box, score = numbers(entry.get("bbox"), 4), number(entry.get("score"))
        if box is None:
            given = entry.get("bbox")
            raise self._fault(row, f"bbox is {given!r:.60}", "give x, y, width and height, finite numbers")
        if score is None:
            given = entry.get("score")
            raise self._fault(row, f"the score is {given!r:.40}", "boxes are ranked by it, so give a number")
        return {
            "image_id": self._image(row, entry),
            "category_id": self._category(row, entry),
            "bbox": box.tolist(),
            "score": score,
        }

    def _image(self, row: int, entry: dict) -> int | str:
        found = same_id(entry.get("image_id"))
        if found is None and isinstance(entry.get("file_name"), str):
            found = next(filter(None, map(self._by_file.get, file_aliases(entry["file_name"]))), None)
        if found is None:
            raise self._fault(row, "no 'image_id'", f"every box needs {', '.join(RESULT_FIELDS)}")
        return found

    def _category(self, row: int, entry: dict) -> int | str:
        found = same_id(entry.get("category_id"))
        if found is None:
            found = self._only
        if found is None:
            raise self._fault(row, "no 'category_id'", f"every box needs {', '.join(RESULT_FIELDS)}")
        return self._ids.get(str(found).casefold(), found)

    def _fault(self, row: int, detail: str, remedy: str) -> DataError:
        return DataError(f"{self._where}: [{row}]: {detail}; {remedy}")
