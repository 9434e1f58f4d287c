"""What all COCO-form annotation files share, whatever is read from their annotations: keypoints or boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.areas import person_area
from p2net_tf.data.annotations.coordinates import Scales
from p2net_tf.data.annotations.images import Image, Images, read_images
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.picture_files import PictureFiles
from p2net_tf.data.annotations.reading import USUAL, Coordinates, Reading
from p2net_tf.data.annotations.values import is_set, key, whole
from p2net_tf.data.samples import DataError


class AnnotationFile(ABC):
    """One annotation file.

    Attributes:
        images: its images.
        annotations: its list `annotations`, as it stands.
        scales: from the file's coordinates to pixels.
        notebook: what there is to say about it.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        folder: Path,
        reading: Reading = USUAL,
        exif_orientation: bool = False,
    ):
        """Args:
        path: the JSON file.
        root: of the data set.
        folder: of its pictures, by the format.
        exif_orientation: the coordinates refer to the pictures as EXIF turns them.

        Raises:
            DataError: it is no such file, or what is wanted is not in its categories.
        """
        content = load_json(path)
        self.reading, self.notebook = reading, Notebook(str(path))
        self.annotations = _list(content, "annotations", path)
        entries = _list(content, "images", path)
        listed = content.get("categories") or []
        if not isinstance(listed, list):
            raise DataError(f"{path}: holds a {type(listed).__name__} where a list of categories is expected")
        self.categories = self.choose_categories(listed)
        self.images: Images = read_images(entries, self.picture_files(root, folder), self.notebook)
        self._exif_orientation = exif_orientation
        self.scales = self.scales_of(reading.coordinates)

    def scales_of(self, coordinates: Coordinates | None) -> Scales:
        """From such coordinates to pixels of this file's pictures."""
        return Scales(self.images.images, coordinates, self._exif_orientation)

    def picture_files(self, root: Path, folder: Path) -> PictureFiles:
        """What finds the pictures."""
        return PictureFiles(root, folder)

    @abstractmethod
    def choose_categories(self, listed: list) -> Any:
        """Which entries of the list `categories` are read: `of(annotation)` is None for all others.

        Raises:
            DataError: none is what is wanted.
        """


def _list(content: Any, field: str, path: Path) -> list:
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, not an object with images and annotations"
        )
    if not isinstance(content.get(field), list):
        raise DataError(f"{path}: field '{field}' is missing or no list; is it a COCO annotation file?")
    return content[field]


class EntryReader:
    """Walks the annotations of a file: whose they are, on which picture, and what is wrong with them."""

    FIELDS = "image_id and keypoints"
    """What an annotation needs, for messages."""
    ITEMS = "person(s)"
    WHOLE_AREAS = False
    """Whether missing areas are those of whole boxes, and not `Reading.area_of_box`."""

    def __init__(self, file: AnnotationFile):
        self.file, self.notebook = file, file.notebook
        self.numbers = _annotation_numbers(file)
        self.nameless: Counter = Counter()
        self.scales = file.scales
        self.rules = file.notebook.rules

    def rows(self) -> Iterator[tuple[dict, int, Image, Any]]:
        """(entry, number, image, category) of the annotations that are read."""
        seen = set()
        for place, (entry, number_) in enumerate(zip(self.file.annotations, self.numbers, strict=True)):
            if not isinstance(entry, dict):
                detail = f"annotations[{place}] is {'null' if entry is None else type(entry).__name__}"
                self.notebook.error("annotation", detail, f"give an object with {self.FIELDS}")
                continue
            category = self.file.categories.of(entry)
            if number_ in seen:
                detail = f"annotation id {number_} stands twice; the first one is used"
                self.refuse(entry, number_, "duplicate_id", detail, "make annotation ids unique")
            elif category is None:
                self.leave_out(entry, number_)
            elif (image := self._image(entry, number_)) is not None:
                yield entry, number_, image, category
            seen.add(number_)

    def leave_out(self, entry: dict, number_: int) -> None:
        """Is told of the annotations that belong to no category that is read."""

    def counts(self, entry: dict) -> bool:
        """Whether an annotation stands for something to find, and for no crowd."""
        return not is_set(entry.get("iscrowd"))

    def _image(self, entry: dict, number_: int) -> Image | None:
        images, given = self.file.images, entry.get("image_id")
        image = images.find_file(entry.get("file_name")) if given is None else images.find(given)
        if image is not None and not images.has_id(given):
            self.rules["no image_id, but the name of the picture"] += 1
        if image is None:
            detail = f"image id {given} is not in the annotation file"
            self.refuse(entry, number_, "unknown_image_id", detail, "add the image or remove the annotation")
        elif image.path is None:
            if self.counts(entry):
                self.nameless[image.number] += 1
            return None
        return image

    def factors(self, entry: dict, number_: int, image: Image) -> np.ndarray | None:
        """`[2]` from the file's x and y to pixels; None where they are not known, which is then listed."""
        factors = self.scales.factors(image)
        if factors is None:
            detail = f"image {image.given} declares no width and height, which coordinates: declared needs"
            self.refuse(entry, number_, "declared_size", detail, "give the image entry width and height")
        elif not self.scales.pixels:
            self.rules[f"coordinates are {self.file.reading.coordinates}: brought to pixels"] += 1
        return factors

    def area(self, entry: dict, box: np.ndarray, crowd: bool, factor: float, own_box: bool = False) -> float:
        """Square pixels; `factor` brings those of the file there; `own_box` as of `person_area`."""
        # Where coordinates are fractions, areas may be pixels: nothing is larger than its box.
        largest = np.inf if self.scales.pixels else box[2] * box[3]
        part = None if self.WHOLE_AREAS else self.file.reading.area_of_box
        area, rule = person_area(entry, box, part, factor, largest, own_box and not crowd)
        if rule is not None and not crowd:
            self.rules[rule] += 1
        return area

    def name_images(self) -> None:
        """Lists the images without a file."""
        for image in self.file.images.images:
            if image.name is None:
                lost = self.nameless[image.number]
                detail = f"image {image.given} has no file_name; {lost} {self.ITEMS} left out"
                self.notebook.error("image_without_file", detail, "add its file_name", image_id=image.number)

    def refuse(self, entry: dict, number_: int, kind: str, detail: str, remedy: str) -> None:
        """Lists an annotation as broken."""
        image = self.file.images.find(entry.get("image_id"))
        self.notebook.error(kind, detail, remedy, number_, image.number if image else None)


def _annotation_numbers(file: AnnotationFile) -> list[int]:
    """The ids of the annotations; places in the list, from 1 on, where they are no ids of the whole file."""
    everything = file.annotations
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
    file.notebook.note("annotation_id", f"annotation ids {reason}: numbered by their place in the file")
    return list(range(1, len(everything) + 1))
