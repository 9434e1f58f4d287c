"""Why a box AP is nearly 0: each check looks for one wiring fault and answers with a sentence."""

from __future__ import annotations

import numpy as np

from p2net_tf.data.annotations.boxes import as_xywh, overlaps
from p2net_tf.evaluation.boxes.case import BoxCase
from p2net_tf.evaluation.coco_diagnostics import (
    NORMALIZED_UP_TO,
    DiagnosedCase,
    first_finding,
    unknown_images,
    wrong_ids,
)

_AGREED, _BETTER = 0.4, 1.5
"""Boxes are meant in another form where in it they overlap true ones by so much (median IoU), and so many
times as much as in the form that is read."""
_LARGEST_AREA = 2.0
"""Times the box: segments are within it, but for rounding."""


def always_said(case: BoxCase) -> list[str]:
    """Findings worth a sentence at any AP."""
    return [
        *unknown_images(case.dataset, case.detections),
        *_unknown_classes(case),
        *_mirrored(case),
        *_too_large_areas(case),
    ]


def why_so_low(case: BoxCase) -> list[str]:
    """Every cause that is found; where there is none, how close the boxes come."""
    if not case.detections and len(case.crowds) and case.crowds.all():
        return ["There is nothing to find: all objects are crowds, to be ignored."]
    if not case.detections:
        return ["The predictions are empty: check the detector and its score threshold."]
    diagnosed = DiagnosedCase(case.dataset, case.detections, things="objects")
    findings = wrong_ids(diagnosed)
    if diagnosed.matched.size == 0 or not len(case.truth_boxes):
        return findings
    findings += first_finding((_flat, _normalized, _other_form), case)
    return findings or [_poor_boxes(case)]


def _unknown_classes(case: BoxCase) -> list[str]:
    """Of some of the boxes; where it is all, `wrong_ids` says so."""
    unknown = [found for found, row in zip(case.used, case.classes.tolist(), strict=True) if row < 0]
    if not unknown or len(unknown) == len(case.used):
        return []
    return [
        f"{len(unknown)} of {len(case.used)} predictions do not count, their category ids (e.g. "
        f"{unknown[0]['category_id']!r}) are not in the ground truth: give those of its 'categories'"
    ]


def _mirrored(case: BoxCase) -> list[str]:
    """As pycocotools has it, they are boxes that match nothing."""
    rows = np.flatnonzero(np.any(case.boxes[:, 2:] < 0, axis=1))
    if not len(rows):
        return []
    return [
        f"{len(rows)} of {len(case.used)} predicted boxes have a width or height below 0, e.g. "
        f"{case.boxes[rows[0]].tolist()}: they match nothing, and count as false; give x, y, width and height"
    ]


def _too_large_areas(case: BoxCase) -> list[str]:
    """They only sort objects into small, medium and large ones, as pycocotools has it."""
    areas = np.asarray([entry["area"] for entry in case.dataset["annotations"]], np.float64)
    whole = np.prod(case.truth_boxes[:, 2:], axis=1)
    rows = np.flatnonzero((areas > _LARGEST_AREA * whole) & (whole > 0))
    if not len(rows):
        return []
    row = rows[0]
    return [
        f"{len(rows)} of {len(areas)} objects have an area that their box cannot have, e.g. {areas[row]:.4g} "
        f"in one of {whole[row]:.4g}: by it they are counted as small, medium or large; give square pixels"
    ]


def _flat(case: BoxCase) -> str | None:
    if np.any(np.all(case.boxes[:, 2:] > 0, axis=1)):
        return None
    return "No predicted box has a width and a height above 0: give x, y, width and height."


def _normalized(case: BoxCase) -> str | None:
    if np.abs(case.boxes).max() > NORMALIZED_UP_TO or case.truth_boxes.max() <= 2 * NORMALIZED_UP_TO:
        return None
    return (
        "The predicted boxes lie within 0..1 while the ground truth is in pixels: multiply x and width by "
        "the width and y and height by the height of the image."
    )


def _other_form(case: BoxCase) -> str | None:
    """Corners, or centres, for x, y, width and height; or y before x."""
    forms = {
        "x, y, width, height": case.boxes,
        "corners x1, y1, x2, y2": as_xywh(case.boxes, "xyxy"),
        "centre, width, height": as_xywh(case.boxes, "cxcywh"),
        "y, x, height, width": case.boxes[:, [1, 0, 3, 2]],
        "corners y1, x1, y2, x2": as_xywh(case.boxes, "xyxy")[:, [1, 0, 3, 2]],
    }
    medians = {name: float(np.median(_best_overlaps(case, boxes))) for name, boxes in forms.items()}
    read, best = next(iter(medians)), max(medians, key=lambda name: medians[name])
    if best == read or medians[best] < _AGREED or medians[best] < _BETTER * medians[read]:
        return None
    return (
        f"The predicted boxes overlap true ones by {medians[read]:.2f} (median IoU), and by "
        f"{medians[best]:.2f} read as {best}: give {read} in pixels."
    )


def _poor_boxes(case: BoxCase) -> str:
    mean = float(np.mean(_best_overlaps(case, case.boxes)))
    return (
        f"Ids, categories and coordinates fit together, but the best box of an object reaches an IoU of "
        f"{mean:.3f} on average: check the size of the picture that the network sees, then the model itself."
    )


def _best_overlaps(case: BoxCase, boxes: np.ndarray) -> np.ndarray:
    """`[n]` the IoU of the best of `boxes [D, 4]`, for each object on a picture with any."""
    best = [
        overlaps(case.truth_boxes[truths, None], boxes[None, found]).max(axis=1)
        for found, truths in case.pairs_of_pictures()
        if len(truths)
    ]
    return np.concatenate(best) if best else np.zeros(1)
