"""The list `images` of an annotation file: ids of any kind, and where the pictures lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.picture_files import PictureFiles
from p2net_tf.data.annotations.values import key, number, whole


@dataclass(frozen=True, slots=True)
class Image:
    """One entry of `images`.

    Attributes:
        number: whole number by which the project knows it: its id where that is one.
        given: its id as the file has it, for every file written.
        name: of the file, as the entry has it; None where it has none.
        path: of the picture; None where the entry names none, or it is not clear which one.
        size: (width, height) that the entry claims; zeros where it does not.
    """

    number: int
    given: Any
    name: str | None
    path: str | None
    size: tuple[float, float]


class Images:
    """The images by whatever id or name annotations and detections know them by."""

    def __init__(self, images: Sequence[Image]):
        self.images = list(images)
        self._by_key = {key(image.given): image for image in images}

    @cached_property
    def _by_number(self) -> dict[int, Image | None]:
        return _distinct((whole(key(image.given)), image) for image in self.images)

    @cached_property
    def _by_name(self) -> dict[str, Image | None]:
        return _distinct(
            (alias, image)
            for image in self.images
            if image.name is not None
            for alias in file_aliases(image.name)
        )

    def find(self, value: Any) -> Image | None:
        """The image of an `image_id`: the same id, the same number (`000004` and 4), or its file's name."""
        found = key(value)
        if found is None:
            return None
        image = self._by_key.get(found)
        if image is None:  # nearly never, so the other indices are made then
            image = self._by_number.get(whole(found)) or self._by_name.get(found)
            if image is None and ("/" in found or "\\" in found):
                image = self.find_file(found)
        return image

    def has_id(self, value: Any) -> bool:
        """Whether it is an id, and no other name of an image."""
        return key(value) in self._by_key or whole(key(value)) in self._by_number

    def find_file(self, name: Any) -> Image | None:
        """The image of a `file_name`."""
        if not isinstance(name, str):
            return None
        return next((self._by_name[alias] for alias in file_aliases(name) if self._by_name.get(alias)), None)

    @property
    def renamed(self) -> dict[int, Any]:
        """Number to id of the images whose id is no plain number."""
        return {image.number: image.given for image in self.images if image.given != image.number}


def read_images(entries: Sequence[Any], files: PictureFiles, notebook: Notebook) -> Images:
    """Reads the list `images`; entries without an id, or with one that stands before, are set aside."""
    kept, seen = [], set()
    by_name = _have_names_alone(entries)
    for entry in entries:
        if by_name:
            entry = {**entry, "id": entry["file_name"]}
        found = key(entry.get("id")) if isinstance(entry, dict) else None
        if found is None:
            given = entry.get("id") if isinstance(entry, dict) else None
            detail = "an image entry has no id" if given is None else f"the image id {given!r:.40} is none"
            notebook.error("image_entry", detail, "give every image an id, a whole number or a text")
        elif found in seen:
            detail = f"the image id {entry['id']} stands twice; the first entry holds"
            notebook.error("duplicate_image_id", detail, "make image ids unique", image_id=whole(found))
        else:
            seen.add(found)
            kept.append((found, entry))
    numbers = _numbers([found for found, _ in kept], notebook)
    names = [entry.get("file_name") for _, entry in kept]
    names = [name if isinstance(name, str) and name else None for name in names]
    paths = [
        _path(name, *found, number_, notebook)
        for name, found, number_ in zip(names, files.find_all(names), numbers, strict=True)
    ]
    images = [
        Image(number_, _given(entry["id"]), name, path, _size(entry))
        for number_, name, path, (_, entry) in zip(numbers, names, paths, kept, strict=True)
    ]
    files.note_used(len(images), notebook)
    return Images(images)


def _have_names_alone(entries: Sequence[Any]) -> bool:
    """Whether no entry has an id and each has a file name, which is one too."""
    return bool(entries) and all(
        isinstance(entry, dict) and entry.get("id") is None and isinstance(entry.get("file_name"), str)
        for entry in entries
    )


def _numbers(keys: list[str], notebook: Notebook) -> list[int]:
    """The ids themselves where all are whole numbers, else places in the list from 1 on."""
    numbers = [whole(found) for found in keys]
    if None not in numbers and len(set(numbers)) == len(numbers):
        return numbers
    example = keys[numbers.index(None)] if None in numbers else keys[0]
    notebook.note(
        "image_id", f"image ids are text, e.g. '{example}'; every file written has them as they are"
    )
    return list(range(1, len(keys) + 1))


def _given(value: Any) -> Any:
    return int(value) if isinstance(value, float) else value


def _path(
    name: str | None, path: str | None, rivals: list[str], number_: int, notebook: Notebook
) -> str | None:
    if rivals:
        detail = f"'{name}' may be {rivals[0]} or {rivals[1]}"
        remedy = "write the path below the folder of the data set"
        notebook.error("image_ambiguous", detail, remedy, image_id=number_)
        return None
    return path


def _size(entry: dict) -> tuple[float, float]:
    width, height = number(entry.get("width")), number(entry.get("height"))
    return (width, height) if width and height and width > 0 and height > 0 else (0.0, 0.0)


def file_aliases(name: str) -> tuple[str, ...]:
    """A file's name as it stands, without folders, and without its suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return tuple(dict.fromkeys((name, path.name, os.path.splitext(path.name)[0])))


def _distinct(pairs) -> dict:
    """Key to image; keys that several images share lead nowhere."""
    found: dict = {}
    for known, image in pairs:
        if known is not None:
            found[known] = None if found.get(known, image) is not image else image
    return found
