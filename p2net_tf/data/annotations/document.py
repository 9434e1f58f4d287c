"""A COCO-form annotation file, read into people.

What has one sensible reading is read in it and said once (a note); what has none is set aside with its id
and remedy (an error). Everything comes in COCO's pixels of the picture files; `p2net_tf.data.coco` moves it
by half of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.data.annotations.annotation_file import AnnotationFile, EntryReader
from p2net_tf.data.annotations.boxes import box_of_keypoints, read_box, read_mirrored_box
from p2net_tf.data.annotations.categories import Categories, Category, choose_categories
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.keypoint_values import (
    KeypointFault,
    are_placeholders,
    is_standard,
    read_keypoints,
)
from p2net_tf.data.annotations.reading import USUAL, Reading
from p2net_tf.data.annotations.values import bulk_numbers, is_set, number, numbers
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

_FRACTION = 1.1
"""No coordinate of fractions is larger."""


@dataclass(frozen=True, slots=True)
class Person:
    """One annotation of the people's category.

    Attributes:
        number: whole number by which the project knows it.
        keypoints: `[K, 3]` in the card's order, x, y in pixels and visibility; zeros where not labeled.
        box: `[4]` xywh; zeros for a crowd without one.
        crowd: a region to ignore, of which keypoints do not count.
    """

    number: int
    image: Image
    keypoints: np.ndarray
    box: np.ndarray
    area: float
    crowd: bool

    @property
    def labels(self) -> int:
        return int(np.count_nonzero(self.keypoints[:, 2] > NOT_LABELED))


class Document(AnnotationFile):
    """One annotation file of people.

    Attributes:
        categories: which categories are people, and which one results carry.
    """

    categories: Categories

    def __init__(
        self,
        path: Path,
        root: Path,
        folder: Path,
        card: Skeleton,
        reading: Reading = USUAL,
        exif_orientation: bool = False,
    ):
        """As `AnnotationFile`.

        Raises:
            DataError: it is no such file, or its keypoints are not the card's.
        """
        self.card = card
        super().__init__(path, root, folder, reading, exif_orientation)

    def choose_categories(self, listed: list) -> Categories:
        wanted = self.reading.category
        return choose_categories(listed, self.annotations, self.card, wanted, self.notebook)

    def people(self) -> list[Person]:
        """Crowds and people, with keypoints and without; what is broken is in the notebook."""
        return _People(self).read()


class _People(EntryReader):
    """Reads the annotations of a document, the usual ones in bulk."""

    def read(self) -> list[Person]:
        rows = list(self.rows())
        keypoints = self._keypoints(rows)
        self.mixed = self._are_mixed(rows, keypoints)
        people = []
        for (entry, number_, image, _), points in zip(rows, keypoints, strict=True):
            if points is not None and (person := self._person(entry, number_, image, points)):
                people.append(person)
        self.name_images()
        self.notebook.note_rules(len(people))
        return people

    def _are_mixed(self, rows: list[tuple], keypoints: list[np.ndarray | None]) -> bool:
        """Whether some are fractions of their pictures, and some are not, where nobody said what they are."""
        if self.file.reading.coordinates is not None:
            return False
        found = [
            _in_fractions(row[0], points)
            for row, points in zip(rows, keypoints, strict=True)
            if points is not None and points[:, 2].max() > NOT_LABELED
        ]
        return 0 < sum(found) < len(found)

    def counts(self, entry: dict) -> bool:
        return super().counts(entry) and number(entry.get("num_keypoints")) != 0

    def _keypoints(self, rows: list[tuple[dict, int, Image, Category]]) -> list[np.ndarray | None]:
        """`[K, 3]` of each in the card's order; None where they are broken, which is then listed."""
        found: list[np.ndarray | None] = [None] * len(rows)
        for names, places in _by_names(rows).items():
            usual = [place for place in places if is_standard(rows[place][0].get("keypoints"), len(names))]
            for place, points in zip(usual, _bulk(rows, usual, len(names)), strict=True):
                found[place] = points
            for place in places:
                if found[place] is None:
                    found[place] = self._read_one(*rows[place])
            order = rows[places[0]][3].order
            if order is not None:
                for place in places:
                    found[place] = None if found[place] is None else found[place][order]
        return found

    def _read_one(self, entry: dict, number_: int, image: Image, category: Category) -> np.ndarray | None:
        nothing = np.zeros((len(category.names), 3))
        values = entry.get("keypoints")
        if is_set(entry.get("iscrowd")):
            return nothing
        if values is None and entry.get("num_keypoints") is None and read_box(entry.get("bbox")) is not None:
            self.rules["a box alone: nobody to learn keypoints from"] += 1
            return nothing
        if number(entry.get("num_keypoints")) == 0 and not values:
            return nothing
        limits = self.scales.limits(image)
        try:
            return read_keypoints(values, category.names, limits, self.rules)
        except KeypointFault as fault:
            self.refuse(entry, number_, *fault.args)
            return None

    def _person(self, entry: dict, number_: int, image: Image, keypoints: np.ndarray) -> Person | None:
        crowd = is_set(entry.get("iscrowd"))
        labels = bool(keypoints[:, 2].max() > NOT_LABELED)
        if not crowd and not labels and entry.get("num_keypoints") is not None and self.counts(entry):
            remedy = "label it or set num_keypoints to 0"
            self.refuse(entry, number_, "no_keypoints", "every visibility flag is 0", remedy)
            return None
        if not crowd and labels and not self.counts(entry):
            self.rules["num_keypoints is 0 beside labeled keypoints: counted from them"] += 1
        factors = self.factors(entry, number_, image)
        if factors is None:
            return None
        if labels and self.mixed and _in_fractions(entry, keypoints):
            if not image.size[0] > 0:
                detail = f"coordinates are fractions, and image {image.given} declares no width and height"
                self.refuse(entry, number_, "mixed_units", detail, "write them in pixels, as those of others")
                return None
            self.rules["fractions of the picture, unlike the others: brought to pixels"] += 1
            factors = np.asarray(image.size)
            keypoints = np.append(keypoints[:, :2] * factors, keypoints[:, 2:], axis=1)
        else:
            keypoints = self.scales.to_pixels(keypoints, factors)
        own_box = self._own_box(entry)
        box = self._box(entry, number_, own_box, keypoints, labels, crowd, factors)
        if box is None:
            return None
        area = self.area(entry, box, crowd, factors.prod(), own_box is not None)
        return Person(number_, image, keypoints, box, area, crowd)

    def _own_box(self, entry: dict) -> np.ndarray | None:
        """`[4]` xywh in the file's coordinates; None where `bbox` is no box."""
        form = self.file.reading.boxes or "xywh"
        box = read_box(entry.get("bbox"), form)
        if box is None and form == "xywh":
            box = read_mirrored_box(entry.get("bbox"))
            if box is not None:
                self.rules["a bbox of negative size: drawn from another corner"] += 1
        return box

    def _box(
        self, entry: dict, number_: int, own_box: np.ndarray | None, keypoints, labels, crowd: bool, factors
    ) -> np.ndarray | None:
        if own_box is not None:
            return own_box * np.tile(factors, 2)
        if labels:
            point_box = self.file.reading.point_box
            box = box_of_keypoints(keypoints, point_box)
            is_point = np.count_nonzero(keypoints[:, 2] > NOT_LABELED) == 1
            how = f"{point_box:g} pixels (point_box)" if is_point else "a margin of 0.1"
            self.rules[f"no bbox with an area: one around the keypoints, with {how}"] += 1
            return box
        if crowd or not self.counts(entry) or entry.get("num_keypoints") is None:
            return np.zeros(4)
        self.refuse(
            entry, number_, "box_empty", "has no bbox of 4 finite numbers", "give x, y, width and height"
        )
        return None


def _in_fractions(entry: dict, keypoints: np.ndarray) -> bool:
    """Whether no coordinate of a person is larger than 1, but for what leaves the picture a little."""
    if np.abs(keypoints[:, :2]).max() > _FRACTION:
        return False
    box = numbers(entry.get("bbox"), 4)
    if box is None:
        return np.count_nonzero(keypoints[:, 2] > NOT_LABELED) > 2
    return bool(0 < np.abs(box).max() <= _FRACTION)


def _by_names(rows: Sequence[tuple]) -> dict[tuple[str, ...], list[int]]:
    places: dict[tuple[str, ...], list[int]] = {}
    for place, (*_, category) in enumerate(rows):
        places.setdefault(category.names, []).append(place)
    return places


def _bulk(rows: Sequence[tuple], places: Sequence[int], count: int) -> list[np.ndarray | None]:
    """`[count, 3]` of the usual ones; None where a value needs a rule."""
    values = bulk_numbers([rows[place][0]["keypoints"] for place in places])
    if values is None:  # whose number no float holds comes out one by one
        return [None] * len(places)
    values = values.reshape(-1, count, 3)
    flags = np.isin(values[..., 2], (0, 1, 2))
    with np.errstate(invalid="ignore"):
        usual = (
            flags.all(axis=1)
            & np.isfinite(values).all(axis=(1, 2))
            & ~np.any(
                are_placeholders(values[..., :2], values[..., 2]) & (values[..., 2] > NOT_LABELED), axis=1
            )
        )
    values = np.where(values[..., 2:] > NOT_LABELED, values, 0)
    return [points if good else None for points, good in zip(values, usual.tolist(), strict=True)]
