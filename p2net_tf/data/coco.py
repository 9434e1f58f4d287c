"""COCO keypoints: annotations and detector boxes in, results out. The one border to COCO's conventions.

COCO boxes (`bbox`) are xywh in continuous coordinates and are taken as they are. COCO keypoints name
pixels, counted from 0, so their centre in continuous coordinates lies 0.5 further: 0.5 is added on
reading and taken off when results are written. Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import (
    find_annotations,
    finite_numbers,
    load_json,
    whole_number,
    write_json,
)
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

PIXEL_CENTER = 0.5
"""Offset between a COCO keypoint (a pixel's index) and continuous coordinates (that pixel's centre)."""
PERSON_CATEGORY = 1
_DECIMALS = 3
"""Written digits behind the point: a thousandth of a pixel, as COCO's own tools write."""


def read_coco(
    root: str | Path,
    split: str,
    annotations: str | Path | None = None,
    detections: str | Path | None = None,
    skeleton: str | Path | Skeleton = "coco17",
    exif_orientation: bool = False,
) -> Samples:
    """Reads COCO keypoints, or a custom set of the same form with its own skeleton card.

    A sample is a person with `iscrowd` 0 and at least one labeled keypoint, as the field trains and
    evaluates. With `detections` a sample is a detected box instead, with its score and without keypoints.
    What should be a sample but cannot is left out and listed in `Samples.problems`.

    Args:
        root: holds `annotations/person_keypoints_<split>.json` and the images in `<split>/` (else in
            `images/<split>/`, `images/`, or `root` itself).
        split: e.g. `train2017`.
        annotations: annotation file, relative to `root` or to the working folder.
        detections: JSON list of `{image_id, category_id, bbox, score}`; found as `annotations` is.
        skeleton: card of the set, by name, path or itself.
        exif_orientation: the coordinates refer to the images as EXIF turns them (not so in COCO).

    Raises:
        DataError: a file is missing or not JSON of this form, or its keypoints are not the card's.
    """
    root = Path(root)
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    path = find_annotations(root, annotations, [f"annotations/person_keypoints_{split}.json"])
    data = _annotation_lists(load_json(path), path)
    table = _Table(str(path), card, _categories(data["categories"], card, path))
    table.read_images(data["images"], _image_folder(root, split))
    if detections is None:
        table.read_persons(data["annotations"])
    else:
        table.source = str(find_annotations(root, detections, []))
        table.read_detections(_as_list(load_json(table.source), table.source))
    table.list_nameless_images()
    return table.samples(exif_orientation)


def from_coco_keypoints(keypoints) -> np.ndarray:
    """`[..., K, 3]` COCO keypoints in continuous coordinates; all zero where not labeled."""
    keypoints = np.array(keypoints, np.float64)
    keypoints[..., :2] += PIXEL_CENTER
    return keypoints * (keypoints[..., 2:] > NOT_LABELED)


def to_coco_keypoints(keypoints) -> np.ndarray:
    """`[..., K, 3]` keypoints (x, y and visibility or score) in COCO's pixels; all-zero ones stay zero."""
    keypoints = np.array(keypoints, np.float64)
    given = np.any(keypoints != 0, axis=-1, keepdims=True)
    keypoints[..., :2] -= PIXEL_CENTER * given
    return keypoints


def write_results(
    path: str | Path,
    image_ids: Sequence[int],
    keypoints,
    scores: Sequence[float],
    boxes=None,
    category_id: int = PERSON_CATEGORY,
) -> None:
    """Writes predictions as a COCO result file, which pycocotools and the COCO server read.

    Args:
        path: JSON file; appears complete or not at all.
        image_ids: `[N]`.
        keypoints: `[N, K, 3]` x, y in continuous image coordinates and score.
        scores: `[N]` score of each pose.
        boxes: `[N, 4]` xywh, written as `bbox`; None leaves it out.
        category_id: 1 is COCO's person.

    Raises:
        ValueError: columns of different length, or a value that is not finite.
    """
    keypoints, scores = np.asarray(keypoints, np.float64), np.asarray(scores, np.float64)
    boxes = None if boxes is None else np.asarray(boxes, np.float64)
    for name, column in (("keypoints", keypoints), ("scores", scores), ("boxes", boxes)):
        if column is not None and len(column) != len(image_ids):
            raise ValueError(f"{path}: {len(column)} {name} for {len(image_ids)} image ids")
        if column is not None and not np.all(np.isfinite(column)):
            raise ValueError(f"{path}: {name} hold NaN or infinite values; results must be finite")
    rounded = np.round(to_coco_keypoints(keypoints), _DECIMALS)
    results = []
    for row, image_id in enumerate(image_ids):
        result = {"image_id": int(image_id), "category_id": category_id}
        result |= {"keypoints": rounded[row].reshape(-1).tolist(), "score": float(scores[row])}
        if boxes is not None:
            result["bbox"] = np.round(boxes[row], _DECIMALS).tolist()
        results.append(result)
    write_json(path, results)


def _image_folder(root: Path, split: str) -> Path:
    folders = (root / split, root / "images" / split, root / "images")
    return next((folder for folder in folders if folder.is_dir()), root)


def _annotation_lists(data: Any, path: Path) -> dict[str, list]:
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds a {type(data).__name__}, not an object with images and annotations")
    for name in ("images", "annotations"):
        if not isinstance(data.get(name), list):
            raise DataError(f"{path}: field '{name}' is missing or no list; is it a COCO annotation file?")
    return {**data, "categories": _as_list(data.get("categories", []), path)}


def _as_list(data: Any, path: str | Path) -> list:
    if not isinstance(data, list):
        raise DataError(f"{path}: holds a {type(data).__name__} where a list is expected")
    return data


def _categories(categories: list, card: Skeleton, path: Path) -> set[int]:
    """Ids of the categories that have keypoints, which must be the card's; COCO's person where none says."""
    posed = [c for c in categories if isinstance(c, dict) and isinstance(c.get("keypoints"), list)]
    wanted = [_plain(name) for name in card.keypoints]
    for category in posed:
        names = [_plain(name) for name in category["keypoints"]]
        if len(names) != len(wanted):
            raise DataError(
                f"{path}: category '{category.get('name')}' has {len(names)} keypoints, the card "
                f"'{card.name}' {len(wanted)}; give the card of this set as `skeleton`"
            )
        if names != wanted and sorted(names) == sorted(wanted):
            raise DataError(
                f"{path}: category '{category.get('name')}' lists the keypoints of '{card.name}' in another "
                "order; give a card in the order of the file"
            )
    return {category.get("id") for category in posed} or {PERSON_CATEGORY}


def _plain(name: Any) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


@dataclass
class _Table:
    """Collects the columns and problems of one annotation file."""

    source: str
    card: Skeleton
    categories: set[int]
    file_names: dict[int, str | None] = field(default_factory=dict)
    rows: list[tuple] = field(default_factory=list)
    """(path, box [4], keypoints [K, 3], area, id, image id, score) of each sample."""
    problems: list[Problem] = field(default_factory=list)
    nameless: Counter = field(default_factory=Counter)
    """Image id -> how many persons are lost because the entry has no file name."""

    def problem(self, kind, detail, remedy, sample_id=None, image_id=None, severity="error"):
        self.problems.append(Problem(severity, kind, self.source, detail, remedy, sample_id, image_id))

    def refuse(self, entry: dict, number: int, kind: str, detail: str, remedy: str):
        """Lists an annotation or detection as no sample."""
        self.problem(kind, detail, remedy, number, whole_number(entry.get("image_id")))

    def read_images(self, images: Iterable[Any], folder: Path):
        for entry in images:
            image_id = whole_number(entry.get("id")) if isinstance(entry, dict) else None
            if image_id is None:
                self.problem("image_entry", "an image entry has no whole-number id", "give every image an id")
            elif image_id in self.file_names:
                detail = "this image id stands twice; the first entry holds"
                self.problem("duplicate_image_id", detail, "make image ids unique", image_id=image_id)
            else:
                name = entry.get("file_name")
                named = isinstance(name, str) and name != ""
                self.file_names[image_id] = str(folder / name) if named else None

    def list_nameless_images(self):
        for image_id, name in self.file_names.items():
            if name is None:
                detail = f"image {image_id} has no file_name; {self.nameless[image_id]} person(s) left out"
                self.problem("image_without_file", detail, "add its file_name", image_id=image_id)

    def read_persons(self, annotations: list):
        if not annotations:
            detail = "the list 'annotations' is empty, so there is no sample"
            remedy = "check that this is the file of the keypoints"
            self.problem("no_annotations", detail, remedy, severity="warning")
        seen: set[int] = set()
        for entry in annotations:
            if not isinstance(entry, dict) or whole_number(entry.get("id")) is None:
                self.problem("annotation_id", "an annotation has no whole-number id", "give every one an id")
                continue
            number = whole_number(entry["id"])
            if number in seen:
                detail = f"annotation id {number} stands twice; the first one is used"
                self.refuse(entry, number, "duplicate_id", detail, "make annotation ids unique")
            elif self._is_posed_person(entry):
                self._read_person(entry, number)
            seen.add(number)

    def _is_posed_person(self, entry: dict) -> bool:
        """False for crowds, other categories and persons that COCO itself counts as without keypoints."""
        return self._is_person(entry) and not entry.get("iscrowd") and entry.get("num_keypoints") != 0

    def _is_person(self, entry: dict) -> bool:
        return whole_number(entry.get("category_id", PERSON_CATEGORY)) in self.categories

    def _read_person(self, entry: dict, number: int):
        path, box, keypoints = self._image_path(entry, number), self._box(entry, number), None
        if path is not None and box is not None:
            keypoints = self._keypoints(entry, number)
        if keypoints is None:
            return
        area = finite_numbers([entry.get("area")], 1)
        area = box[2] * box[3] if area is None else area[0]
        self.rows.append((path, box, keypoints, area, number, whole_number(entry["image_id"]), 1.0))

    def _keypoints(self, entry: dict, number: int) -> np.ndarray | None:
        """`[K, 3]` in continuous coordinates; None where they are no sample's."""
        values, count = entry.get("keypoints"), 3 * self.card.num_keypoints
        numbers = finite_numbers(values, count)
        if not values:
            fault = "no_keypoints", "'keypoints' is missing or empty", "label it or set num_keypoints to 0"
        elif not isinstance(values, list) or len(values) != count:
            found = len(values) if isinstance(values, list) else type(values).__name__
            fault = "keypoint_count", f"'keypoints' holds {found}, not {count} values", "give x, y, v of each"
        elif numbers is None:
            fault = "keypoint_not_finite", "'keypoints' holds NaN, infinity or text", "correct the values"
        elif not np.all(np.isin(numbers[2::3], (0, 1, 2))):
            fault = "visibility", "a visibility flag is not 0, 1 or 2", "write 0, 1 or 2 as every third value"
        elif np.any(numbers[2::3]):
            return from_coco_keypoints(numbers.reshape(-1, 3))
        elif entry.get("num_keypoints") is None:
            return None
        else:
            fault = "no_keypoints", "every visibility flag is 0", "label it or set num_keypoints to 0"
        self.refuse(entry, number, *fault)
        return None

    def read_detections(self, detections: list):
        for number, entry in enumerate(detections, 1):
            if not isinstance(entry, dict):
                self.problem("detection", "an entry is no object", "give image_id, bbox and score", number)
            elif self._is_person(entry):
                self._read_detection(entry, number)

    def _read_detection(self, entry: dict, number: int):
        path, box = self._image_path(entry, number), self._box(entry, number)
        score = finite_numbers([entry.get("score")], 1)
        if score is None:
            self.refuse(entry, number, "score", "'score' is missing or not finite", "give a score")
        if path is None or box is None or score is None:
            return
        keypoints = np.zeros((self.card.num_keypoints, 3))
        image_id = whole_number(entry["image_id"])
        self.rows.append((path, box, keypoints, box[2] * box[3], number, image_id, score[0]))

    def _image_path(self, entry: dict, number: int) -> str | None:
        image_id = whole_number(entry.get("image_id"))
        if image_id is None or image_id not in self.file_names:
            detail = f"image id {entry.get('image_id')} is not in the annotation file"
            self.refuse(entry, number, "unknown_image_id", detail, "add the image or remove the annotation")
            return None
        if self.file_names[image_id] is None:
            self.nameless[image_id] += 1
        return self.file_names[image_id]

    def _box(self, entry: dict, number: int) -> np.ndarray | None:
        box = finite_numbers(entry.get("bbox"), 4)
        if box is not None and box[2] > 0 and box[3] > 0:
            return box
        detail = "has no bbox of 4 finite numbers" if box is None else f"bbox {box.tolist()} has no area"
        self.refuse(entry, number, "box_empty", detail, "give x, y, width and height")
        return None

    def samples(self, exif_orientation: bool) -> Samples:
        return Samples(
            self.card,
            *(list(zip(*self.rows, strict=True)) or [()] * 7),
            exif_orientation=exif_orientation,
            source=self.source,
            problems=tuple(self.problems),
        )
