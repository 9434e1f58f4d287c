"""The worst poses of an error analysis as pictures: prediction, truth, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.values import same_id
from p2net_tf.data.coco import PIXEL_CENTER
from p2net_tf.data.crops import picture
from p2net_tf.data.image_files import FileReader, decode_image
from p2net_tf.data.image_sources import image_readers
from p2net_tf.data.samples import Samples
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.keypoints import GOOD, JITTER, NOT_COUNTED, TYPES
from p2net_tf.evaluation.error_analysis.plots import COLORS
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.visibility import VISIBLE
from p2net_tf.skeletons import drawing

_TILE = (288, 288)
_PADDING = 1.5
"""Room around the person: swaps and misses lie outside."""
_SMALLEST_VIEW = 48.0
"""Pixels of the image, where a person has few labels."""


@dataclass(frozen=True)
class Pictures:
    """The images of an analysis.

    Attributes:
        readers: image ids to a dict of functions, each of which gives the bytes of that image's file.
        offset: of continuous coordinates from those of the analysis, in pixels.
        exif_orientation: whether the coordinates refer to the images as EXIF turns them.
    """

    readers: Callable[[Sequence], dict]
    offset: float
    exif_orientation: bool = False


def pictures_of_samples(samples: Samples, offset: float) -> Pictures:
    """Those that an evaluation read."""
    ids, rows = np.unique(samples.image_ids, return_index=True)
    row_of = dict(zip(ids.tolist(), rows.tolist(), strict=True))

    def readers(image_ids: Sequence) -> dict:
        read = image_readers(samples, [row_of[image_id] for image_id in image_ids])
        return {image_id: read[row_of[image_id]] for image_id in image_ids}

    return Pictures(readers, offset, samples.exif_orientation)


def pictures_in_folder(
    folder: str | Path, ground_truth: str | Path, offset: float = PIXEL_CENTER
) -> Pictures:
    """The files that COCO ground truth names, in one folder."""
    path_of = {
        image["id"]: str(Path(folder) / str(image.get("file_name", image["id"])))
        for image in load_json(ground_truth)["images"]
    }
    return pictures_at(path_of, offset)


def pictures_at(
    path_of: Mapping[int | str, str], offset: float = 0.0, exif_orientation: bool = False
) -> Pictures:
    """The files at paths by the ids of images, which may be text for numbers; else as in `Pictures`."""
    path_of = {str(same_id(given)): path for given, path in path_of.items()}

    def readers(image_ids: Sequence) -> dict:
        return {
            image_id: partial(_contents, path_of[str(image_id)], exif_orientation) for image_id in image_ids
        }

    return Pictures(readers, offset, exif_orientation)


def _contents(path: str, exif_orientation: bool):
    return FileReader([path], exif_orientation).contents(0)


def draw_worst(analysis: ErrorAnalysis, pictures: Pictures, count: int = 24) -> np.ndarray | None:
    """A contact sheet of the matched poses that lose the most similarity to errors, the worst first.

    The truth is white, the prediction in the colors of its card. From every wrong keypoint a line leads to
    where it belongs, in the color that its type has in the plots.

    Returns:
        `[H, W, 3]` uint8 RGB; None where there is no error.
    """
    pairs = worst_pairs(analysis)[:count]
    if not len(pairs):
        return None
    readers = pictures.readers(sorted({_image_of(analysis, pair) for pair in pairs}))
    tiles = [_tile(analysis, pictures, readers, pair) for pair in pairs]
    return drawing.contact_sheet(tiles, columns=6, captions=[_caption(analysis, pair) for pair in pairs])


def worst_pairs(analysis: ErrorAnalysis) -> np.ndarray:
    """Rows of the matched pairs that have an error, by the similarity that their errors lose."""
    errors = analysis.errors
    lost = np.sum((1 - errors.similarities) * (errors.types > GOOD), axis=1)
    order = np.argsort(-lost, kind="stable")
    return order[lost[order] > 0]


def _image_of(analysis: ErrorAnalysis, pair: int):
    """Its id."""
    return analysis.case.dataset["annotations"][analysis.matches.person_rows[pair]]["image_id"]


def _tile(analysis: ErrorAnalysis, pictures: Pictures, readers: dict, pair: int) -> np.ndarray:
    case, row, image_id = analysis.case, analysis.matches.person_rows[pair], _image_of(analysis, pair)
    try:
        image = decode_image(readers[image_id](), pictures.exif_orientation)
    except tf.errors.OpError as error:
        return drawing.text_tile(_TILE, f"image {image_id}: {error.message}")
    types = analysis.errors.types[pair]
    truth = case.truth[row, :, :2] + pictures.offset
    predicted = case.keypoints[analysis.matches.pose_rows[pair]] + pictures.offset
    crop, matrix = picture(image, _box_around(truth[types != NOT_COUNTED]), _TILE, _PADDING)
    truth, predicted = (
        np.asarray(geometry.transform_points(np.float32(xy), matrix)) for xy in (truth, predicted)
    )
    return _draw_pair(crop, truth, predicted, types, case.skeleton)


def _box_around(points: np.ndarray) -> np.ndarray:
    """xywh."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.maximum(high - low, _SMALLEST_VIEW)
    return np.float32([*((low + high - size) / 2), *size])


def _draw_pair(crop, truth, predicted, types, skeleton) -> np.ndarray:
    shown = np.where(types == NOT_COUNTED, 0, VISIBLE)[:, None]
    white = replace(skeleton, limbs=tuple(replace(limb, color=drawing.WHITE) for limb in skeleton.limbs))
    crop = drawing.draw_skeleton(crop, np.hstack([truth, shown]), white, width=1)
    crop = drawing.draw_skeleton(crop, np.hstack([predicted, shown]), skeleton, width=2)
    for row in np.flatnonzero((types > GOOD) & np.isfinite(predicted).all(1)):
        color = tuple(bytes.fromhex(COLORS[TYPES[types[row]]][1:]))
        start, end = (tuple(np.rint(point).astype(int).tolist()) for point in (predicted[row], truth[row]))
        cv2.line(crop, start, end, color, 1, cv2.LINE_AA)
        cv2.circle(crop, start, 6, color, 2, cv2.LINE_AA)
    return crop


def _caption(analysis: ErrorAnalysis, pair: int) -> str:
    counts = np.bincount(analysis.errors.types[pair] - NOT_COUNTED, minlength=len(TYPES) + 1)[1:]
    found = ", ".join(f"{counts[row]} {TYPES[row]}" for row in range(JITTER, len(TYPES)) if counts[row])
    oks, score = analysis.errors.oks[pair], analysis.case.scores[analysis.matches.pose_rows[pair]]
    return f"image {_image_of(analysis, pair)}, OKS {oks:.2f}, score {score:.2f}\n{found}"
