"""A COCO-form annotation file, read into people.

What has one sensible reading is read in it and said once (a note); what has none is set aside with its id
and remedy (an error). Everything comes in COCO's pixels of the picture files; `p2net_tf.data.coco` moves it
by half of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.areas import person_area
from p2net_tf.data.annotations.boxes import box_of_keypoints, read_box
from p2net_tf.data.annotations.categories import Categories, Category, choose_categories
from p2net_tf.data.annotations.coordinates import Scales
from p2net_tf.data.annotations.images import Image, Images, read_images
from p2net_tf.data.annotations.keypoint_values import KeypointFault, is_standard, read_keypoints
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.picture_files import PictureFiles
from p2net_tf.data.annotations.reading import USUAL, Coordinates, Reading
from p2net_tf.data.annotations.values import is_set, key, number, whole
from p2net_tf.data.samples import DataError
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton


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


class Document:
    """One annotation file.

    Attributes:
        images: its images.
        categories: which categories are people, and which one results carry.
        annotations: its list `annotations`, as it stands.
        scales: from the file's coordinates to pixels.
        notebook: what there is to say about it.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        folder: Path,
        card: Skeleton,
        reading: Reading = USUAL,
        exif_orientation: bool = False,
    ):
        """Args:
        path: the JSON file.
        root: of the data set.
        folder: of its pictures, by the format.
        exif_orientation: the coordinates refer to the pictures as EXIF turns them.

        Raises:
            DataError: it is no such file, or its keypoints are not the card's.
        """
        content = load_json(path)
        self.card, self.reading, self.notebook = card, reading, Notebook(str(path))
        self.annotations = _list(content, "annotations", path)
        entries = _list(content, "images", path)
        listed = content.get("categories") or []
        if not isinstance(listed, list):
            raise DataError(f"{path}: holds a {type(listed).__name__} where a list of categories is expected")
        wanted = reading.category
        self.categories: Categories = choose_categories(listed, self.annotations, card, wanted, self.notebook)
        self.images: Images = read_images(entries, PictureFiles(root, folder), self.notebook)
        self._exif_orientation = exif_orientation
        self.scales = self.scales_of(reading.coordinates)

    def scales_of(self, coordinates: Coordinates | None) -> Scales:
        """From such coordinates to pixels of this file's pictures."""
        return Scales(self.images.images, coordinates, self._exif_orientation)

    def people(self) -> list[Person]:
        """Crowds and people, with keypoints and without; what is broken is in the notebook."""
        return _People(self).read()


def _list(content: Any, field: str, path: Path) -> list:
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, not an object with images and annotations"
        )
    if not isinstance(content.get(field), list):
        raise DataError(f"{path}: field '{field}' is missing or no list; is it a COCO annotation file?")
    return content[field]


class _People:
    """Reads the annotations of a document, the usual ones in bulk."""

    def __init__(self, document: Document):
        self.document, self.notebook = document, document.notebook
        self.numbers = _annotation_numbers(document)
        self.nameless: Counter = Counter()
        self.scales = document.scales
        self.rules = document.notebook.rules

    def read(self) -> list[Person]:
        rows = [row for row in self._rows() if row is not None]
        keypoints = self._keypoints(
            [(entry, number_, image, category) for entry, number_, image, category in rows]
        )
        people = []
        for (entry, number_, image, _), points in zip(rows, keypoints, strict=True):
            if points is not None and (person := self._person(entry, number_, image, points)):
                people.append(person)
        self._name_images()
        self.notebook.note_rules(len(people))
        return people

    def _rows(self):
        """(entry, number, image, category) of the annotations that are people."""
        seen = set()
        for place, (entry, number_) in enumerate(zip(self.document.annotations, self.numbers, strict=True)):
            if not isinstance(entry, dict):
                detail = f"annotations[{place}] is {'null' if entry is None else type(entry).__name__}"
                self.notebook.error("annotation", detail, "give an object with image_id and keypoints")
                continue
            category = self.document.categories.of(entry)
            if number_ in seen:
                detail = f"annotation id {number_} stands twice; the first one is used"
                self._refuse(entry, number_, "duplicate_id", detail, "make annotation ids unique")
            elif category is not None and (image := self._image(entry, number_)) is not None:
                yield entry, number_, image, category
            seen.add(number_)

    def _image(self, entry: dict, number_: int) -> Image | None:
        images, given = self.document.images, entry.get("image_id")
        image = images.find_file(entry.get("file_name")) if given is None else images.find(given)
        if image is not None and not images.has_id(given):
            self.rules["no image_id, but the name of the picture"] += 1
        if image is None:
            detail = f"image id {given} is not in the annotation file"
            self._refuse(entry, number_, "unknown_image_id", detail, "add the image or remove the annotation")
        elif image.path is None:
            if self._posed(entry):
                self.nameless[image.number] += 1
            return None
        return image

    def _posed(self, entry: dict) -> bool:
        return not is_set(entry.get("iscrowd")) and number(entry.get("num_keypoints")) != 0

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
        if number(entry.get("num_keypoints")) == 0 and not values:
            return nothing
        limits = self.scales.limits(image)
        try:
            return read_keypoints(values, category.names, limits, self.rules)
        except KeypointFault as fault:
            self._refuse(entry, number_, *fault.args)
            return None

    def _person(self, entry: dict, number_: int, image: Image, keypoints: np.ndarray) -> Person | None:
        crowd = is_set(entry.get("iscrowd"))
        labels = bool(keypoints[:, 2].max() > NOT_LABELED)
        if not crowd and not labels and entry.get("num_keypoints") is not None and self._posed(entry):
            remedy = "label it or set num_keypoints to 0"
            self._refuse(entry, number_, "no_keypoints", "every visibility flag is 0", remedy)
            return None
        if not crowd and labels and not self._posed(entry):
            self.rules["num_keypoints is 0 beside labeled keypoints: counted from them"] += 1
        factors = self._factors(entry, number_, image)
        if factors is None:
            return None
        keypoints = self.scales.to_pixels(keypoints, factors)
        box = self._box(entry, number_, keypoints, labels, crowd, factors)
        if box is None:
            return None
        return Person(number_, image, keypoints, box, self._area(entry, box, crowd, factors.prod()), crowd)

    def _factors(self, entry: dict, number_: int, image: Image) -> np.ndarray | None:
        factors = self.scales.factors(image)
        if factors is None:
            detail = f"image {image.given} declares no width and height, which coordinates: declared needs"
            self._refuse(entry, number_, "declared_size", detail, "give the image entry width and height")
        elif not self.scales.pixels:
            self.rules[f"coordinates are {self.document.reading.coordinates}: brought to pixels"] += 1
        return factors

    def _box(
        self, entry: dict, number_: int, keypoints, labels: bool, crowd: bool, factors
    ) -> np.ndarray | None:
        box = read_box(entry.get("bbox"), self.document.reading.boxes or "xywh")
        if box is not None:
            return box if self.scales.pixels else box * np.tile(factors, 2)
        if labels:
            self.rules["no bbox with an area: one around the keypoints, with a margin of 0.1"] += 1
            return box_of_keypoints(keypoints, self.document.reading.point_box)
        if crowd or not self._posed(entry) or entry.get("num_keypoints") is None:
            return np.zeros(4)
        self._refuse(
            entry, number_, "box_empty", "has no bbox of 4 finite numbers", "give x, y, width and height"
        )
        return None

    def _area(self, entry: dict, box: np.ndarray, crowd: bool, factor: float) -> float:
        """Square pixels; `factor` brings those of the file there."""
        # Where coordinates are fractions, areas may be pixels: a person is no larger than its box.
        largest = np.inf if self.scales.pixels else box[2] * box[3]
        area, rule = person_area(entry, box, self.document.reading.area_of_box, factor, largest)
        if rule is not None and not crowd:
            self.rules[rule] += 1
        return area

    def _name_images(self) -> None:
        for image in self.document.images.images:
            if image.name is None:
                lost = self.nameless[image.number]
                detail = f"image {image.given} has no file_name; {lost} person(s) left out"
                self.notebook.error("image_without_file", detail, "add its file_name", image_id=image.number)

    def _refuse(self, entry: dict, number_: int, kind: str, detail: str, remedy: str) -> None:
        image = self.document.images.find(entry.get("image_id"))
        self.notebook.error(kind, detail, remedy, number_, image.number if image else None)


def _by_names(rows: Sequence[tuple]) -> dict[tuple[str, ...], list[int]]:
    places: dict[tuple[str, ...], list[int]] = {}
    for place, (*_, category) in enumerate(rows):
        places.setdefault(category.names, []).append(place)
    return places


def _bulk(rows: Sequence[tuple], places: Sequence[int], count: int) -> list[np.ndarray | None]:
    """`[count, 3]` of the usual ones; None where a value needs a rule."""
    try:
        values = np.asarray([rows[place][0]["keypoints"] for place in places], np.float64)
    except OverflowError:  # a whole number that no float holds; who it is comes out one by one
        return [None] * len(places)
    values = values.reshape(-1, count, 3)
    flags = np.isin(values[..., 2], (0, 1, 2))
    with np.errstate(invalid="ignore"):
        usual = (
            flags.all(axis=1)
            & np.isfinite(values).all(axis=(1, 2))
            & ~np.any(np.all(values[..., :2] == -1, -1), 1)
        )
    values = np.where(values[..., 2:] > NOT_LABELED, values, 0)
    return [points if good else None for points, good in zip(values, usual.tolist(), strict=True)]


def _annotation_numbers(document: Document) -> list[int]:
    """The ids of the annotations; places in the list, from 1 on, where they are no ids of the whole file."""
    everything = document.annotations
    ids = [
        (whole(key(entry.get("id"))), entry) if isinstance(entry, dict) else (0, {}) for entry in everything
    ]
    known = [found for found, entry in ids if entry]
    if None not in known and len(set(known)) == len(known):
        return [found for found, _ in ids]
    images: dict[int | None, set] = {}
    for found, entry in ids:
        if entry:
            images.setdefault(found, set()).add(key(entry.get("image_id")))
    if None not in images and all(len(of) == 1 for of in images.values()):
        return [found for found, _ in ids]
    reason = "are missing or text" if None in images else "count anew in every image"
    document.notebook.note("annotation_id", f"annotation ids {reason}: numbered by their place in the file")
    return list(range(1, len(everything) + 1))
