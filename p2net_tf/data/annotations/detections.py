"""Detected boxes `{image_id, category_id, bbox, score}` of the images of an annotation file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import entries_of, load_json
from p2net_tf.data.annotations.boxes import read_box
from p2net_tf.data.annotations.coordinates import Scales
from p2net_tf.data.annotations.document import Document
from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.values import key, number
from p2net_tf.data.samples import DataError


@dataclass(frozen=True)
class Detection:
    """A detected box: its place in the file from 1 on, `[4]` xywh and score."""

    number: int
    image: Image
    box: np.ndarray
    score: float


def read_detections(path: Path, document: Document, notebook: Notebook) -> list[Detection]:
    """The people that were detected on the images of `document`.

    Raises:
        DataError: the file holds no list of detections.
    """
    entries = _entries(load_json(path), path)
    accepted = _categories(entries, document, notebook)
    dicts = [entry for entry in entries if isinstance(entry, dict)]
    scored = any(entry.get("score") is not None for entry in dicts)
    if dicts and not scored:
        notebook.note("score", "no detection has a score: 1 is taken for all")
    wanted = document.reading.of_detections.coordinates
    scales = document.scales if wanted == document.reading.coordinates else document.scales_of(wanted)
    found = []
    for place, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            notebook.error("detection", "an entry is no object", "give image_id, bbox and score", place)
        elif entry.get("category_id") is None or key(entry["category_id"]) in accepted:
            detection = _detection(entry, place, document, scales, scored, notebook)
            found += [] if detection is None else [detection]
    return found


def _entries(content: Any, path: Path) -> list:
    entries = entries_of(content)
    if entries is None:
        raise DataError(f"{path}: holds a {type(content).__name__} where a list of detections is expected")
    return entries


def _categories(entries: list, document: Document, notebook: Notebook) -> set:
    """Keys of the categories that are people; that of all detections where it is one and not the file's."""
    counts = Counter(key(entry.get("category_id")) for entry in entries if isinstance(entry, dict))
    counts.pop(None, None)
    known = set(document.categories.read) | {"person", "Person", str(document.reading.category)}
    if not counts or known & set(counts):
        return known
    if len(counts) == 1:
        only = next(iter(counts))
        notebook.note("category", f"all detections are of the category {only}: read as people")
        return {only}
    return known


def _detection(
    entry, place: int, document: Document, scales: Scales, scored: bool, notebook: Notebook
) -> Detection | None:
    image, given = document.images.find(entry.get("image_id")), entry.get("image_id")
    if image is None and given is None:
        given = entry.get("file_name")
        image = document.images.find_file(given)
    image_id = None if image is None else image.number
    if image is None:
        remedy = "add the image or remove the annotation"
        notebook.error("unknown_image_id", f"image id {given} is not in the annotation file", remedy, place)
    box = read_box(entry.get("bbox"), document.reading.detection_boxes or "xywh")
    if box is None:
        detail = f"bbox {entry.get('bbox')!r:.60} is no box with an area"
        notebook.error("box_empty", detail, "give x, y, width and height", place, image_id)
    score = number(entry.get("score")) if scored else 1.0
    if score is None:
        notebook.error("score", "'score' is missing or not finite", "give a score", place, image_id)
    if image is None or image.path is None or box is None or score is None:
        return None
    factors = scales.factors(image)
    if factors is None:
        detail = f"image {image.given} declares no width and height, which coordinates: declared needs"
        notebook.error("declared_size", detail, "give the image entry width and height", place, image_id)
        return None
    return Detection(place, image, box * np.tile(factors, 2), score)
