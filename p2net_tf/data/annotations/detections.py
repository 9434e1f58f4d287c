"""Detected boxes `{image_id, category_id, bbox, score}` of the images of an annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from p2net_tf.data.annotations.box_entries import (
    BoxFault,
    find_people,
    has_scores,
    own_file_names,
    read_box_list,
    read_values,
    refuse_identity,
    score_form_fault,
)
from p2net_tf.data.annotations.document import Document
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.values import key
from p2net_tf.data.box_layout import Remedies, agreement_problems


@dataclass(frozen=True)
class Detection:
    """A detected box: its place in the file from 1 on, `[4]` xywh and score."""

    number: int
    image: Image
    box: np.ndarray
    score: float


def read_detections(path: Path, document: Document, notebook: Notebook) -> list[Detection]:
    """The people that were detected on the images of `document`.

    Raises:
        DataError: the file holds no list of detections, or none of several categories is known to be people.
    """
    return _Detections(path, document, notebook).read()


@dataclass
class _Detections:
    """Reads one file."""

    path: Path
    document: Document
    notebook: Notebook
    others: list[Detection] = field(default_factory=list)
    """Of things that are no people."""

    def read(self) -> list[Detection]:
        entries, around = read_box_list(self.path)
        if not entries:
            self.notebook.warning(
                "no_detections", "the list of boxes is empty", "check that this is the file"
            )
        reading = self.document.reading
        self.people = find_people(
            entries,
            around.get("categories"),
            self.notebook,
            set(self.document.categories.read),
            reading.category,
        )
        self.scored = has_scores(entries)
        if entries and not self.scored:
            self.notebook.note("score", "no detection has a score: 1 is taken for all")
        self.images = _Pictures(self.document, around.get("images"), self.notebook)
        self.form = reading.detection_boxes or "xywh"
        wanted = reading.of_detections.coordinates
        same = wanted == reading.coordinates
        self.scales = self.document.scales if same else self.document.scales_of(wanted)
        found = [self._read(entry, place) for place, entry in enumerate(entries, 1)]
        found = [detection for detection in found if detection is not None]
        fault = score_form_fault([detection.score for detection in found])
        if fault is not None:
            self.notebook.error("scores", *fault)
        found = [detection for detection in found if fault is not None or self._is_likely(detection)]
        self._compare_with_truth(found)
        return found

    def _read(self, entry, place: int) -> Detection | None:
        if not isinstance(entry, dict):
            self.notebook.error("detection", "an entry is no object", "give image_id, bbox and score", place)
            return None
        if not self.people.has(entry):
            self._read_other(entry, place)
            return None
        try:
            refuse_identity(entry)
        except BoxFault as fault:
            self.notebook.error(*fault.args, place)
            return None
        image = self.images.of(entry)
        if image is None:
            detail = f"{self.images.name(entry)} is not in the annotation file"
            self.notebook.error("unknown_image_id", detail, "add the image or remove the detection", place)
            return None
        try:
            box, score = read_values(entry.get("bbox"), entry.get("score") if self.scored else 1.0, self.form)
        except BoxFault as fault:
            self.notebook.error(*fault.args, place, image.number)
            return None
        if image.path is None:
            return None
        factors = self.scales.factors(image)
        if factors is None:
            detail = f"image {image.given} declares no width and height, which coordinates: declared needs"
            remedy = "give the image entry width and height"
            self.notebook.error("declared_size", detail, remedy, place, image.number)
            return None
        return Detection(place, image, box * np.tile(factors, 2), score)

    def _read_other(self, entry: dict, place: int) -> None:
        """A box of something else, to see whether it lies on people."""
        image = self.images.of(entry)
        factors = None if image is None else self.scales.factors(image)
        try:
            box, _ = read_values(entry.get("bbox"), 1.0, self.form)
        except BoxFault:
            return
        if factors is not None:
            self.others.append(Detection(place, image, box * np.tile(factors, 2), 1.0))

    def _is_likely(self, detection: Detection) -> bool:
        if detection.score < 0:
            detail = f"score is {detection.score:g}, no probability"
            self.notebook.error(
                "score", detail, "write it from 0 to 1", detection.number, detection.image.number
            )
        return detection.score >= 0

    def _compare_with_truth(self, found: Sequence[Detection]) -> None:
        people = [person for person in self.document.people() if not person.crowd and person.box[2] > 0]
        reading = self.document.reading.of_detections
        self.notebook.problems += agreement_problems(
            _columns(found),
            _columns(people),
            str(self.path),
            Remedies(read=self.form, settled=reading.settled),
            _columns(self.others),
        )


class _Pictures:
    """Which image of the annotation file a detection is of."""

    def __init__(self, document: Document, listed, notebook: Notebook):
        self._images = document.images
        names = own_file_names(listed)
        # Ids may be counted anew; a list that names no picture of this set says nothing about it.
        known = any(self._images.find_file(name) is not None for name in names.values())
        self._names = names if known else {}
        if any(self._other(found, name) for found, name in self._names.items()):
            notebook.note(
                "image_id", "image ids are those of the file's own list 'images', found by file name"
            )

    def of(self, entry: dict) -> Image | None:
        """By its file's name, or the one that the file's own `images` have for its id; else by its id."""
        own = self._names.get(key(entry.get("image_id")))
        if own is not None:
            return self._images.find_file(own)
        given = entry.get("image_id")
        named = self._images.find_file(entry.get("file_name"))
        return named or self._images.find(given) or self._images.find_file(given)

    def _other(self, found: str, name: str) -> bool:
        """Whether an id means another picture here than in the annotation file."""
        return self._images.find_file(name) is not self._images.find(found)

    def name(self, entry: dict) -> str:
        """For messages."""
        given = entry.get("image_id")
        own = self._names.get(key(given), entry.get("file_name") if given is None else None)
        return f"image id {given}" if own is None else f"picture '{own}'"


def _columns(rows: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """`[N, 4]` boxes and `[N]` pictures of detections or people."""
    boxes = np.asarray([row.box for row in rows], np.float64).reshape(-1, 4)
    return boxes, np.asarray([row.image.number for row in rows], np.int64)
