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

from p2net_tf.data.annotations.boxes import as_form, as_xywh, overlaps
from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.box_layout import Remedies, box_layout_problems
from p2net_tf.data.label_fit import boxes_fit, labels_fit
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.keypoints.geometry import keypoint_box
from p2net_tf.keypoints.visibility import NOT_LABELED

KINDS = ("coordinates", "axes", "box_form", "category", "scores")
"""Of errors that make all labels of a set useless."""

_FRACTION = 1.6
"""No coordinate of a set of fractions is larger; half a pixel was added to each on reading."""
_NORMALIZED = "set coordinates: normalized for this data set"
_X_FIRST = "write x before y"
_PERCENT = 101.0
_SMALL_PICTURE = 150.0
"""Pixels; in smaller pictures coordinates up to 100 say nothing."""
_FEW_PEOPLE = 4
"""Of fewer people all may stand in a corner."""
_SLACK = 0.02
"""Part of its size by which labels may leave a picture."""
_AGREED, _BETTER, _MOST = 0.4, 1.5, 0.8
"""Another form is meant where in it the boxes of people overlap their keypoints by so much (median IoU), so
many times as much as in the form that is read, and more for this part of the people."""
_LEAVING = 0.15
"""Part of the detected boxes that leave their pictures, where they are read in a wrong form."""
_FORMS: tuple[BoxForm, ...] = ("xyxy", "cxcywh", "xywh")
_EXTENDED = 3
"""Labeled keypoints that have an extent to speak of."""
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
        checks += [partial(_fractions, detected=detected), _percents, _resized, _exchanged]
    if "boxes" not in samples.settled:
        checks += [_box_form, partial(_box_bounds, read=box_form, detected=detected)]
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


def _fractions(samples: Samples, sizes: np.ndarray, detected: bool) -> list[Problem]:
    points, boxes = _reach(samples)
    if sizes.min() <= 4 * _FRACTION or not 0 < min(points, boxes) <= _FRACTION:
        return []
    if max(points, boxes) <= _FRACTION:
        detail = f"no coordinate is larger than {max(points, boxes):.3g}: they are fractions of the pictures"
        return [_of_set(samples, "error", "coordinates", detail, _NORMALIZED)]
    if np.isinf(points):
        detail = f"no coordinate of a box is larger than {boxes:.3g}: they are fractions of the pictures"
        remedy = "write them in pixels" if detected else _NORMALIZED
        return [_of_set(samples, "error", "coordinates", detail, remedy)]
    what, other = ("keypoints", "boxes") if points <= _FRACTION else ("boxes", "keypoints")
    detail = f"{what} are fractions of the pictures, {other} are not"
    return [_of_set(samples, "error", "coordinates", detail, "write both in pixels")]


def _percents(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    points, boxes = _reach(samples)
    reach = max(points, boxes) if np.isfinite(points) else boxes
    if not _PERCENT / 2 < reach <= _PERCENT or sizes.min() <= _SMALL_PICTURE:
        return []
    detail = f"no coordinate is larger than {reach:.3g}, in pictures of {sizes.min():g} pixels and more"
    remedy = "set coordinates: percent for this data set, or coordinates: pixels if that is right"
    severity = "error" if len(samples) >= _FEW_PEOPLE else "warning"
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
    in_files = labels_fit(samples, sizes, _slack(sizes))[differ]
    in_declared = labels_fit(samples, declared, _slack(declared))[differ]
    if differ.sum() < stated.sum() / 2 or in_declared.mean() < 1 - _SLACK or not (alike.mean() > _MOST):
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
    out, out_exchanged = (~labels_fit(people, part, _slack(part)) for part in (sizes, sizes[:, ::-1]))
    if out.sum() < max(2, len(people) / 10) or out_exchanged.any():
        return []
    detail = (
        f"the labels of {out.sum()} of {len(people)} people leave their pictures; with x for y all would fit"
    )
    return [_of_set(samples, "error", "axes", detail, _X_FIRST)]


def _box_form(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Boxes against the extents of their keypoints."""
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    people = samples.take(labels >= _EXTENDED)
    if not len(people):
        return []
    extents = np.asarray(keypoint_box(people.keypoints), np.float64)
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


def _box_bounds(samples: Samples, sizes: np.ndarray, read: BoxForm, detected: bool) -> list[Problem]:
    """Boxes without keypoints: those that leave the picture in one form and not in another."""
    if np.any(samples.keypoints[..., 2] > NOT_LABELED) or len(samples) < _FEW_PEOPLE:
        return []
    boxes = samples.boxes.astype(np.float64)
    outside = np.mean(~boxes_fit(boxes, sizes, _slack(sizes)))
    if outside < _LEAVING:
        return []
    key = "detection_boxes" if detected else "boxes"
    written = as_form(boxes, read)
    others = {
        f"as {form}": (as_xywh(written, form), f"set {key}: {form} for this data set") for form in _FORMS
    }
    others["with x for y"] = boxes[:, [1, 0, 3, 2]], _X_FIRST
    fitting = {
        name: remedy
        for name, (other, remedy) in others.items()
        if np.mean(boxes_fit(other, sizes, _slack(sizes)) & np.all(other[:, 2:] > 0, axis=1)) > 1 - _SLACK
    }
    if not fitting:
        return []
    kind = "axes" if list(fitting) == ["with x for y"] else "box_form"
    detail = f"{outside:.0%} of the boxes leave their pictures, {' or '.join(fitting)} none would"
    return [_of_set(samples, "error", kind, detail, ", or ".join(fitting.values()))]


def _lying(samples: Samples) -> list[Problem]:
    """People whose heads lie beside their feet, nearly all of them."""
    names = list(samples.skeleton.keypoints)
    tops = [names.index(name) for name in _TOPS if name in names][:1]
    bottoms = [names.index(name) for name in _BOTTOMS if name in names]
    if not tops or not bottoms:
        return []
    weights = samples.keypoints[:, bottoms, 2:] > NOT_LABELED
    both = (samples.keypoints[:, tops[0], 2] > NOT_LABELED) & weights.any(axis=(1, 2))
    if both.sum() < _STANDING:
        return []
    feet = np.sum(samples.keypoints[:, bottoms, :2] * weights, axis=1) / np.maximum(weights.sum(axis=1), 1)
    across, down = np.abs(feet - samples.keypoints[:, tops[0], :2])[both].T
    if np.mean(across > down) < _MOST:
        return []
    detail = f"{np.mean(across > down):.0%} of the people lie: are x and y exchanged?"
    return [_of_set(samples, "warning", "people_lie", detail, "look at them with `p2net data browse`")]


def _reach(samples: Samples) -> tuple[float, float]:
    """The largest coordinate of keypoints and of boxes; infinite where there are none, or a broken one."""
    labeled = samples.keypoints[..., 2] > NOT_LABELED
    points = samples.keypoints[..., :2][labeled]
    boxes = np.concatenate([samples.boxes, samples.boxes[:, :2] + samples.boxes[:, 2:]], axis=1)
    return tuple(float(np.abs(values).max()) if values.size else np.inf for values in (points, boxes))


def _slack(sizes: np.ndarray) -> np.ndarray:
    return _SLACK * sizes + 2


def _other_form(agreement: dict[str, np.ndarray], read: str) -> str | None:
    """The form that is meant, where it is clearly another one than the one that is read."""
    if not len(agreement[read]):
        return None
    best = max(agreement, key=lambda form: np.median(agreement[form]))
    overlap, as_read = np.median(agreement[best]), np.median(agreement[read])
    more = np.mean(agreement[best] > agreement[read])
    clear = overlap >= _AGREED and overlap >= _BETTER * as_read and more >= _MOST
    return best if best != read and clear else None


def _disagreement(agreement: dict[str, np.ndarray], form: str, what: str) -> str:
    read, other = np.median(agreement["xywh"]), np.median(agreement[form])
    return f"boxes overlap {what} by {read:.2f} (median IoU), read as {form} by {other:.2f}"


def _of_set(samples: Samples, severity, kind: str, detail: str, remedy: str) -> Problem:
    return Problem(severity, kind, samples.source, detail, remedy)
