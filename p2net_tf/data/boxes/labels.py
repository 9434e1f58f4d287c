"""Boxes of formats with a file of labels for each picture, as `Scenes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from p2net_tf.data.annotations.boxes import as_xywh
from p2net_tf.data.annotations.coordinates import Scales
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.reading import BoxForm, Coordinates, Reading
from p2net_tf.data.boxes.classes import Listed, choose_classes
from p2net_tf.data.boxes.columns import Columns
from p2net_tf.data.coco import label_size
from p2net_tf.data.scenes import Scenes


@dataclass(frozen=True, slots=True)
class Label:
    """One box as its file has it.

    Attributes:
        file: where it stands.
        place: in that file, for messages: `object 2`, `line 7`.
        kind: key of its class; None where it names none.
        box: `[4]`, in the coordinates and the form of the format.
        fault: what is said of one that has not four numbers.
    """

    image: Image
    file: str
    place: str
    number: int
    kind: str | None
    box: np.ndarray
    crowd: bool = False
    fault: str = ""


@dataclass(frozen=True)
class LabelFormat:
    """What the numbers of a format are, where the user says nothing else."""

    form: BoxForm
    coordinates: Coordinates


def scenes_of_labels(
    images: Sequence[Image],
    labels: Sequence[Label],
    listed: Mapping[str, Listed],
    wanted: Sequence[str],
    usual: LabelFormat,
    reading: Reading,
    exif_orientation: bool,
    notebook: Notebook,
) -> Scenes:
    """The wanted classes of `labels`, in pixels.

    Args:
        images: each file once.
        listed: the classes of the set by their keys.
        wanted: names; empty for all.

    Raises:
        DataError: the set has none of the classes.
    """
    counts = Counter(label.kind for label in labels)
    classes = choose_classes(listed, counts, wanted, reading.category, notebook)
    read = replace(reading, coordinates=reading.coordinates or usual.coordinates)
    form = reading.boxes or usual.form
    scales = Scales(images, read.coordinates, exif_orientation)
    columns = Columns(images)
    for label in labels:
        row = classes.only if label.kind is None else classes.rows.get(label.kind)
        if not classes.know(label.kind):
            detail = f"{label.place}: names no class, and the set has several"
            refuse(label, "unknown_class", detail, "name its class", notebook)
        box = None if row is None else _pixels(label, form, scales, notebook)
        if box is not None:
            columns.add(label.image.number, box, row, label.crowd, float(box[2] * box[3]), label.number)
    notebook.note_rules(len(labels), "boxes")
    return columns.scenes(
        classes,
        label_sizes=[label_size(image.size, reading) for image in images],
        exif_orientation=exif_orientation,
        source=notebook.source,
        problems=notebook.problems,
        image_names={image.number: image.given for image in images},
        reading=reading,
        form=usual.form,
    )


def _pixels(label: Label, form: BoxForm, scales: Scales, notebook: Notebook) -> np.ndarray | None:
    """`[4]` xywh; None where it is none, which is then listed."""
    box = as_xywh(label.box, form)
    if not (np.all(np.isfinite(box)) and box[2] > 0 and box[3] > 0):
        said = label.fault or f"{[round(value, 4) for value in label.box.tolist()]} is no box with an area"
        detail = f"{label.place}: {said}"
        refuse(label, "box_empty", detail, "correct or remove it", notebook)
        return None
    factors = scales.factors(label.image)
    if factors is None:
        detail = f"{label.place}: the size of its picture is not declared, which coordinates: declared needs"
        refuse(label, "declared_size", detail, "take other coordinates", notebook)
        return None
    return box * np.tile(factors, 2)


def refuse(label: Label, kind: str, detail: str, remedy: str, notebook: Notebook) -> None:
    """Lists a label as broken."""
    notebook.error(kind, detail, remedy, label.number, label.image.number, label.file)
