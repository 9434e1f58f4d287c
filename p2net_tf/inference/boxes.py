"""Person boxes that come with pictures: from the command line, or from a file of detections or people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import entries_of, load_json
from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.annotations.values import is_set, key, numbers
from p2net_tf.data.annotations.values import number as value_of
from p2net_tf.data.samples import DataError, Problem

_FORM = "give objects with 'bbox' [x, y, w, h] and 'image_id' or 'file_name'"


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
    """

    owners: np.ndarray
    windows: np.ndarray
    scores: np.ndarray
    image_ids: tuple[Any, ...]
    category_id: Any = PERSON
    detected: bool = False
    problems: tuple[Problem, ...] = ()
    others: int = 0


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
        DataError: they cannot be read, match no image, or an entry is broken and `strict`.
    """
    if boxes is None:
        return _everywhere(np.concatenate([np.zeros_like(sizes), sizes], axis=1))
    if Path(boxes).is_file():
        found = _BoxFile(Path(boxes), images).read()
        if strict and found.problems:
            raise DataError(str(found.problems[0]))
        return found
    try:
        box = np.array([float(value) for value in boxes.split(",")])
    except ValueError:
        raise DataError(f"boxes '{boxes}': neither a file nor x,y,w,h") from None
    if box.shape != (4,) or not np.all(np.isfinite(box)) or np.any(box[2:] <= 0):
        raise DataError(f"boxes '{boxes}': give x,y,w,h with a width and height above 0, in pixels")
    return _everywhere(np.tile(box, (len(images), 1)))


def _everywhere(windows: np.ndarray) -> PictureBoxes:
    """A box an image."""
    count = len(windows)
    ids = tuple(range(1, count + 1))
    return PictureBoxes(np.arange(count), np.asarray(windows, np.float32), np.ones(count, np.float32), ids)


@dataclass
class _BoxFile:
    """Collects the boxes of one file."""

    path: Path
    images: Sequence[str]
    rows: list[tuple] = field(default_factory=list)
    """(owner, box [4], score) of each."""
    problems: list[Problem] = field(default_factory=list)
    others: int = 0
    category_id: Any = PERSON
    detected: bool = False

    def read(self) -> PictureBoxes:
        entries, document = _entries(load_json(self.path), self.path)
        if entries and all(isinstance(entry, list) for entry in entries):
            ids: dict[int, Any] = {}
            self._read_bare(entries)
        else:
            ids = self._read_entries(entries, document)
        if not self.rows:
            raise DataError(self._nothing(len(entries)))
        owners, windows, scores = zip(*self.rows, strict=True)
        return PictureBoxes(
            np.asarray(owners),
            np.asarray(windows, np.float32),
            np.asarray(scores, np.float32),
            tuple(ids.get(number, number + 1) for number in range(len(self.images))),
            self.category_id,
            self.detected,
            tuple(self.problems),
            self.others,
        )

    def _read_bare(self, entries: list[list]) -> None:
        if len(self.images) != 1:
            raise DataError(
                f"{self.path}: a list of boxes is for one picture, {len(self.images)} are given; {_FORM}"
            )
        for number, entry in enumerate(entries, 1):
            self._add(0, entry, {}, number)

    def _read_entries(self, entries: list, document: dict) -> dict[int, Any]:
        """Returns the ids of the images that are known in the file, by their index."""
        finder = _PictureFinder(self.images, document.get("images"))
        people = _person_categories(entries, document.get("categories"))
        ids = dict(finder.listed)
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict):
                self._refuse(number, f"is {_short(entry)}, no object", _FORM)
                continue
            if entry.get("image_id") is None and entry.get("file_name") is None:
                self._refuse(number, "has neither image_id nor file_name", _FORM)
                continue
            owner = finder.owner(entry)
            if isinstance(owner, str):
                self._refuse(number, owner, "give the pictures' folders in file_name, too")
            elif owner is None or is_set(entry.get("iscrowd")) or _category(entry) not in people:
                self.others += 1
            elif self._add(owner, entry.get("bbox"), entry, number):
                ids.setdefault(owner, entry.get("image_id", owner + 1))
                self.category_id = entry.get("category_id", self.category_id)
        return ids

    def _add(self, owner: int, values: Any, entry: dict, number: int) -> bool:
        box, score = numbers(values, 4), value_of(entry.get("score", 1.0))
        if box is None:
            self._refuse(number, f"bbox is {_short(values)}, not four numbers", "give x, y, width and height")
        elif not (box[2] > 0 and box[3] > 0):
            self._refuse(
                number, f"bbox {box.tolist()} has no area", "give a width and height above 0, in pixels"
            )
        elif score is None:
            self._refuse(number, f"score is {_short(entry['score'])}", "give a number, or leave it out")
        else:
            self.detected |= "score" in entry
            self.rows.append((owner, box, score))
            return True
        return False

    def _refuse(self, number: int, detail: str, remedy: str) -> None:
        self.problems.append(
            Problem("error", "box_entry", str(self.path), f"entry {number}: {detail}", remedy)
        )

    def _nothing(self, count: int) -> str:
        if self.problems:
            return f"{self.path}: no usable box of {count}; first: {self.problems[0]}"
        return (
            f"{self.path}: no box of {count} belongs to the given images; entries need 'bbox' and "
            "'file_name', or an 'image_id' that is the number in the file's name or stands in 'images'"
        )


def _entries(content: Any, path: Path) -> tuple[list, dict]:
    """`(entries, document around them)`."""
    document = content if isinstance(content, dict) else {}
    entries = entries_of(content)
    if entries is None:
        raise DataError(f"{path}: holds no list of boxes; {_FORM}, or [[x, y, w, h], ...] for one picture")
    if entries and all(isinstance(v, int | float) for v in entries):
        entries = [entries]  # one box
    return entries, document


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
        known = _key(entry.get("image_id"))
        return self._listed[known] if known in self._listed else self._by_stem.get(known)

    def _named(self, name: Any) -> int | str | None:
        """The image whose path ends most like `name` does."""
        wanted = _tail(str(name)) if name is not None else [""]
        candidates = self._by_name.get(wanted[0], [])
        shared = [_shared(self._tails[index], wanted) for index in candidates]
        best = [index for index, count in zip(candidates, shared, strict=True) if count == max(shared)]
        if len(best) > 1:
            return f"{len(best)} of the given pictures are called {wanted[0]}"
        return best[0] if best else None


def _person_categories(entries: list, categories: Any) -> set[str]:
    """Ids, as text, of the categories that are persons."""
    categories = [c for c in categories if isinstance(c, dict)] if isinstance(categories, list) else []
    posed = [c for c in categories if c.get("keypoints")]
    named = [c for c in categories if str(c.get("name")).strip().lower() == "person"]
    chosen = posed or named or (categories if len(categories) == 1 else [])
    if chosen:
        return {_key(c.get("id")) for c in chosen} | {"person"}
    counts = Counter(_category(entry) for entry in entries if isinstance(entry, dict))
    # A detector of persons alone may count them as it likes.
    return set(counts) if len(counts) == 1 else {_key(PERSON), "person"}


def _category(entry: dict) -> str:
    return _key(entry.get("category_id", PERSON))


def _key(value: Any) -> str:
    """Ids of text and of numbers mean the same: "004" stays itself, 4, 4.0 and "4" are one."""
    return str(key(value)).lower()


def _tail(name: str) -> list[str]:
    """Parts of a path, of any system, from its end."""
    return list(PureWindowsPath(name).parts[::-1]) or [""]


def _shared(one: list[str], other: list[str]) -> int:
    pairs = list(zip(one, other, strict=False))
    return next((count for count, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _short(value: Any) -> str:
    text = "missing or null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
