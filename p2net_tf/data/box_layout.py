"""Whether boxes without keypoints, as detectors give them, are of the form in which they are read.

The sizes of the pictures tell of fractions, percents and corners for sizes; true boxes of the same pictures
tell the rest. Files that nobody labeled have the first alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from p2net_tf.data.annotations.boxes import as_form, as_xywh, overlaps
from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.label_fit import (
    AGREED,
    BETTER,
    FEW,
    FRACTION,
    MOST,
    PERCENT,
    SMALL_PICTURE,
    boxes_fit,
    in_thousandths,
    reach_of_boxes,
    slack_of,
)
from p2net_tf.data.samples import Problem

COORDINATES, AXES, FORM = "coordinates", "axes", "box_form"
_NEARLY_ALL = 0.98
_LEAVING = 0.15
"""Part of the boxes that leave their pictures, where they are read in a wrong form."""
_MIXED = 0.1
"""Part of the boxes that are of another form, where a file mixes them."""
_ON, _OFF = 0.7, 0.3
"""IoU of a box that lies on a person, and of one that does not."""
_NOWHERE = 0.1
"""Median IoU of the best boxes with true ones, where they are of other people."""
_PICTURES = 1000
"""So many pictures tell the form of any file."""
FORMS: tuple[BoxForm, ...] = ("xyxy", "cxcywh", "xywh")
X_FIRST = "write x before y"


@dataclass(frozen=True)
class Remedies:
    """What to do about a form: set keys of the data set, or, where there are none, write the file anew.

    Attributes:
        keys: whether `detection_boxes` and `detection_coordinates` are there to be set.
        read: the form in which the boxes were read.
        settled: what the user has stated, which is not doubted: `coordinates`, `boxes`.
    """

    keys: bool = True
    read: BoxForm = "xywh"
    settled: frozenset[str] = frozenset()

    def form(self, form: str) -> str:
        if self.keys and form in FORMS:
            return f"set detection_boxes: {form} for this data set"
        return "write x, y of the upper left corner, width and height of each"

    def coordinates(self, found: str) -> str:
        if self.keys:
            return (
                f"set detection_coordinates: {found} for this data set (coordinates, if its labels are, too)"
            )
        return "write pixels of the picture"


def box_layout_problems(
    boxes: np.ndarray, sizes: np.ndarray, source: str, remedies: Remedies
) -> list[Problem]:
    """At most one error or warning about the form of `[N, 4]` xywh boxes.

    Args:
        sizes: `[N, 2]` (width, height) of the picture of each, zeros where not known.
        source: the file, for messages.
    """
    known = sizes[:, 0] > 0
    boxes, sizes = np.asarray(boxes[known], np.float64), np.asarray(sizes[known], np.float64)
    if not len(boxes):
        return []
    checks: list[Callable] = []
    if "coordinates" not in remedies.settled:
        checks += [_fractions, _percents]
    if "boxes" not in remedies.settled:
        checks += [_bounds]
    found = (check(boxes, sizes, remedies) for check in checks)
    first = next((problem for problem in found if problem is not None), None)
    return [] if first is None else [Problem(first[0], first[1], source, *first[2:])]


def meet_pictures(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[N]` bool: any part of the box is in the picture; also where its size is not known."""
    seen = np.all((boxes[:, :2] < sizes) & (boxes[:, :2] + boxes[:, 2:] > 0), axis=1)
    return seen | (sizes[:, 0] <= 0)


def _fractions(boxes: np.ndarray, sizes: np.ndarray, remedies: Remedies):
    reach = reach_of_boxes(boxes)
    small = (reach <= FRACTION) & (sizes.min(axis=1) > 4 * FRACTION)
    if small.all():
        detail = (
            f"no coordinate of a box is larger than {reach.max():.3g}: they are fractions of the pictures"
        )
        return "error", COORDINATES, detail, remedies.coordinates("normalized")
    if small.sum() <= _MIXED * len(boxes):
        return None
    detail = f"{small.sum()} of {len(boxes)} boxes are fractions of the pictures, the others are not"
    return "error", COORDINATES, detail, "write all in pixels"


def _percents(boxes: np.ndarray, sizes: np.ndarray, remedies: Remedies):
    reach = reach_of_boxes(boxes).max()
    if not PERCENT / 2 < reach <= PERCENT or sizes.min() <= SMALL_PICTURE:
        return None
    if not remedies.keys and len(boxes) < FEW:  # a few boxes may well stand in the corner
        return None
    detail = (
        f"no coordinate is larger than {reach:.3g}, in pictures of {sizes.min():g} pixels and more: they may "
        "be percents"
    )
    remedy = remedies.coordinates("percent")
    if remedies.keys:
        remedy += ", or detection_coordinates: pixels if that is right"
    ends = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    # Where no key can state that they are pixels, they must not look otherwise in both directions.
    sure = remedies.keys or (ends.min() > 0.8 * PERCENT and sizes.min() > 2 * PERCENT)
    return "error" if len(boxes) >= FEW and sure else "warning", COORDINATES, detail, remedy


def _bounds(boxes: np.ndarray, sizes: np.ndarray, remedies: Remedies):
    """Boxes that leave the picture in one form and not in another."""
    thousandths = None if "coordinates" in remedies.settled else remedies.coordinates("thousandths")
    found = leaving_boxes(boxes, sizes, remedies.read, remedies.form, thousandths)
    if found is None:
        return None
    kind, detail, remedy = found
    if remedy is None:
        return "warning", kind, detail, "are they of pictures of another size, or of another form?"
    return "error" if len(boxes) >= FEW else "warning", kind, detail, remedy


def leaving_boxes(
    boxes: np.ndarray,
    sizes: np.ndarray,
    read: BoxForm,
    remedy_of: Callable[[str], str],
    thousandths: str | None = None,
) -> tuple[str, str, str | None] | None:
    """`(kind, detail, remedy)` of boxes many of which leave their pictures; None where they do not.

    The remedy is None where they do so in every form.

    Args:
        remedy_of: what to do about boxes that are of this form.
        thousandths: what to do about those in thousandths of their pictures; None where they are none.
    """
    slack = slack_of(sizes)
    outside = np.mean(~boxes_fit(boxes, sizes, slack))
    if outside < _LEAVING:
        return None
    written = as_form(boxes, read)
    others = {f"as {form}": (as_xywh(written, form), remedy_of(form)) for form in FORMS}
    others["with x for y"] = boxes[:, [1, 0, 3, 2]], X_FIRST
    fitting = {
        name: remedy
        for name, (other, remedy) in others.items()
        if np.mean(boxes_fit(other, sizes, slack) & np.all(other[:, 2:] > 0, axis=1)) > _NEARLY_ALL
    }
    detail = f"{outside:.0%} of the boxes leave their pictures"
    # As sizes they reach to 1000 with their corners, and as two corners themselves.
    reach = next(filter(in_thousandths, (reach_of_boxes(boxes).max(), np.abs(written).max())), None)
    if not fitting and thousandths is not None and reach is not None:
        return COORDINATES, f"{detail}, {thousandths_of(reach)}", thousandths
    if not fitting:
        return FORM, detail, None
    kind = AXES if list(fitting) == ["with x for y"] else FORM
    detail += f", {' or '.join(fitting)} none would"
    return kind, detail, ", or ".join(dict.fromkeys(fitting.values()))


def thousandths_of(reach: float) -> str:
    """Of labels that leave pictures of all sizes and end near 1000."""
    return (
        f"and no number is larger than {reach:.4g}: they may be thousandths of the pictures, 0 to 1000, as "
        "vision-language models write them"
    )


@dataclass(frozen=True)
class Agreement:
    """How well boxes lie on true ones of the same pictures: of each person the IoU of the best box, and of
    each box that of the best person."""

    of_people: np.ndarray
    of_boxes: np.ndarray

    @property
    def median(self) -> float:
        return float(np.median(self.of_people)) if len(self.of_people) else 0.0


def agreement_problems(
    detected: tuple[np.ndarray, np.ndarray],
    truth: tuple[np.ndarray, np.ndarray],
    source: str,
    remedies: Remedies,
    others: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[Problem]:
    """At most one error or warning, where true boxes say that detected ones mean something else.

    Args:
        detected, truth: `[N, 4]` xywh boxes in pixels, and `[N]` their pictures.
        others: the same of detections that were not taken for people.
    """
    people, boxes = _by_picture(truth), _by_picture(detected)
    pictures = [picture for picture in people if picture in boxes]
    pictures = pictures[:: max(1, len(pictures) // _PICTURES)]
    if not pictures:
        return []

    def agreement(change: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes, of=boxes) -> Agreement:
        return _agreement([(change(of[picture]), people[picture]) for picture in pictures if picture in of])

    read = agreement()
    if read.median >= _ON:  # as nearly always
        return _mixed(read, agreement, source, remedies)
    tried = [
        (agreement(change), name, kind, remedy)
        for name, change, kind, remedy in _readings(boxes, people, pictures, remedies)
    ]
    meant = [found for found in tried if _is_meant(found[0], read)]
    if meant:
        other, name, kind, remedy = max(meant, key=lambda found: found[0].median)
        return [Problem("error", kind, source, _disagreement(read, other, name), remedy)]
    if others is not None and len(others[0]):
        other = agreement(of=_by_picture(others))
        if len(other.of_people) >= MOST * len(read.of_people) and _is_better(other, read):
            detail = f"the boxes that lie on people are of another category than the {len(detected[0])} read"
            return [Problem("error", "category", source, detail, "add the list 'categories' to the file")]
    return _mixed(read, agreement, source, remedies) or _nowhere(read, source)


def _readings(boxes: dict, people: dict, pictures: list, remedies: Remedies):
    """`(name, change of xywh boxes, kind, remedy)` of what boxes may mean otherwise."""
    if "boxes" not in remedies.settled:
        for form in FORMS:
            if form != remedies.read:
                yield f"as {form}", _as(form, remedies.read), FORM, remedies.form(form)
        yield "with x for y", lambda b: b[:, [1, 0, 3, 2]], AXES, X_FIRST
        corners = _as("xyxy", remedies.read)
        yield "as corners with y first", lambda b: corners(b)[:, [1, 0, 3, 2]], AXES, X_FIRST
    if "coordinates" not in remedies.settled:
        mine, theirs = (np.concatenate([of[picture] for picture in pictures]) for of in (boxes, people))
        reach = reach_of_boxes(mine).max()
        if reach <= PERCENT:  # fractions or percents, of which the sizes of the pictures tell
            return
        remedy = "write them in pixels of the picture files"
        if remedies.keys and in_thousandths(reach):
            remedy = f"{remedies.coordinates('thousandths')}; or {remedy}"
        scale = np.sqrt(np.median(_areas(theirs)) / max(np.median(_areas(mine)), 1e-12))
        detail = f"{scale:.3g} times as large"
        yield detail, lambda b: b * scale, COORDINATES, remedy


def _as(form: BoxForm, read: BoxForm) -> Callable[[np.ndarray], np.ndarray]:
    return lambda boxes: as_xywh(as_form(boxes, read), form)


def _mixed(read: Agreement, agreement: Callable, source: str, remedies: Remedies) -> list[Problem]:
    """Boxes of two forms in one file."""
    on = np.count_nonzero(read.of_boxes >= 0.5)
    for form in FORMS:
        if form == remedies.read or "boxes" in remedies.settled:
            continue
        other = agreement(_as(form, remedies.read))
        turned = np.count_nonzero((other.of_boxes >= _ON) & (read.of_boxes < _OFF))
        if turned >= FEW - 1 and turned > _MIXED * (on + turned):
            detail = f"{turned} boxes lie on people as {form} alone, {on} as {remedies.read}: they are mixed"
            return [Problem("error", FORM, source, detail, "write all in one form")]
    return []


def _nowhere(read: Agreement, source: str) -> list[Problem]:
    if read.median >= _NOWHERE or len(read.of_people) < FEW:
        return []
    detail = (
        f"boxes overlap true ones by {read.median:.2f} (median IoU of the best): they are not of these people"
    )
    return [Problem("warning", FORM, source, detail, "check their pictures, form and coordinates")]


def _is_better(other: Agreement, read: Agreement) -> bool:
    return other.median >= AGREED and other.median >= BETTER * read.median


def _is_meant(other: Agreement, read: Agreement) -> bool:
    return _is_better(other, read) and np.mean(other.of_people > read.of_people) >= MOST


def _disagreement(read: Agreement, other: Agreement, name: str) -> str:
    return f"boxes overlap true boxes by {read.median:.2f} (median IoU), read {name} by {other.median:.2f}"


def _agreement(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Agreement:
    """Of the boxes and the people of each picture."""
    found = [overlaps(boxes[:, None], people[None]) for boxes, people in pairs]
    if not found:
        return Agreement(np.zeros(0), np.zeros(0))
    return Agreement(
        np.concatenate([ious.max(axis=0) for ious in found]),
        np.concatenate([ious.max(axis=1) for ious in found]),
    )


def _by_picture(columns: tuple[np.ndarray, np.ndarray]) -> dict[int, np.ndarray]:
    boxes, owners = np.asarray(columns[0], np.float64).reshape(-1, 4), np.asarray(columns[1])
    if not len(boxes):
        return {}
    order = np.argsort(owners, kind="stable")
    pictures, starts = np.unique(owners[order], return_index=True)
    return dict(zip(pictures.tolist(), np.split(boxes[order], starts[1:]), strict=True))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.abs(boxes[:, 2] * boxes[:, 3])
