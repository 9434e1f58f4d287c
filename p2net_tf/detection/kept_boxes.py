"""Boxes that a detector found, kept as a file: the same detector is asked about the same pictures once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from p2net_tf.data.annotation_files import load_json, write_json
from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.image_files import decode_file
from p2net_tf.data.samples import DataError
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.utils.console import messages, track


def boxes_folder() -> Path:
    """In the folder of Keras, `KERAS_HOME` or `~/.keras`; it may be emptied at any time."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "p2net_tf" / "boxes"


def kept_boxes(
    detector: PersonDetector,
    pictures: Mapping[int | str, str | None],
    exif_orientation: bool = False,
    category_id: int | str = PERSON,
    folder: Path | None = None,
) -> Path:
    """A COCO detection file `[{image_id, category_id, bbox, score}, ...]` of the people of `pictures`.

    It is kept under what it depends on: weights and settings of the detector; names, sizes and times of the
    pictures. A picture that cannot be read has no box; whoever evaluates finds it broken, too.

    Args:
        pictures: id to path; None where there is no file.
        exif_orientation: turn the pictures as EXIF says.
        folder: to keep it in; None is `boxes_folder()`.

    Raises:
        WriteError: it cannot be written.
    """
    asked = {"exif": exif_orientation, "category": category_id, "pictures": _stated(pictures)}
    digest = detector.digest  # of all weights, so asked for once
    key = hashlib.sha256(f"{digest}{json.dumps(asked)}".encode()).hexdigest()[:32]
    file = (folder or boxes_folder()) / f"{key}.json"
    if digest is not None and _is_whole(file):
        messages.print(f"boxes of this detector are known: {file}", soft_wrap=True)
        return file
    found = []
    for image_id, path in track(pictures.items(), "detecting", total=len(pictures)):
        found += _boxes_of(detector, path, exif_orientation, image_id, category_id)
    write_json(file, found)
    messages.print(f"{len(found)} boxes in {len(pictures)} pictures, kept in {file}", soft_wrap=True)
    return file


def _boxes_of(
    detector: PersonDetector, path: str | None, exif_orientation: bool, image_id, category_id
) -> list:
    try:
        picture = None if path is None else decode_file(path, exif_orientation)
    except ValueError:
        picture = None
    if picture is None:
        return []
    boxes = detector.detect_in(picture)
    return [
        {"image_id": image_id, "category_id": category_id, "bbox": window, "score": score}
        for window, score in zip(boxes.windows.tolist(), boxes.scores.tolist(), strict=True)
    ]


def _stated(pictures: Mapping[int | str, str | None]) -> list:
    """What tells another picture from the one that was seen, without reading it."""
    found = []
    for image_id, path in pictures.items():
        try:
            status = None if path is None else os.stat(path)
        except OSError:
            status = None
        found.append([image_id, path, status and [status.st_size, status.st_mtime_ns]])
    return found


def _is_whole(file: Path) -> bool:
    try:
        return file.is_file() and isinstance(load_json(file), list)
    except DataError:
        return False
