"""Boxes of COCO-form annotation files: `instances`, `person_keypoints`, and what else is of that form.

Ids, categories, coordinates, forms of boxes and missing areas are read by the rules of
`p2net_tf.data.annotations`, as for keypoints. Here an annotation without keypoints counts, and so does a
picture without annotations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import find_annotations
from p2net_tf.data.annotations.annotation_file import AnnotationFile, EntryReader
from p2net_tf.data.annotations.boxes import as_xywh, box_of_keypoints, box_of_segments, read_box
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.keypoint_values import KeypointFault, read_keypoints
from p2net_tf.data.annotations.reading import USUAL, Reading
from p2net_tf.data.annotations.values import are_plain, as_list, bulk_numbers, is_set, key
from p2net_tf.data.boxes.classes import Classes, Listed, choose_classes
from p2net_tf.data.boxes.columns import Columns
from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.coco import image_folder, label_size
from p2net_tf.data.samples import DataError
from p2net_tf.data.scenes import Scenes
from p2net_tf.utils.paths import as_path

_USUAL_FILES = (
    "annotations/instances_{split}.json",
    "annotations/person_keypoints_{split}.json",
    "annotations/{split}.json",
    "{split}/_annotations.coco.json",
)
"""The last is Roboflow's."""


def read_coco_scenes(
    root: str | Path,
    split: str,
    annotations: str | Path | None = None,
    classes: Sequence[str] = (PERSON,),
    exif_orientation: bool = False,
    reading: Reading = USUAL,
) -> Scenes:
    """Reads the boxes of a COCO-form file.

    Args:
        root: holds the annotation file and the images in `<split>/` (else in `images/<split>/`, `images/`,
            or `root` itself).
        split: e.g. `train2017`.
        annotations: annotation file, relative to `root` or to the working folder. None: the usual ones, else
            the only `*_<split>.json` there.
        classes: names; empty for all that the file lists.
        exif_orientation: the coordinates refer to the images as EXIF turns them (not so in COCO).
        reading: how to read what files of this form do not agree on.

    Raises:
        DataError: a file is missing or not JSON of this form, or has none of the classes.
    """
    root = as_path(root, "root")
    path = find_box_annotations(root, split, annotations)
    folder = path.parent if path.name == "_annotations.coco.json" else image_folder(root, split)
    file = _BoxFile(path, root, folder, classes, reading, exif_orientation)
    return _BoxReader(file).read(exif_orientation)


def find_box_annotations(root: Path, split: str, annotations: str | Path | None = None) -> Path:
    """The annotation file.

    Raises:
        DataError: there is none, or it is not clear which one.
    """
    if annotations is None:
        likely = likely_annotations(root, split)
        if len(likely) > 1:
            names = " or ".join(map(str, likely[:2]))
            raise DataError(f"{root}: {names}? name the file in `annotations`")
        if likely:
            return likely[0]
    return find_annotations(root, annotations, [name.format(split=split) for name in _USUAL_FILES])


def likely_annotations(root: Path, split: str) -> list[Path]:
    """The first of the usual files, else all whose names end in the split."""
    usual = [root / name.format(split=split) for name in _USUAL_FILES]
    there = [path for path in usual if path.is_file()]
    return there[:1] or sorted(
        path
        for folder in (root / "annotations", root)
        for path in folder.glob("*.json")
        if path.stem == split or path.stem.endswith(f"_{split}")
    )


class _BoxFile(AnnotationFile):
    """An annotation file of which boxes are read."""

    categories: Classes

    def __init__(self, path, root, folder, classes: Sequence[str], reading, exif_orientation: bool):
        self.classes = classes
        super().__init__(path, root, folder, reading, exif_orientation)

    def choose_categories(self, listed: list) -> Classes:
        entries = {
            key(entry["id"]): Listed(
                entry["id"],
                str(entry.get("name")),
                str(entry.get("supercategory")),
                bool(entry.get("keypoints")),
            )
            for entry in listed
            if isinstance(entry, dict) and key(entry.get("id")) is not None
        }
        given = [entry.get("category_id") for entry in self.annotations if isinstance(entry, dict)]
        counts = Counter(key(value) for value in given if value is None or key(value) is not None)
        return choose_classes(entries, counts, self.classes, self.reading.category, self.notebook)


class _BoxReader(EntryReader):
    """Reads the annotations of a file into columns."""

    FIELDS = "image_id and bbox"
    ITEMS = "box(es)"
    WHOLE_AREAS = True

    def read(self, exif_orientation: bool) -> Scenes:
        images = self._images()
        columns = Columns(images)
        rows = [found for found in self.rows() if found[2].number in columns.pictures]
        for found, box in zip(rows, self._usual_boxes([entry for entry, *_ in rows]), strict=True):
            self._add(columns, *found, box)
        self.name_images()
        self.notebook.note_rules(len(columns), "boxes")
        file = self.file
        reading = file.reading
        return columns.scenes(
            file.categories,
            label_sizes=[label_size(image.size, reading) for image in images],
            exif_orientation=exif_orientation,
            source=self.notebook.source,
            problems=self.notebook.problems,
            image_names=file.images.renamed,
            reading=reading,
        )

    def leave_out(self, entry: dict, number_: int) -> None:
        given = entry.get("category_id")
        if not self.file.categories.know(given):
            detail = (
                "it has no category_id, and there are several categories"
                if given is None
                else f"category_id {given!r:.40} is not in the list 'categories'"
            )
            self.refuse(entry, number_, "unknown_class", detail, "correct it, or add its category")

    def _images(self) -> list[Image]:
        """Those with a file, each file once."""
        images, seen = [], {}
        for image in self.file.images.images:
            if image.path is None:
                continue
            if image.path in seen:
                first = seen[image.path]
                detail = f"image {image.given} is the file of image {first}; its annotations are left out"
                self.notebook.error(
                    "duplicate_image", detail, "list every picture once", image_id=image.number
                )
            else:
                seen[image.path] = image.given
                images.append(image)
        return images

    def _usual_boxes(self, entries: Sequence[dict]) -> list[np.ndarray | None]:
        """`[4]` xywh of those whose `bbox` is as it should be, in the file's coordinates; None of others."""
        found: list[np.ndarray | None] = [None] * len(entries)
        plain = [place for place, entry in enumerate(entries) if are_plain(entry.get("bbox"), 4)]
        values = bulk_numbers([entries[place]["bbox"] for place in plain])
        if values is None or not len(plain):
            return found
        boxes = as_xywh(values, self.file.reading.boxes or "xywh")
        usual = np.isfinite(boxes).all(axis=1) & np.all(boxes[:, 2:] > 0, axis=1)
        for place, box, good in zip(plain, boxes, usual.tolist(), strict=True):
            if good:
                found[place] = box
        return found

    def _add(
        self, columns: Columns, entry: dict, number_: int, image: Image, row: int, box: np.ndarray | None
    ) -> None:
        factors = self.factors(entry, number_, image)
        if factors is None:
            return
        crowd = is_set(entry.get("iscrowd"))
        box = self._odd_box(entry) if box is None else box
        if box is None:
            detail = f"bbox {entry.get('bbox')!r:.60} is no box with an area"
            self.refuse(entry, number_, "box_empty", detail, "give x, y, width and height")
            return
        if not self.scales.pixels:
            box = box * np.tile(factors, 2)
        area = self.area(entry, box, crowd, float(factors[0] * factors[1]))
        columns.add(image.number, box, row, crowd, area, number_)

    def _odd_box(self, entry: dict) -> np.ndarray | None:
        """`[4]` in the file's coordinates: `bbox`, else around the segment, else around the keypoints."""
        box = read_box(entry.get("bbox"), self.file.reading.boxes or "xywh")
        if box is not None:
            return box
        box = box_of_segments(entry.get("segmentation"))
        if box is not None:
            self.rules["no bbox with an area: that of the segmentation"] += 1
            return box
        box = self._box_of_keypoints(entry)
        if box is not None:
            self.rules["no bbox with an area: one around the keypoints, with a margin of 0.1"] += 1
        return box

    def _box_of_keypoints(self, entry: dict) -> np.ndarray | None:
        values = as_list(entry.get("keypoints"))
        if not isinstance(values, list) or not values or len(values) % 3:
            return None
        names = [str(place) for place in range(len(values) // 3)]
        try:
            keypoints = read_keypoints(values, names, (0.0, 0.0), Counter())
        except KeypointFault:
            return None
        return box_of_keypoints(keypoints, self.file.reading.point_box)
