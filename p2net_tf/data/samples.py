"""What every reader yields: people in images, as columns of equal length.

All coordinates are continuous image coordinates (`p2net_tf.keypoints.geometry`): the origin is the top-left
corner of the top-left pixel and pixel (row i, column j) has its centre at (j + 0.5, i + 0.5).
Readers convert what a data set means at its border, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np

from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.exceptions import UserError


class DataError(UserError):
    """A data set that cannot be used at all. The message names file, field and remedy."""


@dataclass(frozen=True)
class Problem:
    """One broken or suspicious item of a data set.

    `error` items are set aside before training; `warning` items are used, and listed. A `note` says once for
    a file what was read in another form than usual, in its one sensible way.
    `sample_id` and `image_id` are the data set's own ids, None where the item has none.
    """

    severity: Literal["error", "warning", "note"]
    kind: str
    file: str
    detail: str
    remedy: str
    sample_id: int | None = None
    image_id: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}" + (f", annotation {self.sample_id}" if self.sample_id is not None else "")
        return f"{self.kind}: {where}: {self.detail}" + (f"; {self.remedy}" if self.remedy else "")


NO_SAMPLES = "a {} is no samples; read them first, as by p2net_tf.read_coco(root, split)"


@dataclass(frozen=True)
class Samples:
    """N annotated persons.

    Attributes:
        skeleton: the card of the K keypoints.
        image_paths: `[N]` str, one image file per person (persons of one image repeat its path). Of records
            it is only a name: the bytes lie in the shards.
        boxes: `[N, 4]` float32, xywh in image pixels.
        keypoints: `[N, K, 3]` float32, x, y in image pixels and visibility 0, 1, 2; zeros where not labeled.
        areas: `[N]` float32, square pixels of the person (segment area where known, else of the box).
        ids: `[N]` int64, the data set's id of the annotation or detection.
        image_ids: `[N]` int64.
        scores: `[N]` float32, score of the box; 1 for ground truth.
        exif_orientation: whether the coordinates refer to the image as EXIF turns it. COCO, MPII and LSP
            were annotated on the stored pixels (False); cameras' own pictures are seen turned (True).
        source: the annotation file or folder, for messages.
        records: folder of the TFRecord shards that hold the images; "" where they are files.
        image_names: the data set's own ids of images by `image_ids`, where they are no plain numbers.
        category_id: the data set's own id of the people's category, for every file written.
        label_sizes: `[N, 2]` float32, (width, height) of the picture as the data set declares it, which its
            labels may refer to; zeros where it does not.
        settled: what of the labels' form the user has stated, which no check doubts: `coordinates`, `boxes`.
        record_rows: `[N]` int64, which person of the records each one is; -1 where the images are files.
        problems: what the reader could not represent as a sample (already left out of the columns).
    """

    skeleton: Skeleton
    image_paths: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    areas: np.ndarray
    ids: np.ndarray
    image_ids: np.ndarray
    scores: np.ndarray
    exif_orientation: bool = False
    source: str = ""
    problems: tuple[Problem, ...] = field(default=())
    records: str = ""
    record_rows: np.ndarray | None = None
    image_names: Mapping[int, int | str] = field(default_factory=dict)
    category_id: int | str = 1
    label_sizes: np.ndarray | None = None
    settled: frozenset[str] = frozenset()

    def __post_init__(self):
        if self.record_rows is None:
            object.__setattr__(self, "record_rows", np.full(len(self.image_paths), -1))
        if self.label_sizes is None:
            object.__setattr__(self, "label_sizes", np.zeros((len(self.image_paths), 2)))
        columns = {
            "image_paths": (str, ()),
            "boxes": (np.float32, (4,)),
            "keypoints": (np.float32, (self.skeleton.num_keypoints, 3)),
            "areas": (np.float32, ()),
            "ids": (np.int64, ()),
            "image_ids": (np.int64, ()),
            "scores": (np.float32, ()),
            "record_rows": (np.int64, ()),
            "label_sizes": (np.float32, (2,)),
        }
        count = len(self.image_paths)
        for name, (dtype, tail) in columns.items():
            column = np.asarray(getattr(self, name), dtype).reshape((-1, *tail))
            if len(column) != count:
                raise ValueError(f"column '{name}' has {len(column)} rows, 'image_paths' {count}")
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.image_paths)

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Samples:
        """The samples at `rows` (indices, a slice or a boolean mask), in that order."""
        if isinstance(rows, list | tuple):
            rows = np.asarray(rows, np.int64)
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, **columns)

    @property
    def given_image_ids(self) -> list[int | str]:
        """`[N]` the data set's own ids of the images, for every file written."""
        return [self.image_names.get(number, number) for number in self.image_ids.tolist()]

    def with_problems(self, problems: Sequence[Problem]) -> Samples:
        return replace(self, problems=tuple(problems))


_OF_THE_SET = (
    "skeleton", "exif_orientation", "source", "problems", "records", "image_names", "category_id", "settled",
)  # fmt: skip
_COLUMNS = tuple(f.name for f in fields(Samples) if f.name not in _OF_THE_SET)


def joined_facts(parts: Sequence) -> dict:
    """What `Samples` and `Scenes` say of their set beside the columns, of several together.

    Raises:
        ValueError: no parts, or parts that differ in their EXIF convention.
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    for part in parts[1:]:
        if part.exif_orientation != parts[0].exif_orientation:
            raise ValueError(f"{part.source} and {parts[0].source} disagree on the EXIF orientation")
    return {
        "source": " + ".join(dict.fromkeys(part.source for part in parts)),
        "problems": sum((part.problems for part in parts), ()),
        "image_names": {number: name for part in parts for number, name in part.image_names.items()},
    }


def concatenate(parts: Sequence[Samples]) -> Samples:
    """One `Samples` after the other; ids stay as they are, problems are joined.

    Raises:
        ValueError: no parts, or parts that differ in skeleton, EXIF convention or records.
    """
    facts, first = joined_facts(parts), parts[0]
    for part in parts[1:]:
        if part.skeleton != first.skeleton:
            raise ValueError(f"cannot join '{first.skeleton.name}' and '{part.skeleton.name}' samples")
        if part.records != first.records:
            raise ValueError(f"{part.source} and {first.source}: records cannot be joined with others")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return replace(first, **columns, **facts)
