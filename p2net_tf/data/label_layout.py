"""Whether the labels of a set are of the form in which they are read.

Files do not say whether x and y are pixels or fractions, of which size of the pictures, and in which order,
nor what the four numbers of a box are. Read in another form they are valid numbers, on which a network learns
nothing. The numbers themselves tell: by the sizes of the pictures, and by boxes that fit their keypoints in
one form alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from p2net_tf.data.annotations.boxes import as_xywh, overlaps
from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.box_layout import X_FIRST, Remedies, box_layout_problems, leaving_boxes, thousandths_of
from p2net_tf.data.extents import keypoint_extents
from p2net_tf.data.label_fit import (
    AGREED,
    BETTER,
    EXTENDED,
    FEW,
    FRACTION,
    MOST,
    PERCENT,
    SMALL_PICTURE,
    in_thousandths,
    labels_fit,
    labels_in_boxes,
    reach,
    slack_of,
)
from p2net_tf.data.mixed_labels import corner_boxes
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED

KINDS = ("coordinates", "axes", "box_form", "box_fit", "category", "scores")
"""Of errors that make all labels of a set useless."""

_NORMALIZED = "set coordinates: normalized for this data set"
_THOUSANDTHS = "set coordinates: thousandths for this data set"
_SLACK = 0.02
"""Of numbers that should be equal, and parts that should be all."""
_OUT = 0.3
"""Part of all labeled keypoints that lie outside of their pictures, from which on a set is refused. (Of COCO,
LSP and LSPET it is less than 0.001.)"""
_IN_BOX, _OUT_OF_BOXES = 0.6, 0.15
"""People of whose keypoints a smaller part lies in their box; the part of such people from which on a set is
refused. (Of 150 people of COCO and 10,000 of LSPET nobody has less than 0.8.)"""
_SOME_CORNERS = 0.2
_CORNER = 0.55
"""Part of width and height that the labels of pictures of twice the size do not leave."""
_SURELY_IN_A_CORNER = 30
"""Pictures of which not one has a label beyond, where that is no chance."""
_TOPS = ("head_top", "nose", "neck", "upper_neck")
_BOTTOMS = ("left_ankle", "right_ankle", "left_hip", "right_hip")
_STANDING = 10


def layout_problems(
    samples: Samples, sizes: np.ndarray, box_form: BoxForm = "xywh", detected: bool = True
) -> list[Problem]:
    """At most one error of `KINDS`, which then explains everything else, and warnings.

    Args:
        samples: as a reader gives them. What the user has stated (`Samples.settled`) is not doubted.
        sizes: `[N, 2]` (width, height) of the pictures, zeros where not known.
        box_form: what the four numbers of a box are in the files, as they were read.
        detected: boxes without keypoints are those of a detector, which come from another file than labels.
    """
    known = sizes[:, 0] > 0
    if not known.any():
        return []
    samples, sizes = samples.take(known), np.asarray(sizes[known], np.float64)
    if detected and not np.any(samples.keypoints[..., 2] > NOT_LABELED):
        return _detected_problems(samples, sizes)
    checks: list[Callable[[Samples, np.ndarray], list[Problem]]] = []
    if "coordinates" not in samples.settled:
        checks += [_fractions, _percents, _resized, _exchanged, _too_large]
    if "boxes" not in samples.settled:
        checks += [_box_form, _mixed_forms, partial(_box_bounds, read=box_form)]
    checks += [_box_fit]
    if "coordinates" not in samples.settled:
        checks += [_upside_down, _in_a_corner]
    found: list[Problem] = []
    for check in checks:
        found += check(samples, sizes)
        if any(problem.severity == "error" for problem in found):
            return found
    return found + _lying(samples)


def _detected_problems(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Of boxes that come from another file than labels."""
    found = box_layout_problems(samples.boxes, sizes, samples.source, Remedies(settled=samples.settled))
    if "coordinates" in samples.settled or any(problem.severity == "error" for problem in found):
        return found
    return _resized(samples, sizes) or found


def _fractions(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    points, boxes = _reach(samples)
    if sizes.min() <= 4 * FRACTION or not 0 < min(points, boxes) <= FRACTION:
        return []
    if max(points, boxes) <= FRACTION:
        detail = f"no coordinate is larger than {max(points, boxes):.3g}: they are fractions of the pictures"
        return [_of_set(samples, "error", "coordinates", detail, _NORMALIZED)]
    if np.isinf(points):
        detail = f"no coordinate of a box is larger than {boxes:.3g}: they are fractions of the pictures"
        return [_of_set(samples, "error", "coordinates", detail, _NORMALIZED)]
    what, other = ("keypoints", "boxes") if points <= FRACTION else ("boxes", "keypoints")
    detail = f"{what} are fractions of the pictures, {other} are not"
    return [_of_set(samples, "error", "coordinates", detail, "write both in pixels")]


def _percents(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    points, boxes = _reach(samples)
    reach = max(points, boxes) if np.isfinite(points) else boxes
    if not PERCENT / 2 < reach <= PERCENT or sizes.min() <= SMALL_PICTURE:
        return []
    detail = f"no coordinate is larger than {reach:.3g}, in pictures of {sizes.min():g} pixels and more"
    remedy = "set coordinates: percent for this data set, or coordinates: pixels if that is right"
    severity = "error" if len(samples) >= FEW else "warning"
    return [_of_set(samples, severity, "coordinates", f"{detail}: they may be percents", remedy)]


def _resized(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Image entries that declare another size than their files have."""
    declared = samples.label_sizes.astype(np.float64)
    stated = declared[:, 0] > 0
    differ = stated & np.any(np.abs(declared - sizes) > 1, axis=1)
    differ &= np.any(
        np.abs(declared[:, ::-1] - sizes) > 1, axis=1
    )  # turned by EXIF: the business of another check
    if not differ.any():
        return []
    row = int(np.flatnonzero(differ)[0])
    example = " and ".join(f"{width:g}x{height:g}" for width, height in (declared[row], sizes[row]))
    pictures = len(np.unique(samples.image_paths[differ]))
    detail = f"{pictures} pictures have another size than their entries declare, e.g. {example} in the file"
    ratios = sizes[differ] / declared[differ]
    alike = np.abs(ratios[:, 0] / ratios[:, 1] - 1) < _SLACK
    in_files = labels_fit(samples, sizes, slack_of(sizes))[differ]
    in_declared = labels_fit(samples, declared, slack_of(declared))[differ]
    if differ.sum() < stated.sum() / 2 or in_declared.mean() < 1 - _SLACK or not (alike.mean() > MOST):
        return [
            _of_set(samples, "warning", "declared_size", detail, "correct width and height; the file's count")
        ]
    if in_files.mean() < 1 - _SLACK:
        detail += ", and the labels fit the declared sizes alone"
        remedy = "set coordinates: declared for this data set"
    else:
        remedy = "set coordinates: declared where labels are of the declared sizes, pixels where of the files"
    return [_of_set(samples, "error", "coordinates", detail, remedy)]


def _exchanged(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Labels that leave their pictures, and would not with y before x."""
    labeled = np.any(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    if not labeled.any():
        return []
    people, sizes = samples.take(labeled), sizes[labeled]
    out, out_exchanged = (~labels_fit(people, part, slack_of(part)) for part in (sizes, sizes[:, ::-1]))
    if out.sum() < max(2, len(people) / 10) or out_exchanged.any():
        return []
    detail = (
        f"the labels of {out.sum()} of {len(people)} people leave their pictures; with x for y all would fit"
    )
    return [_of_set(samples, "error", "axes", detail, X_FIRST)]


def _too_large(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Labels of larger pictures than the files hold, in which they then lie anywhere."""
    xy, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    slack = slack_of(sizes)[:, None]
    out = labeled & np.any((xy < -slack) | (xy > sizes[:, None] + slack), axis=-1)
    people = int(out.any(axis=1).sum())
    if people < 2 or out.sum() < _OUT * labeled.sum():
        return []
    detail = (
        f"{out.sum()} of {labeled.sum()} keypoints lie outside of their pictures, those of {people} of "
        f"{len(samples)} people"
    )
    points, _ = _reach(samples)
    if in_thousandths(points):
        return [_of_set(samples, "error", "coordinates", f"{detail}, {thousandths_of(points)}", _THOUSANDTHS)]
    detail += ": they are of pictures of another size"
    remedy = "declare that size in the image entries, with coordinates: declared for this data set"
    return [_of_set(samples, "error", "coordinates", detail, remedy)]


def _box_fit(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Keypoints and boxes that are not of the same people, or not of the same unit."""
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    people = samples.take(labels >= EXTENDED)
    outside = int(np.count_nonzero(labels_in_boxes(people) < _IN_BOX))
    if outside < max(FEW - 1, _OUT_OF_BOXES * len(people)):
        return []
    detail = f"many keypoints of {outside} of {len(people)} people lie outside of their boxes"
    remedy = "correct which of the two is wrong, or remove `bbox`: boxes are then made around the keypoints"
    severity = "warning" if "boxes" in samples.settled else "error"
    return [_of_set(samples, severity, "box_fit", detail, remedy)]


def _mixed_forms(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Two corners in many of the boxes, and sizes in the others."""
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    corners = corner_boxes(samples, sizes) & (labels >= EXTENDED)
    if corners.sum() < max(2, _SOME_CORNERS * np.count_nonzero(labels >= EXTENDED)):
        return []
    detail = f"the boxes of {corners.sum()} of {len(samples)} people fit as two corners, the others do not"
    remedy = "write x, y, width and height in all of them"
    return [_of_set(samples, "error", "box_form", detail, remedy)]


def _box_form(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Boxes against the extents of their keypoints."""
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    people = samples.take(labels >= EXTENDED)
    if not len(people):
        return []
    extents = keypoint_extents(people.keypoints).astype(np.float64)
    boxes = people.boxes.astype(np.float64)
    shifted = extents + np.concatenate([boxes[:, :2], np.zeros_like(boxes[:, :2])], axis=1)
    agreement = {
        "xywh": overlaps(extents, boxes),
        "xyxy": overlaps(extents, as_xywh(boxes, "xyxy")),
        "cxcywh": overlaps(extents, as_xywh(boxes, "cxcywh")),
        "exchanged": overlaps(extents[:, [1, 0, 3, 2]], boxes),
        "relative": overlaps(shifted, boxes),
    }
    form = _other_form(agreement, "xywh")
    if form is None:
        return []
    if form == "exchanged":
        detail = "keypoints and boxes disagree about which number is x and which is y"
        return [_of_set(samples, "error", "axes", detail, "write x before y, in both")]
    detail = _disagreement(agreement, form, "the extents of the keypoints")
    if form == "relative":
        detail = "keypoints fit their boxes when counted from the corner of the box"
        return [_of_set(samples, "error", "coordinates", detail, "write them in pixels of the whole picture")]
    return [_of_set(samples, "error", "box_form", detail, f"set boxes: {form} for this data set")]


def _box_bounds(samples: Samples, sizes: np.ndarray, read: BoxForm) -> list[Problem]:
    """Boxes without keypoints: those that leave the picture in one form and not in another."""
    if np.any(samples.keypoints[..., 2] > NOT_LABELED) or len(samples) < FEW:
        return []
    boxes = samples.boxes.astype(np.float64)
    thousandths = None if "coordinates" in samples.settled else _THOUSANDTHS
    form_remedy = "set boxes: {} for this data set".format
    found = leaving_boxes(boxes, sizes, read, form_remedy, thousandths)
    if found is None or found[2] is None:
        return []
    return [_of_set(samples, "error", *found)]


def _upside_down(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """People whose heads are below their feet, nearly all of them."""
    offsets = _from_head_to_feet(samples)
    if offsets is None or np.mean(-offsets[1] > np.abs(offsets[0])) < MOST:
        return []
    detail = f"{np.mean(offsets[1] < 0):.0%} of the people stand on their heads: y counts from the bottom"
    remedy = "write y from the top, or set coordinates: pixels for this data set if that is right"
    return [_of_set(samples, "error", "axes", detail, remedy)]


def _in_a_corner(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Labels of smaller pictures than the files hold: they end half way across and down."""
    pictures = len(np.unique(samples.image_paths))
    if pictures < _STANDING or not np.any(samples.keypoints[..., 2] > NOT_LABELED):
        return []
    labeled = samples.keypoints[..., 2:] > NOT_LABELED
    ends = np.max(np.where(labeled, samples.keypoints[..., :2], 0), axis=1) / sizes
    across, down = ends.max(axis=0)
    if max(across, down) > _CORNER:
        return []
    detail = f"no keypoint lies beyond {across:.0%} of the width and {down:.0%} of the height of its picture"
    points, _ = _reach(samples)
    if in_thousandths(points):  # of large photographs
        detail += f", {thousandths_of(points)}"
        remedy = f"{_THOUSANDTHS}, or coordinates: pixels if that is right"
        return [_of_set(samples, "error", "coordinates", detail, remedy)]
    remedy = (
        "are they of smaller pictures? declare that size in the image entries, with coordinates: declared"
    )
    if pictures < _SURELY_IN_A_CORNER:
        return [_of_set(samples, "warning", "labels_in_corner", detail, remedy)]
    remedy += ", or set coordinates: pixels for this data set if that is right"
    return [_of_set(samples, "error", "coordinates", detail, remedy)]


def _lying(samples: Samples) -> list[Problem]:
    """People whose heads lie beside their feet, nearly all of them."""
    offsets = _from_head_to_feet(samples)
    if offsets is None:
        return []
    across, down = np.abs(offsets)
    if np.mean(across > down) < MOST:
        return []
    detail = f"{np.mean(across > down):.0%} of the people lie: are x and y exchanged?"
    return [_of_set(samples, "warning", "people_lie", detail, "look at them with `p2net data browse`")]


def _from_head_to_feet(samples: Samples) -> np.ndarray | None:
    """`[2, n]` across and down, of people of whom both are labeled; None where they are too few."""
    names = list(samples.skeleton.keypoints)
    tops = [names.index(name) for name in _TOPS if name in names][:1]
    bottoms = [names.index(name) for name in _BOTTOMS if name in names]
    if not tops or not bottoms:
        return None
    weights = samples.keypoints[:, bottoms, 2:] > NOT_LABELED
    both = (samples.keypoints[:, tops[0], 2] > NOT_LABELED) & weights.any(axis=(1, 2))
    if both.sum() < _STANDING:
        return None
    feet = np.sum(samples.keypoints[:, bottoms, :2] * weights, axis=1) / np.maximum(weights.sum(axis=1), 1)
    return (feet - samples.keypoints[:, tops[0], :2])[both].T


def _reach(samples: Samples) -> tuple[float, float]:
    """The largest coordinate of keypoints and of boxes; infinite where there are none, or a broken one."""
    points, boxes = reach(samples)
    labeled = np.any(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    return tuple(float(values.max()) if values.size else np.inf for values in (points[labeled], boxes))


def _other_form(agreement: dict[str, np.ndarray], read: str) -> str | None:
    """The form that is meant, where it is clearly another one than the one that is read."""
    if not len(agreement[read]):
        return None
    best = max(agreement, key=lambda form: np.median(agreement[form]))
    overlap, as_read = np.median(agreement[best]), np.median(agreement[read])
    more = np.mean(agreement[best] > agreement[read])
    clear = overlap >= AGREED and overlap >= BETTER * as_read and more >= MOST
    return best if best != read and clear else None


def _disagreement(agreement: dict[str, np.ndarray], form: str, what: str) -> str:
    read, other = np.median(agreement["xywh"]), np.median(agreement[form])
    return f"boxes overlap {what} by {read:.2f} (median IoU), read as {form} by {other:.2f}"


def _of_set(samples: Samples, severity, kind: str, detail: str, remedy: str) -> Problem:
    return Problem(severity, kind, samples.source, detail, remedy)
