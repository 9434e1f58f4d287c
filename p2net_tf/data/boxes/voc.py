"""Pascal VOC: an XML file for each picture, with corners that count pixels from 1.

M. Everingham et al., IJCV 2010. A box from `xmin` to `xmax` holds both of these pixels, so it spans
`xmin - 1` to `xmax` in continuous coordinates. Tools that write this form often count from 0, which a corner
at 0 tells. `difficult` objects are neither to be found nor background, as COCO's crowds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.picture_files import PictureFiles
from p2net_tf.data.annotations.reading import USUAL, Reading
from p2net_tf.data.boxes.classes import Listed
from p2net_tf.data.boxes.folders import files_of, pictures_of
from p2net_tf.data.boxes.labels import Label, LabelFormat, scenes_of_labels
from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.boxes.voc_xml import VocFault, VocFile, read_voc_file
from p2net_tf.data.samples import DataError
from p2net_tf.data.scenes import Scenes
from p2net_tf.utils.paths import as_path

FirstPixel = Literal[0, 1]

_FORMAT = LabelFormat("xyxy", "pixels")
_EVERYTHING = ("all", "train")
"""Splits of a folder that has no lists of its parts."""
_FROM_ZERO = 0.01
"""Part of the boxes with a corner at 0 above which the set counts from 0. Published sets have a few slips."""


@dataclass(frozen=True)
class _Layout:
    """Where the files of a set lie."""

    annotations: Path
    pictures: Path
    files: list[Path]
    is_whole: bool = False
    """Whether the files are all there are, and no list chooses among them."""


def read_voc_scenes(
    root: str | Path,
    split: str = "train",
    classes: Sequence[str] = (PERSON,),
    exif_orientation: bool = False,
    reading: Reading = USUAL,
    first_pixel: FirstPixel | None = None,
) -> Scenes:
    """Reads the boxes of a folder of XML files.

    Args:
        root: holds `Annotations/`, `JPEGImages/` and `ImageSets/`, or a folder that does; or `<split>/` with
            XML files beside the pictures.
        split: a list of `ImageSets/Main`; `all` takes every file.
        classes: names; empty for all, in the order of the alphabet.
        exif_orientation: the coordinates refer to the images as EXIF turns them.
        reading: how to read what files of this form do not agree on.
        first_pixel: what the first column and row are called; None is told by the numbers.

    Raises:
        DataError: no such files, an unknown split, or none of the classes.
    """
    root = as_path(root, "root")
    layout = _find_layout(root, split)
    notebook = Notebook(str(layout.annotations))
    images = _images(root, layout, _read_files(layout, notebook), notebook)
    labels = _labels(images, notebook)
    if reading.coordinates in (None, "pixels", "declared"):
        labels = _from_corner(labels, first_pixel, notebook)
    names = sorted({label.kind for label in labels if label.kind is not None})
    listed = {name: Listed(number, name) for number, name in enumerate(names, 1)}
    pictures = [image for image, _ in images]
    return scenes_of_labels(pictures, labels, listed, classes, _FORMAT, reading, exif_orientation, notebook)


def find_voc_folder(root: Path) -> Path | None:
    """The folder with `Annotations/`: `root`, or the only such one up to two levels below it."""
    if (root / "Annotations").is_dir():
        return root
    below = sorted({path.parent for pattern in ("*", "*/*") for path in root.glob(f"{pattern}/Annotations")})
    if len(below) > 1:
        raise DataError(f"{root}: holds several sets, {below[0]} and {below[1]}; give one of them as root")
    return below[0] if below else None


def _find_layout(root: Path, split: str) -> _Layout:
    base = find_voc_folder(root)
    if base is None:
        return _flat_layout(root, split)
    folder = base / "Annotations"
    pictures = next(
        (base / name for name in ("JPEGImages", "images", "Images") if (base / name).is_dir()), folder
    )
    lists = next(
        (base / name for name in ("ImageSets/Main", "ImageSets") if list((base / name).glob("*.txt"))), None
    )
    if split == "all" or lists is None:
        if lists is None:
            _demand_whole(base, split)
        return _Layout(folder, pictures, _some(files_of(folder, [".xml"]), folder), True)
    file = lists / f"{split}.txt"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in lists.glob("*.txt"))[:12])
        raise DataError(f"{file}: not found; split is one of {known}, or all")
    return _Layout(folder, pictures, [folder / f"{stem}.xml" for stem in _stems(file)])


def _flat_layout(root: Path, split: str) -> _Layout:
    """XML files beside the pictures."""
    for folder in (root / split, root):
        files = files_of(folder, [".xml"])
        if files:
            if folder == root:
                _demand_whole(root, split)
            return _Layout(folder, folder, files, True)
    raise DataError(
        f"{root}: neither Annotations/ nor XML files there or in {split}/; give the folder of a Pascal VOC "
        "set"
    )


def _demand_whole(base: Path, split: str) -> None:
    """A set without lists has one part."""
    if split not in _EVERYTHING:
        raise DataError(
            f"{base}: has no ImageSets/Main/{split}.txt, so there is one part only; take split: all, with "
            "rows: [start, stop] for a part of it"
        )


def _some(files: list[Path], folder: Path) -> list[Path]:
    if not files:
        raise DataError(f"{folder}: holds no XML file; give the folder of a Pascal VOC set")
    return files


def _stems(file: Path) -> list[str]:
    """The pictures of a list, each once. In lists of one class a flag follows the name."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); give a list of names") from None
    stems = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not stems:
        raise DataError(f"{file}: names no picture; choose another split")
    return [stem.removesuffix(".xml").removesuffix(".jpg") for stem in stems]


def _read_files(layout: _Layout, notebook: Notebook) -> list[VocFile]:
    found = []
    for path in layout.files:
        try:
            found.append(read_voc_file(path))
        except VocFault as fault:
            detail, remedy = fault.args
            notebook.error("annotation_file", f"{detail}; its picture is left out", remedy, file=str(path))
    return found


def _images(
    root: Path, layout: _Layout, found: list[VocFile], notebook: Notebook
) -> list[tuple[Image, VocFile]]:
    """The picture of each file: that of the same name, else the one that the file names."""
    same_name: dict[str, list[Path]] = {}
    for picture in pictures_of(layout.pictures):
        same_name.setdefault(picture.stem, []).append(picture)
    paths = [_picture_beside(same_name.get(file.path.stem, []), file) for file in found]
    files = PictureFiles(root, layout.pictures)
    names = [
        None if path is not None else file.filename or f"{file.path.stem}.jpg"
        for path, file in zip(paths, found, strict=True)
    ]
    images, seen = [], {}
    named = files.find_all(names)
    for number, (path, (other, rivals), file) in enumerate(zip(paths, named, found, strict=True), 1):
        place = other if path is None else str(path)
        if rivals:
            detail = f"'{file.filename}' may be {rivals[0]} or {rivals[1]}"
            notebook.error("image_ambiguous", detail, "remove one of them", None, number, str(file.path))
        elif place in seen:
            detail = f"is of the same picture as {seen[place]}; its objects are left out"
            notebook.error("duplicate_image", detail, "keep one of them", None, number, str(file.path))
        else:
            seen[place] = file.path.name
            images.append((Image(number, file.path.stem, None, place, file.size), file))
    files.note_used(len(images), notebook)
    if layout.is_whole:
        _note_unlabeled([path for own in same_name.values() for path in own], found, seen, notebook)
    return images


def _note_unlabeled(pictures: list[Path], found: list[VocFile], used, notebook: Notebook) -> None:
    stems = {file.path.stem for file in found}
    # A file that cannot be read is listed itself.
    stems |= {Path(problem.file).stem for problem in notebook.problems if problem.kind == "annotation_file"}
    unlabeled = [path for path in pictures if path.stem not in stems and str(path) not in used]
    if unlabeled:
        detail = (
            f"{len(unlabeled)} of {len(pictures)} pictures have no XML file, e.g. {unlabeled[0].name}: "
            "left out"
        )
        notebook.warning("label_file_missing", detail, "label them, or write files without objects")


def _picture_beside(pictures: list[Path], file: VocFile) -> Path | None:
    """Of several suffixes the one that the file names."""
    named = [picture for picture in pictures if picture.name == file.filename]
    return next(iter(named or pictures), None)


def _labels(images: list[tuple[Image, VocFile]], notebook: Notebook) -> list[Label]:
    labels = []
    for image, file in images:
        for place, found in enumerate(file.objects, 1):
            if found.polygon:
                notebook.rules["no bndbox: that of the polygon"] += 1
            label = Label(
                image,
                str(file.path),
                f"object {place}",
                len(labels) + 1,
                found.name,
                _in_order(found.corners, notebook),
                found.difficult,
                found.fault,
            )
            labels.append(label)
    return labels


def _in_order(corners: np.ndarray, notebook: Notebook) -> np.ndarray:
    """Boxes that were drawn from the right or from below."""
    if not np.isfinite(corners).all():
        return corners
    ordered = np.concatenate([np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])])
    if not np.array_equal(ordered, corners):
        notebook.rules["xmin or ymin is the larger one: exchanged with xmax or ymax"] += 1
    return ordered


def _from_corner(labels: list[Label], first_pixel: FirstPixel | None, notebook: Notebook) -> list[Label]:
    """In continuous coordinates."""
    if first_pixel is None:
        at_zero = np.asarray([np.any(label.box[:2] <= 0) for label in labels], bool)
        share = float(at_zero.mean()) if len(labels) else 0.0
        first_pixel = 0 if share > _FROM_ZERO else 1
        if first_pixel == 0:
            detail = f"{share:.0%} of the boxes begin at 0, so pixels are counted from 0"
            notebook.note("first_pixel", detail, "first_pixel: 1 takes them as Pascal VOC's own")
    before = np.asarray([first_pixel, first_pixel, 0, 0], np.float64)
    return [
        replace(label, box=label.box - before) if np.isfinite(label.box).all() else label for label in labels
    ]
