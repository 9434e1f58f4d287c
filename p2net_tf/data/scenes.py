"""What every reader of boxes yields: pictures, and the objects of each.

Coordinates are continuous image coordinates, as those of `p2net_tf.data.samples`: a box `[x, y, w, h]` spans
the whole pixels from x to x + w. COCO's boxes are so already, VOC's `xmin` counts pixels from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.samples import Problem, joined_facts


@dataclass(frozen=True)
class Scenes:
    """P pictures with N objects in all; a picture may have none.

    Attributes:
        class_names: names of the classes, in the order of `classes`.
        image_paths: `[P]` str, one image file per picture, each once.
        image_ids: `[P]` int64, each once.
        label_sizes: `[P, 2]` float32, (width, height) of the picture as the data set declares it; zeros where
            it does not.
        owners: `[N]` int64, the row of the picture that an object is in, never falling.
        boxes: `[N, 4]` float32, xywh in image pixels.
        classes: `[N]` int64, row of `class_names`.
        crowds: `[N]` bool: groups, which are neither found nor background.
        areas: `[N]` float32, square pixels (of the segment where known, else of the box).
        ids: `[N]` int64, the data set's id of the annotation.
        exif_orientation: whether the coordinates refer to the picture as EXIF turns it.
        source: the annotation file or folder, for messages.
        image_names: the data set's own ids of images by `image_ids`, where they are no plain numbers.
        category_ids: `[C]` the data set's own id of each class, for every file written.
        problems: what the reader could not represent (already left out of the columns).
        settled: what of the labels' form the user has stated, which no check doubts: `coordinates`, `boxes`.
        box_form: what the four numbers of a box are in the files.
    """

    class_names: tuple[str, ...]
    image_paths: np.ndarray
    image_ids: np.ndarray
    label_sizes: np.ndarray
    owners: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray
    areas: np.ndarray
    ids: np.ndarray
    exif_orientation: bool = False
    source: str = ""
    image_names: Mapping[int, int | str] = field(default_factory=dict)
    category_ids: tuple[int | str, ...] = ()
    problems: tuple[Problem, ...] = ()
    settled: frozenset[str] = frozenset()
    box_form: BoxForm = "xywh"

    def __post_init__(self):
        for group in (_OF_PICTURES, _OF_OBJECTS):
            counts = {name: self._shape(name, *group[name]) for name in group}
            if len(set(counts.values())) > 1:
                raise ValueError(f"columns of different lengths: {counts}")
        if len(self.owners) and not 0 <= self.owners[0] <= self.owners[-1] < len(self):
            raise ValueError(f"owners are rows of the {len(self)} pictures")
        if np.any(np.diff(self.owners) < 0):
            raise ValueError("owners must not fall")

    def _shape(self, name: str, dtype, tail: tuple[int, ...]) -> int:
        column = np.asarray(getattr(self, name), dtype).reshape((-1, *tail))
        object.__setattr__(self, name, column)
        return len(column)

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def records(self) -> str:
        """None: pictures of scenes are files; `Samples` may come out of records."""
        return ""

    def objects_of(self, row: int) -> slice:
        """The rows of the objects of a picture."""
        return slice(*np.searchsorted(self.owners, [row, row + 1]))

    @property
    def counts(self) -> np.ndarray:
        """`[P]` int64, objects of each picture."""
        return np.bincount(self.owners, minlength=len(self))

    @property
    def class_counts(self) -> np.ndarray:
        """`[C]` int64, objects of each class."""
        return np.bincount(self.classes, minlength=len(self.class_names))

    @property
    def given_image_ids(self) -> list[int | str]:
        """`[P]` the data set's own ids of the images, for every file written."""
        return [self.image_names.get(number, number) for number in self.image_ids.tolist()]

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Scenes:
        """The pictures at `rows` (indices, a slice or a boolean mask), in that order, with their objects."""
        rows = np.arange(len(self))[np.asarray(rows, np.int64) if isinstance(rows, list | tuple) else rows]
        starts, stops = np.searchsorted(self.owners, rows), np.searchsorted(self.owners, rows + 1)
        objects = [np.arange(start, stop) for start, stop in zip(starts, stops, strict=True)]
        chosen = np.concatenate([np.zeros(0, np.int64), *objects])
        columns = {name: getattr(self, name)[rows] for name in _OF_PICTURES}
        columns |= {name: getattr(self, name)[chosen] for name in _OF_OBJECTS}
        columns["owners"] = np.repeat(np.arange(len(rows)), stops - starts)
        return replace(self, **columns)

    def without_objects(self, mask: np.ndarray) -> Scenes:
        """Without the objects where `mask [N]` is True; their pictures stay."""
        kept = ~np.asarray(mask, bool)
        return replace(self, **{name: getattr(self, name)[kept] for name in _OF_OBJECTS})

    def with_problems(self, problems: Sequence[Problem]) -> Scenes:
        return replace(self, problems=tuple(problems))


_OF_PICTURES = {"image_paths": (str, ()), "image_ids": (np.int64, ()), "label_sizes": (np.float32, (2,))}
_OF_OBJECTS = {
    "owners": (np.int64, ()),
    "boxes": (np.float32, (4,)),
    "classes": (np.int64, ()),
    "crowds": (bool, ()),
    "areas": (np.float32, ()),
    "ids": (np.int64, ()),
}


def concatenate(parts: Sequence[Scenes]) -> Scenes:
    """One `Scenes` after the other; ids stay as they are, problems are joined.

    Raises:
        ValueError: no parts, or parts that differ in classes or EXIF convention.
    """
    facts, first = joined_facts(parts), parts[0]
    for part in parts[1:]:
        if part.class_names != first.class_names:
            raise ValueError(f"{part.source} and {first.source} have other classes")
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*_OF_PICTURES, *_OF_OBJECTS)
    }
    before = np.cumsum([0, *(len(part) for part in parts[:-1])])
    columns["owners"] = np.concatenate(
        [part.owners + start for part, start in zip(parts, before, strict=True)]
    )
    return replace(first, **columns, **facts)
