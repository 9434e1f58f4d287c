"""Checks a data set before it costs training time: every broken or suspicious item, with its remedy.

Errors are items that cannot be trained on; `usable` sets them aside. Warnings are used, and listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from p2net_tf.data import exif_labels, label_layout
from p2net_tf.data.annotation_files import write_json
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.label_fit import SMALLEST_BOX
from p2net_tf.data.left_right import left_right_problems
from p2net_tf.data.mixed_labels import mixed_label_problems
from p2net_tf.data.picture_check import KINDS as OF_PICTURES
from p2net_tf.data.picture_check import picture_problems
from p2net_tf.data.problem_lists import listed
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED, VISIBLE

FAR = 1.0
"""A keypoint farther beyond the border than this many image sizes is an error, not a cut-off limb."""
HUGE = 1e6
"""Pixels; no coordinate is larger, even where the image's size is not known."""
HUGE_BOX = 10.0
"""Times the longer side of its picture. (MPII's boxes of people close to the camera reach 4.)"""
_UNSEEN = (*OF_PICTURES, "box_empty", "box_outside", "box_far", "mixed_box_form")
"""Kinds of errors that say nothing against the keypoints of a person."""
OF_THE_SET = (exif_labels.KIND, *label_layout.KINDS)
"""Kinds of errors about the labels of a whole set."""


def check_samples(samples: Samples, decode: bool = True) -> list[Problem]:
    """Everything that is wrong or odd with a data set, the reader's own problems first.

    Kinds found here. Errors: `image_missing`, `image_broken`, `keypoint_not_finite`, `visibility`,
    `keypoint_far`, `box_empty`, `box_outside`, `box_far`, `mixed_units`, `mixed_box_form`, `duplicate_id`,
    and of the whole set those of `demand_form`. Warnings: `declared_size`, `people_lie`, `labels_in_corner`,
    `image_extension`, `image_format`, `keypoint_outside`, `keypoints_beside_box`, `area_empty`,
    `no_labeled_keypoint`, `left_right_person`, `left_right_set`.

    Args:
        samples: as a reader gives them. `Problem.file` is the path of the image here. Images of records were
            decoded when they were written and are not looked at.
        decode: decode every image fully, as training will; otherwise only their headers are read.
    """
    if samples.records:
        sizes, image_problems = np.zeros((len(samples), 2), np.float32), []
    else:
        sizes, formats = image_headers(samples.image_paths, samples.exif_orientation)
        image_problems = picture_problems(
            samples.image_paths, samples.image_ids, formats, samples.source, samples.exif_orientation, decode
        )
    known = sizes[:, 0] > 0
    return [
        *samples.problems,
        *image_problems,
        *_keypoint_problems(samples, sizes, known),
        *_box_problems(samples, sizes, known),
        *_identity_problems(samples),
        *left_right_problems(samples),
        *_form_problems(samples, sizes),
    ]


def demand_usable(samples: Samples, problems: Sequence[Problem]) -> Samples:
    """The samples without the broken ones.

    Raises:
        DataError: none is left, or their labels are of another form than they are read in.
    """
    demand_form(problems)
    kept = usable(samples, problems)
    if not len(kept):
        raise nothing_usable(samples.source, problems)
    return kept


def nothing_usable(source: str, problems: Sequence[Problem], item: str = "sample") -> DataError:
    """The error of a set of which no `item` is left, with the worst of its problems: an error, if any."""
    order = ("error", "warning", "note")
    worst = min(problems, key=lambda problem: order.index(problem.severity), default=None)
    first = f"; first of {len(problems)} problems: {worst}" if worst else ""
    return DataError(f"{source}: no usable {item}{first}")


def demand_form(problems: Iterable[Problem]) -> None:
    """Refuses a set whose labels are of another form than they are read in: every one would teach nonsense.

    Raises:
        DataError: names the key that mends it.
    """
    wrong = next((p for p in problems if p.severity == "error" and p.kind in OF_THE_SET), None)
    if wrong is not None:
        raise DataError(str(wrong))


def usable(samples: Samples, problems: Iterable[Problem]) -> Samples:
    """The samples without those of `check_samples`' errors; of a duplicate the first one stays.

    An error without a sample id is its image's, and takes all persons in it along.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    images = [problem.file for problem in errors if problem.sample_id is None]
    items = {(p.file, p.sample_id) for p in errors if p.sample_id is not None and p.kind != "duplicate_id"}
    keep = ~np.isin(samples.image_paths, images) & ~_is_repeated(samples)
    for row, key in enumerate(zip(samples.image_paths.tolist(), samples.ids.tolist(), strict=True)):
        keep[row] &= key not in items
    return samples.take(keep)


def unseen(samples: Samples, problems: Iterable[Problem]) -> Samples:
    """The samples that `usable` leaves out although their keypoints are right: nobody can look at them.

    Their picture is missing or broken, or their box is. Whoever scores a network must count them as missed,
    or a score rises with every lost picture.
    """
    blind = [p for p in problems if p.severity == "error" and p.kind in _UNSEEN]
    wrong = [p for p in problems if p.severity == "error" and p.kind not in _UNSEEN]
    images = {p.file for p in blind if p.sample_id is None}
    hidden, faulty = ({(p.file, p.sample_id) for p in part} for part in (blind, wrong))
    keep = ~_is_repeated(samples)
    for row, key in enumerate(zip(samples.image_paths.tolist(), samples.ids.tolist(), strict=True)):
        keep[row] &= (key[0] in images or key in hidden) and key not in faulty
    return samples.take(keep)


def first_error(problems: Iterable[Problem]) -> Problem | None:
    """The first problem that is an error, for callers that stop on it; None where there is none."""
    return next((problem for problem in problems if problem.severity == "error"), None)


def refuse_broken(problems: Iterable[Problem], strict: bool) -> None:
    """Raises:
    DataError: anything is broken and `strict`.
    """
    broken = first_error(problems)
    if strict and broken is not None:
        raise DataError(str(broken))


def count_kinds(problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, the most frequent kind first."""
    return dict(Counter(problem.kind for problem in problems).most_common())


def problem_report(problems: Sequence[Problem]) -> dict:
    """`{"errors": n, "warnings": n, "notes": n, "kinds": {kind: n}, "problems": [{...}, ...]}`."""
    severities = Counter(problem.severity for problem in problems)
    return {
        "errors": severities["error"],
        "warnings": severities["warning"],
        "notes": severities["note"],
        "kinds": count_kinds(problems),
        "problems": [asdict(problem) for problem in problems],
    }


def write_problems(problems: Sequence[Problem], path: str | Path) -> None:
    """Writes `problem_report` as JSON."""
    write_json(path, problem_report(problems), indent=1)


def _form_problems(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    if samples.records:
        return []
    of_the_set = exif_labels.exif_label_problems(samples) or label_layout.layout_problems(samples, sizes)
    if any(problem.severity == "error" for problem in of_the_set):
        return of_the_set  # which explains whatever is odd with single people
    return of_the_set + mixed_label_problems(samples, sizes)


def _keypoint_problems(samples: Samples, sizes: np.ndarray, known: np.ndarray) -> list[Problem]:
    xy, visibility = samples.keypoints[..., :2], samples.keypoints[..., 2]
    flags = np.isin(visibility, (NOT_LABELED, OCCLUDED, VISIBLE))
    finite = np.isfinite(xy).all(axis=-1)
    labeled = visibility > NOT_LABELED
    # How far beyond the nearer border, in image sizes; images of unknown size tell only of huge values.
    extent = np.where(known[:, None], sizes, 1)[:, None]
    beyond = np.maximum(np.maximum(-xy, xy - extent), 0) / extent
    beyond = np.where(known[:, None, None], beyond, 0).max(axis=-1, initial=0)
    with np.errstate(invalid="ignore"):
        far = labeled & finite & ((beyond > FAR) | (np.abs(xy).max(axis=-1) > HUGE))
        outside = labeled & finite & (beyond > 0) & ~far
    labels_exist = bool(labeled.any())
    no_label = ~labeled.any(axis=1) & labels_exist
    names = samples.skeleton.keypoints

    def at(row, mask):
        points = [f"{names[k]} ({xy[row, k, 0]:g}, {xy[row, k, 1]:g})" for k in np.flatnonzero(mask[row])]
        return ", ".join(points)

    return [
        *listed(samples, (~finite).any(1), "error", "keypoint_not_finite",
                 lambda row: f"not a number: {at(row, ~finite)}", "correct or unlabel it"),
        *listed(samples, (~flags & finite).any(1), "error", "visibility",
                 lambda row: "a visibility flag is not 0, 1 or 2", "use 0, 1 or 2"),
        *listed(samples, far.any(1), "error", "keypoint_far",
                 lambda row: f"far outside the image: {at(row, far)}", "correct or unlabel it"),
        *listed(samples, outside.any(1), "warning", "keypoint_outside",
                 lambda row: f"outside the image: {at(row, outside)}", "check it; it is used"),
        # A set without any label holds detections or a test part, where this says nothing.
        *listed(samples, no_label, "warning", "no_labeled_keypoint",
                 lambda row: "no keypoint is labeled", "label it; nothing is learnt from it"),
    ]  # fmt: skip


def _box_problems(samples: Samples, sizes: np.ndarray, known: np.ndarray) -> list[Problem]:
    x, y, width, height = samples.boxes.T
    with np.errstate(invalid="ignore"):
        full = np.isfinite(samples.boxes).all(axis=1) & (width >= SMALLEST_BOX) & (height >= SMALLEST_BOX)
        beyond = known & (np.maximum(width, height) > HUGE_BOX * sizes.max(axis=1))
        inside = (x < sizes[:, 0]) & (y < sizes[:, 1]) & (x + width > 0) & (y + height > 0)
        no_area = ~(np.isfinite(samples.areas) & (samples.areas > 0))

    def box(row):
        return f"box {[round(float(value), 2) for value in samples.boxes[row]]}"

    return [
        *listed(samples, ~full, "error", "box_empty",
                 lambda row: f"{box(row)} has no area", "give x, y, width and height"),
        *listed(samples, full & known & ~inside, "error", "box_outside",
                 lambda row: f"{box(row)} lies outside its image", "correct the box"),
        *listed(samples, full & beyond & inside, "error", "box_far",
                 lambda row: f"{box(row)} is more than {HUGE_BOX:g} times as large as its image",
                 "correct the box, or remove it: one is made around the keypoints"),
        *listed(samples, full & no_area, "warning", "area_empty",
                 lambda row: f"area {samples.areas[row]:g}", "give the person's area, which OKS divides by"),
    ]  # fmt: skip


def _identity_problems(samples: Samples) -> list[Problem]:
    return listed(
        samples, _is_repeated(samples), "error", "duplicate_id",
        lambda row: "the same id in the same image stands before; the first one is used", "make ids unique",
    )  # fmt: skip


def _is_repeated(samples: Samples) -> np.ndarray:
    """`[N]` bool: an earlier sample has the same id and image. (Joined sets may share ids between images.)"""
    _, image = np.unique(samples.image_paths, return_inverse=True)
    keys = np.stack([image.reshape(-1), samples.ids], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    repeated = np.ones(len(samples), bool)
    repeated[first] = False
    return repeated
