"""Person boxes that come with pictures: from the command line, or from a file of detections or people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from p2net_tf.data.annotations.box_entries import (
    FORM,
    OTHERS,
    BoxFault,
    find_people,
    has_scores,
    read_box_list,
    read_values,
    refuse_identity,
    score_form_fault,
    short,
)
from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.values import key
from p2net_tf.data.annotations.values import number as value_of
from p2net_tf.data.box_layout import COORDINATES, Remedies, box_layout_problems, meet_pictures
from p2net_tf.data.samples import DataError, Problem


@dataclass(frozen=True)
class PictureBoxes:
    """N boxes of n pictures.

    Attributes:
        owners: `[N]` index of the picture of each.
        windows: `[N, 4]` float32 xywh in pixels.
        scores: `[N]` float32; 1 where none is given.
        image_ids: n ids of the pictures, those of the file where it has them, else counted from 1.
        category_id: of persons, in the file.
        detected: whether they come with scores of a detector.
        problems: entries that are no box, and were set aside.
        others: boxes of other pictures, or of other things than persons.
        notes: what is to be said of the file, once.
    """

    owners: np.ndarray
    windows: np.ndarray
    scores: np.ndarray
    image_ids: tuple[Any, ...]
    category_id: Any = PERSON
    detected: bool = False
    problems: tuple[Problem, ...] = ()
    others: int = 0
    notes: tuple[Problem, ...] = ()


def read_boxes(
    boxes: str | None, images: Sequence[str], sizes: np.ndarray, strict: bool = False
) -> PictureBoxes:
    """Boxes for `images`.

    Args:
        boxes: None takes every image as one box; `x,y,w,h` is that box in every image; else a JSON file: a
            list of `{image_id or file_name, bbox, score}`, such a list in a dict, COCO annotations with their
            `images`, or `[[x, y, w, h], ...]` for one image.
        sizes: `[n, 2]` (width, height) of the images.
        strict: an entry that is no box is an error.

    Raises:
        DataError: they cannot be read, match no image, are of another form than x, y, width and height in
            pixels, or an entry is broken and `strict`.
    """
    if boxes is None:
        return _everywhere(np.concatenate([np.zeros_like(sizes), sizes], axis=1), range(len(images)))
    found = (
        _BoxFile(Path(boxes), images, sizes).read() if Path(boxes).is_file() else _same(boxes, images, sizes)
    )
    if strict and found.problems:
        raise DataError(str(found.problems[0]))
    return found


def _same(boxes: str, images: Sequence[str], sizes: np.ndarray) -> PictureBoxes:
    """One box in every image that it does not miss."""
    values = boxes.split(",")
    if None in [value_of(value) for value in values]:
        raise DataError(f"boxes '{boxes}': neither a file nor x,y,w,h")
    try:
        box, _ = read_values(values, 1.0)
    except BoxFault as fault:
        _, detail, _ = fault.args
        remedy = "give x,y,w,h with a width and height above 0, in pixels"
        raise DataError(f"boxes '{boxes}': {detail}; {remedy}") from None
    windows = np.tile(box, (len(images), 1))
    notes = box_layout_problems(windows, sizes, f"boxes '{boxes}'", Remedies(keys=False))
    if any(problem.kind == COORDINATES and problem.severity == "error" for problem in notes):
        raise DataError(str(notes[0]))
    seen = meet_pictures(windows, sizes)
    problems = [_missed(name, box) for name, inside in zip(images, seen, strict=True) if not inside]
    if not seen.any():
        raise DataError(f"boxes '{boxes}': lies outside of every picture; give pixels of the picture")
    found = _everywhere(windows[seen], np.flatnonzero(seen))
    # The user's own numbers are used as they are, whatever they look like.
    notes = [replace(problem, severity="warning") for problem in notes]
    ids = tuple(range(1, len(images) + 1))
    return replace(found, image_ids=ids, problems=tuple(problems), notes=tuple(notes))


def _missed(name: str, box: np.ndarray) -> Problem:
    detail = f"bbox {box.tolist()} lies outside its picture"
    return Problem("error", "box_outside", name, detail, "give pixels of the picture")


def _everywhere(windows: np.ndarray, owners: Sequence[int] | np.ndarray) -> PictureBoxes:
    """A box for each of `owners`."""
    count = len(windows)
    ids = tuple(range(1, count + 1))
    return PictureBoxes(np.asarray(owners), np.asarray(windows, np.float32), np.ones(count, np.float32), ids)


@dataclass
class _BoxFile:
    """Collects the boxes of one file."""

    path: Path
    images: Sequence[str]
    sizes: np.ndarray
    rows: list[tuple] = field(default_factory=list)
    """(owner, box [4], score, place in the file) of each."""
    others: int = 0
    category_id: Any = PERSON
    scored: bool = False

    def __post_init__(self):
        self.notebook = Notebook(str(self.path))

    def read(self) -> PictureBoxes:
        entries, document = read_box_list(self.path)
        if entries and all(isinstance(value, int | float) for value in entries):
            entries = [entries]  # one box
        if entries and all(isinstance(entry, list) for entry in entries):
            ids: dict[int, Any] = {}
            self._read_bare(entries)
        else:
            ids = self._read_entries(entries, document)
        self._check_form()
        if not self.rows:
            raise DataError(self._nothing(len(entries)))
        owners, windows, scores, _ = zip(*self.rows, strict=True)
        problems = self.notebook.problems
        return PictureBoxes(
            np.asarray(owners),
            np.asarray(windows, np.float32),
            np.asarray(scores, np.float32),
            tuple(ids.get(number, number + 1) for number in range(len(self.images))),
            self.category_id,
            self.scored,
            tuple(problem for problem in problems if problem.severity == "error"),
            self.others,
            tuple(problem for problem in problems if problem.severity != "error"),
        )

    def _read_bare(self, entries: list[list]) -> None:
        if len(self.images) != 1:
            raise DataError(
                f"{self.path}: a list of boxes is for one picture, {len(self.images)} are given; {FORM}"
            )
        for number, entry in enumerate(entries, 1):
            self._add(0, entry, {}, number)

    def _read_entries(self, entries: list, document: dict) -> dict[int, Any]:
        """Returns the ids of the images that are known in the file, by their index."""
        finder = _PictureFinder(self.images, document.get("images"))
        people = find_people(entries, document.get("categories"), self.notebook)
        self.scored = has_scores(entries)
        ids = dict(finder.listed)
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict):
                self._refuse(number, f"is {short(entry)}, no object", FORM)
                continue
            if entry.get("image_id") is None and entry.get("file_name") is None:
                self._refuse(number, "has neither image_id nor file_name", FORM)
                continue
            owner = finder.owner(entry)
            if isinstance(owner, str):
                self._refuse(number, owner, "give the pictures' folders in file_name, too")
            elif self._has_no_id(entry, number):
                continue
            elif owner is None or not people.has(entry):
                self.others += 1
            elif self._add(owner, entry.get("bbox"), entry, number):
                given = entry.get("image_id")
                ids.setdefault(owner, owner + 1 if given is None else given)
                category = entry.get("category_id")
                self.category_id = self.category_id if category is None else category
        return ids

    def _has_no_id(self, entry: dict, number: int) -> bool:
        try:
            refuse_identity(entry)
        except BoxFault as fault:
            self._refuse(number, *fault.args[1:])
            return True
        return False

    def _add(self, owner: int, values: Any, entry: dict, number: int) -> bool:
        try:
            box, score = read_values(values, entry.get("score") if self.scored else 1.0)
        except BoxFault as fault:
            self._refuse(number, *fault.args[1:])
            return False
        self.rows.append((owner, box, score, number))
        return True

    def _check_form(self) -> None:
        """Refuses boxes and scores of another form, and sets aside those that no picture shows."""
        if not self.rows:
            return
        owners, windows, scores, places = zip(*self.rows, strict=True)
        fault = score_form_fault(scores)
        if fault is not None:
            raise DataError(f"{self.path}: {'; '.join(fault)}")
        windows, sizes = np.asarray(windows), np.asarray(self.sizes)[list(owners)]
        layout = box_layout_problems(windows, sizes, str(self.path), Remedies(keys=False))
        if any(problem.severity == "error" for problem in layout):
            raise DataError(str(layout[0]))
        self.notebook.problems += layout
        kept = []
        for row, inside in zip(self.rows, meet_pictures(windows, sizes), strict=True):
            _, box, score, place = row
            if not inside:
                detail = f"bbox {box.tolist()} lies outside its picture"
                self._refuse(place, detail, "give pixels of the picture")
            elif score < 0:
                self._refuse(place, f"score is {score:g}, no probability", "write it from 0 to 1")
            else:
                kept.append(row)
        self.rows = kept

    def _refuse(self, number: int, detail: str, remedy: str) -> None:
        self.notebook.error("box_entry", f"entry {number}: {detail}", remedy)

    def _nothing(self, count: int) -> str:
        problems = self.notebook.problems
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            return f"{self.path}: no usable box of {count}; first: {errors[0]}"
        others = next((f"; {problem.detail}" for problem in problems if problem.kind == OTHERS), "")
        return (
            f"{self.path}: no box of {count} belongs to the given images{others}; entries need 'bbox' and "
            "'file_name', or an 'image_id' that is the number in the file's name or stands in 'images'"
        )


class _PictureFinder:
    """Which of the given images an entry means."""

    def __init__(self, images: Sequence[str], listed: Any):
        self._by_name: dict[str, list[int]] = {}
        self._tails = [_tail(name) for name in images]
        for index, tail in enumerate(self._tails):
            self._by_name.setdefault(tail[0], []).append(index)
        # COCO names its images after their ids: 000000000785.jpg is image 785.
        self._by_stem = {}
        for index, name in enumerate(images):
            stem = Path(name).stem
            for alias in (stem, Path(name).name, *([str(int(stem))] if stem.isdecimal() else [])):
                self._by_stem.setdefault(_key(alias), index)
        self._listed: dict[str, int | str | None] = {}
        self.listed: dict[int, Any] = {}
        """Ids of the images in the document's list, by their index."""
        for image in listed if isinstance(listed, list) else []:
            if isinstance(image, dict) and image.get("id") is not None:
                owner = self._named(image.get("file_name"))
                self._listed[_key(image["id"])] = owner
                if isinstance(owner, int):
                    self.listed[owner] = image["id"]

    def owner(self, entry: dict) -> int | str | None:
        """An index, None for another picture, or a sentence where it is not clear which one is meant."""
        if entry.get("file_name") is not None:
            return self._named(entry["file_name"])
        given = entry.get("image_id")
        known = _key(given)
        if known in self._listed:
            return self._listed[known]
        owner = self._by_stem.get(known)
        return self._named(given) if owner is None and isinstance(given, str) else owner

    def _named(self, name: Any) -> int | str | None:
        """The image whose path ends most like `name` does."""
        wanted = _tail(str(name)) if name is not None else [""]
        candidates = self._by_name.get(wanted[0], [])
        shared = [_shared(self._tails[index], wanted) for index in candidates]
        best = [index for index, count in zip(candidates, shared, strict=True) if count == max(shared)]
        if len(best) > 1:
            return f"{len(best)} of the given pictures are called {wanted[0]}"
        return best[0] if best else None


def _key(value: Any) -> str:
    """Ids of text and of numbers mean the same: "004" stays itself, 4, 4.0 and "4" are one."""
    return str(key(value)).lower()


def _tail(name: str) -> list[str]:
    """Parts of a path, of any system, from its end."""
    return list(PureWindowsPath(name).parts[::-1]) or [""]


def _shared(one: list[str], other: list[str]) -> int:
    pairs = list(zip(one, other, strict=False))
    return next((count for count, (a, b) in enumerate(pairs) if a != b), len(pairs))
