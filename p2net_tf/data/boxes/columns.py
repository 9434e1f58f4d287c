"""Collects the objects of pictures, in any order, as the columns of `Scenes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.reading import BoxForm, Reading
from p2net_tf.data.boxes.classes import Classes
from p2net_tf.data.samples import Problem
from p2net_tf.data.scenes import Scenes


class Columns:
    """The objects of some pictures.

    Attributes:
        pictures: the row of each picture, by its number.
    """

    def __init__(self, images: Sequence[Image]):
        """Args:
        images: those with a file.
        """
        self._images = images
        self.pictures = {image.number: row for row, image in enumerate(images)}
        self._rows: list[tuple] = []
        self._boxes: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, image: int, box: np.ndarray, class_row: int, crowd: bool, area: float, number: int) -> None:
        """An object: the number of its picture, `[4]` xywh in pixels, and what else `Scenes` has of it."""
        self._rows.append((self.pictures[image], class_row, crowd, area, number))
        self._boxes.append(box)

    def scenes(
        self,
        classes: Classes,
        label_sizes: Sequence[tuple[float, float]],
        exif_orientation: bool,
        source: str,
        problems: Sequence[Problem],
        image_names: Mapping[int, Any],
        reading: Reading,
        form: BoxForm = "xywh",
    ) -> Scenes:
        """All of them, by their pictures; further arguments as in `Scenes`.

        Args:
            form: of the boxes in the files, where `reading` says none.
        """
        owners, rows, crowds, areas, ids = zip(*self._rows, strict=True) if self._rows else [()] * 5
        order = np.argsort(np.asarray(owners, np.int64), kind="stable")
        columns = {"owners": owners, "classes": rows, "crowds": crowds, "areas": areas, "ids": ids}
        columns = {name: np.asarray(values)[order] for name, values in columns.items()}
        boxes = np.asarray(self._boxes, np.float64).reshape(-1, 4)[order]
        # What no float32 holds is infinite there, and no box for the check.
        with np.errstate(over="ignore"):
            boxes, columns["areas"] = np.float32(boxes), np.float32(columns["areas"])
        return Scenes(
            classes.names,
            image_paths=[image.path for image in self._images],
            image_ids=[image.number for image in self._images],
            label_sizes=label_sizes,
            boxes=boxes,
            **columns,
            exif_orientation=exif_orientation,
            source=source,
            image_names=image_names,
            category_ids=classes.ids,
            problems=tuple(problems),
            settled=reading.settled,
            box_form=reading.boxes or form,
        )
