"""The worst errors of a detector as pictures: the box, the true ones around it, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf

from p2net_tf.data.crops import picture
from p2net_tf.data.image_files import decode_image
from p2net_tf.evaluation.boxes.error_tables import COLORS
from p2net_tf.evaluation.boxes.error_types import MISSED, BoxAnalysis
from p2net_tf.evaluation.error_analysis.sheet import Pictures
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons import drawing

_TILE = (240, 240)
_PADDING = 1.8
"""Room around the boxes: what is there explains most errors."""
_SMALLEST_VIEW = 40.0
"""Pixels of the image, around small boxes."""
_FOUND = (110, 170, 255)
"""Color of boxes that find something."""


@dataclass(frozen=True)
class _View:
    """One tile: its picture, the box in question, and what is drawn around it."""

    image_id: int | str
    box: np.ndarray
    label: str | None
    others: np.ndarray
    truths: np.ndarray
    caption: str


def draw_worst_boxes(
    analysis: BoxAnalysis, pictures: Pictures, name: str, count: int = 12
) -> np.ndarray | None:
    """A contact sheet of the worst errors of one kind.

    Of boxes those of the highest scores, of missed objects the largest. True boxes are white, other found
    ones from the limit on blue, the box in question has the color of its kind.

    Returns:
        `[H, W, 3]` uint8 RGB; None where there is no such error.
    """
    rows = worst_rows(analysis, name)[:count]
    if not len(rows):
        return None
    view_of = _missed_view if name == MISSED else partial(_found_view, name=name)
    views = [view_of(analysis, int(row)) for row in rows]
    readers = pictures.readers(sorted({view.image_id for view in views}, key=str))
    tiles = [_tile(view, readers[view.image_id], pictures, COLORS[name]) for view in views]
    return drawing.contact_sheet(tiles, columns=6, captions=[view.caption for view in views])


def worst_rows(analysis: BoxAnalysis, name: str) -> np.ndarray:
    """Rows of the errors of a kind, the worst first."""
    rows = analysis.errors.rows_of(name)
    case = analysis.case
    badness = np.prod(case.truth_boxes[:, 2:], axis=1) if name == MISSED else case.scores
    return rows[np.argsort(-badness[rows], kind="stable")]


def _missed_view(analysis: BoxAnalysis, row: int) -> _View:
    case = analysis.case
    place, box = case.truth_pictures[row], case.truth_boxes[row]
    image_id = case.dataset["images"][place]["id"]
    what = f"missed, {box[2]:.0f}x{box[3]:.0f} px{_class_of(analysis, case.truth_classes[row])}"
    caption = f"{what}\nimage {image_id}"
    return _View(image_id, box, None, _kept_in(analysis, place), _truths_in(analysis, place, row), caption)


def _found_view(analysis: BoxAnalysis, row: int, name: str) -> _View:
    case, errors = analysis.case, analysis.errors
    place, score = case.pictures[row], case.scores[row]
    image_id = case.dataset["images"][place]["id"]
    overlap = f", IoU {errors.ious[row]:.2f}" if errors.ious[row] > 0 else ""
    caption = f"{name}{overlap}{_class_of(analysis, case.classes[row])}\nimage {image_id}"
    others = _kept_in(analysis, place, row)
    return _View(image_id, case.boxes[row], f"{score:.2f}", others, _truths_in(analysis, place), caption)


def _class_of(analysis: BoxAnalysis, row: int) -> str:
    names = analysis.case.class_names
    return f", {names[row]}" if len(names) > 1 and row >= 0 else ""


def _kept_in(analysis: BoxAnalysis, place: int, but: int | None = None) -> np.ndarray:
    case = analysis.case
    kept = (case.pictures == place) & (case.scores >= analysis.result.at_limit.limit)
    return _rows_but(case.boxes, kept, but)


def _truths_in(analysis: BoxAnalysis, place: int, but: int | None = None) -> np.ndarray:
    return _rows_but(analysis.case.truth_boxes, analysis.case.truth_pictures == place, but)


def _rows_but(boxes: np.ndarray, mask: np.ndarray, but: int | None) -> np.ndarray:
    rows = np.flatnonzero(mask)
    return boxes[rows if but is None else rows[rows != but]]


def _tile(view: _View, read: Callable, pictures: Pictures, color: str) -> np.ndarray:
    try:
        image = decode_image(read(), pictures.exif_orientation)
    except tf.errors.OpError as error:
        return drawing.text_tile(_TILE, f"image {view.image_id}: {error.message}")
    crop, matrix = picture(image, np.float32(_window(view.box)), _TILE, _PADDING)
    for boxes, shade in ((view.truths, drawing.WHITE), (view.others, _FOUND)):
        for box in boxes:
            crop = drawing.draw_box(crop, _on_tile(box, matrix), shade, width=1)
    return drawing.draw_box(crop, _on_tile(view.box, matrix), _rgb(color), view.label, width=2)


def _window(box: np.ndarray) -> np.ndarray:
    size = np.maximum(box[2:], _SMALLEST_VIEW)
    return np.concatenate([box[:2] + box[2:] / 2 - size / 2, size])


def _on_tile(box: np.ndarray, matrix) -> np.ndarray:
    ends = np.float32([box[:2], box[:2] + box[2:]])
    low, high = np.asarray(geometry.transform_points(ends, matrix))
    return np.concatenate([low, high - low])


def _rgb(color: str) -> drawing.Color:
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue
