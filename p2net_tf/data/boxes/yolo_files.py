"""Where the pictures, labels and names of a YOLO set lie: by its `data.yaml`, else by its folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from p2net_tf.data.annotations.values import key, whole
from p2net_tf.data.boxes.folders import files_of, pictures_of
from p2net_tf.data.samples import DataError

_ALIASES = {
    "val": ("val", "valid", "validation"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
}
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "predefined_classes.txt")
"""Of darknet, LabelImg and Label Studio."""
_YAML = (".yaml", ".yml")
_WHOLE_SETS = ("train", "all")
"""Splits of a set that has no parts."""


@dataclass(frozen=True)
class YoloSet:
    """One part of a set.

    Attributes:
        source: the YAML file or the folder, for messages.
        pictures: its pictures.
        labels: the file of each; None where there is none.
        names: the classes' by their keys; empty where nothing names them.
        keypoints: (K, 2 or 3) where a line holds keypoints behind its box.
        strays: label files without a picture.
        lost: what the YAML file names as this part, and is not there.
    """

    source: str
    pictures: list[Path]
    labels: list[Path | None]
    names: dict[str, str]
    keypoints: tuple[int, int] | None = None
    strays: list[Path] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def find_yolo_set(root: Path, split: str, given: str | Path | None = None) -> YoloSet:
    """The files of a part.

    Args:
        root: folder of the set, or its YAML file.
        given: the YAML file, relative to `root` or to the working folder.

    Raises:
        DataError: there are no pictures or no labels, or the YAML file is broken.
    """
    file = _yaml_file(root, given)
    root = root if root.is_dir() else root.parent
    settings = {} if file is None else _settings(file)
    source = str(root if file is None else file)
    pictures, lost = _pictures(root, split, settings, source)
    labels = [_label_of(picture) for picture in pictures]
    if not any(labels):
        raise DataError(
            f"{source}: none of {len(pictures)} pictures has a file of labels; put them into labels/ beside "
            f"images/, or beside the pictures: {pictures[0].with_suffix('.txt').name}"
        )
    names = _names_of_settings(settings, source) or _names_of_file(root, labels)
    return YoloSet(source, pictures, labels, names, _keypoints(settings), _strays(pictures, labels), lost)


def _yaml_file(root: Path, given: str | Path | None) -> Path | None:
    if root.suffix.lower() in _YAML and root.is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder of a YOLO set, or its data.yaml")
    if given is not None:
        found = next((path for path in (root / given, Path(given)) if path.is_file()), None)
        if found is None:
            raise DataError(f"{root / given}: not found; give the data.yaml of the set in `annotations`")
        return found
    for path in sorted(files_of(root, _YAML), key=lambda path: path.stem != "data"):
        settings = _read_yaml(path)
        if isinstance(settings, dict) and "names" in settings:
            return path
    return None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a data.yaml") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError) as error:
        words = str(error).split("\n")[0]
        raise DataError(f"{path}: not YAML ({words}); correct it") from None


def _settings(file: Path) -> dict:
    settings = _read_yaml(file)
    if not isinstance(settings, dict):
        raise DataError(f"{file}: holds no keys such as names and train; give the data.yaml of the set")
    return settings


def _pictures(root: Path, split: str, settings: Mapping, source: str) -> tuple[list[Path], list[str]]:
    """And what the YAML file names, and is not there."""
    named_places, missing = _named_places(root, split, settings)
    places = named_places or _usual_places(root, split)
    pictures = list(dict.fromkeys(picture for place in places for picture in _pictures_at(place)))
    if pictures:
        return pictures, [
            entry for entry in missing if not any(_ends_in(entry, place, root) for place in places)
        ]
    named = [name for name in _names_of_split(split) if isinstance(settings.get(name), str | list)]
    if named:
        raise DataError(
            f"{source}: '{named[0]}' is {settings[named[0]]!r:.80}, where no pictures are; correct it"
        )
    parts = ", ".join(sorted({name for name in (*_ALIASES, *_ALIASES["val"]) if name in settings}))
    known = f"; it has {parts}" if parts else "; pictures are looked for in images/ and its folders"
    raise DataError(f"{source}: no pictures of the split {split}{known}")


def _names_of_split(split: str) -> tuple[str, ...]:
    return next((names for names in _ALIASES.values() if split in names), (split,))


def _named_places(root: Path, split: str, settings: Mapping) -> tuple[list[Path], list[str]]:
    """Folders and lists that the YAML file names, where they are; and those that are not there."""
    found, missing = [], []
    wanted = _names_of_split(split) if split != "all" else sum(_ALIASES.values(), ())
    for name in wanted:
        entries = settings.get(name) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and (place := _existing(root, entry, settings.get("path"))):
                found.append(place)
            else:
                missing.append(str(entry))
    return found, missing


def _ends_in(entry: str, place: Path, root: Path) -> bool:
    """Whether a path of another machine means `place`."""
    inner = place.relative_to(root).parts if place.is_relative_to(root) else ()
    return bool(inner) and PureWindowsPath(entry).parts[-len(inner) :] == inner


def _existing(root: Path, entry: str, base: Any) -> Path | None:
    """`../train/images`, as Roboflow writes it, is meant from a folder below."""
    entry = entry.replace("\\", "/")
    inner = entry
    while inner.startswith(("../", "./")):
        inner = inner.partition("/")[2]
    bases = [root / base] if isinstance(base, str) and base else []
    candidates = [folder / name for folder in (*bases, root) for name in (entry, inner)]
    return next((place for place in candidates if _exists(place)), None)


def _exists(place: Path) -> bool:
    try:
        return place.is_dir() or (place.is_file() and place.suffix.lower() == ".txt")
    except (OSError, ValueError):
        return False


def _usual_places(root: Path, split: str) -> list[Path]:
    parts = {
        place: name in _names_of_split(split)
        for name in sum(_ALIASES.values(), (split,))
        for place in (root / "images" / name, root / name / "images", root / name)
        if place.is_dir()
    }
    if split == "all":
        return [root]
    if parts:
        return [place for place, wanted in parts.items() if wanted][:1]
    # A set without parts is whole.
    whole = root / "images" if (root / "images").is_dir() else root
    return [whole] if split in _WHOLE_SETS else []


def _pictures_at(place: Path) -> Iterator[Path]:
    """Of a folder and those below it, or of a list of paths."""
    if place.is_file():
        yield from _listed_pictures(place)
        return
    for folder, below, _ in os.walk(place):
        below.sort()
        yield from pictures_of(Path(folder))


def _listed_pictures(file: Path) -> Iterator[Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); give a list of pictures") from None
    for line in filter(None, map(str.strip, lines)):
        inner = line.removeprefix("./")
        candidates = (file.parent / inner, Path(line))
        yield next((path for path in candidates if os.path.exists(path)), candidates[0])


def _label_of(picture: Path) -> Path | None:
    """In `labels/` where the picture is in `images/`, in `labels/` beside it, or beside the picture."""
    name = f"{picture.stem}.txt"
    candidates = [picture.parent / "labels" / name, picture.parent / name]
    parts = list(picture.parent.parts)
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        candidates.insert(0, Path(*parts[:place], "labels", *parts[place + 1 :], name))
    return next((path for path in candidates if os.path.isfile(path)), None)


def _names_of_settings(settings: Mapping, source: str) -> dict[str, str]:
    names = settings.get("names")
    if names is None:
        return {}
    pairs = (
        names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else None
    )
    if pairs is None:
        raise DataError(f"{source}: 'names' is {names!r:.40}; give a list of names")
    return {key(number): str(name) for number, name in pairs if key(number) is not None}


def _names_of_file(root: Path, labels: list[Path | None]) -> dict[str, str]:
    """A line for each class."""
    folders = [root, *dict.fromkeys(label.parent for label in labels if label is not None)]
    for path in (folder / name for folder in folders for name in _NAME_FILES):
        if path.is_file():
            try:
                lines = path.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{path}: cannot be read ({error}); give a name on each line") from None
            names = [line.strip() for line in lines]
            return {str(number): name for number, name in enumerate(names) if name}
    return {}


def _keypoints(settings: Mapping) -> tuple[int, int] | None:
    shape = settings.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2:
        return None
    count, values = (whole(key(value)) for value in shape)
    return (count, values) if count is not None and count > 0 and values in (2, 3) else None


def _strays(pictures: list[Path], labels: list[Path | None]) -> list[Path]:
    used = {label for label in labels if label is not None}
    folders = dict.fromkeys(label.parent for label in labels if label is not None)
    listed = [path for folder in folders for path in files_of(folder, [".txt"])]
    return [path for path in listed if path not in used and path.name not in _NAME_FILES]
