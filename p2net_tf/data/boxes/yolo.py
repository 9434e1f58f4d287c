"""YOLO's text labels: a file for each picture, a line `class cx cy w h` for each box, as parts of its sides.

Format: https://docs.ultralytics.com/datasets/detect. An empty file of labels is a picture without objects,
and so is a picture without such a file; polygons and poses are read as their boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotations.boxes import as_xywh
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.reading import USUAL, BoxForm, Reading
from p2net_tf.data.boxes.classes import Listed
from p2net_tf.data.boxes.labels import Label, LabelFormat, refuse, scenes_of_labels
from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.boxes.yolo_files import YoloSet, find_yolo_set
from p2net_tf.data.boxes.yolo_lines import LineFault, parse_line, read_lines
from p2net_tf.data.label_fit import in_thousandths, reach_of_boxes
from p2net_tf.data.scenes import Scenes
from p2net_tf.utils.paths import as_path

_FORMAT = LabelFormat("cxcywh", "normalized")
_FRACTION, _PERCENT = 1.6, 101.0
"""No number of a set of fractions, and of percents, is larger."""
_NO_BOX = np.full(4, np.nan)


def read_yolo_scenes(
    root: str | Path,
    split: str = "train",
    annotations: str | Path | None = None,
    classes: Sequence[str] = (PERSON,),
    exif_orientation: bool = False,
    reading: Reading = USUAL,
) -> Scenes:
    """Reads the boxes of a YOLO set.

    Args:
        root: folder with `data.yaml`, or with `images/` and `labels/`; or the YAML file.
        split: key of the YAML file, or folder: `images/<split>`, `<split>/images`, `<split>`. `val` and
            `valid` are one.
        annotations: the YAML file, where it lies elsewhere.
        classes: names; empty for all that the set has.
        exif_orientation: the numbers refer to the images as EXIF turns them.
        reading: how to read what files of this form do not agree on.

    Raises:
        DataError: no pictures or no labels there, or none of the classes.
    """
    found = find_yolo_set(as_path(root, "root"), split, annotations)
    notebook = Notebook(found.source)
    images = _images(found)
    form = reading.boxes or _FORMAT.form
    labels = _labels(found, images, form, notebook)
    if reading.coordinates is None:
        _demand_fractions(labels, form, notebook)
    _note_files(found, notebook)
    listed = {known: Listed(_class_id(known), name) for known, name in found.names.items()}
    return scenes_of_labels(images, labels, listed, classes, _FORMAT, reading, exif_orientation, notebook)


def _class_id(known: str) -> int | str:
    return int(known) if known.isdecimal() else known


def _images(found: YoloSet) -> list[Image]:
    """By the names of their files; by their paths where names are not unique."""
    stems = [picture.stem for picture in found.pictures]
    given = stems if len(set(stems)) == len(stems) else [str(picture) for picture in found.pictures]
    return [
        Image(number, name, None, str(picture), (0.0, 0.0))
        for number, (name, picture) in enumerate(zip(given, found.pictures, strict=True), 1)
    ]


def _labels(found: YoloSet, images: list[Image], form: BoxForm, notebook: Notebook) -> list[Label]:
    labels: list[Label] = []
    known_names = {name.casefold(): known for known, name in found.names.items()}
    number = 0
    for image, path in zip(images, found.labels, strict=True):
        for place, text in _lines(image, path, notebook):
            number += 1
            label = Label(image, str(path), f"line {place}", number, None, _NO_BOX)
            try:
                line = parse_line(text, place, form, found.keypoints, notebook.rules)
            except LineFault as fault:
                refuse(label, "label_line", *fault.args, notebook)
                continue
            kind = known_names.get(line.kind.casefold(), line.kind)
            if found.names and kind not in found.names:
                detail = f"line {place}: class {line.kind} is none of {len(found.names)} names"
                refuse(label, "unknown_class", detail, "correct it, or add its name", notebook)
                continue
            labels.append(Label(image, str(path), f"line {place}", number, kind, line.box))
    return labels


def _lines(image: Image, path: Path | None, notebook: Notebook) -> list[tuple[int, str]]:
    if path is None:
        return []
    try:
        return read_lines(path)
    except LineFault as fault:
        # With a number, so that its picture does not count as one without objects.
        notebook.error("annotation_file", *fault.args, 0, image.number, str(path))
        return []


def _demand_fractions(labels: list[Label], form: BoxForm, notebook: Notebook) -> None:
    """An error of the whole set where most numbers are pixels or percents."""
    reach = np.asarray([np.abs(label.box).max() for label in labels])
    reach = reach[np.isfinite(reach)]
    if not len(reach) or np.mean(reach > _FRACTION) < 0.5:
        return
    unit = "percent" if reach.max() <= _PERCENT else "pixels"
    detail = f"numbers of boxes reach {reach.max():.4g}, which are no fractions of the pictures"
    remedy = f"set coordinates: {unit} for this data set"
    boxes = as_xywh(np.asarray([label.box for label in labels]), form)
    ends = reach_of_boxes(boxes[np.isfinite(boxes).all(axis=1)])
    if ends.size and in_thousandths(ends.max()):
        remedy = "set coordinates: thousandths for this data set, or coordinates: pixels if that is right"
    notebook.error("coordinates", detail, remedy)


def _note_files(found: YoloSet, notebook: Notebook) -> None:
    missing = [picture for picture, label in zip(found.pictures, found.labels, strict=True) if label is None]
    if missing:
        detail = (
            f"{len(missing)} of {len(found.pictures)} pictures have no file of labels, e.g. "
            f"{missing[0].name}: taken as pictures without objects"
        )
        notebook.warning("label_file_missing", detail, "label them, or make empty files")
    if found.lost:
        names = ", ".join(f"'{name:.80}'" for name in found.lost)
        detail = f"names {names}, which is not there; {len(found.pictures)} pictures were found without it"
        notebook.warning("folder_missing", detail, "correct it in the YAML file")
    if found.strays:
        detail = f"{len(found.strays)} files of labels have no picture, e.g. {found.strays[0].name}"
        notebook.warning("picture_of_labels_missing", detail, "bring the pictures there")
