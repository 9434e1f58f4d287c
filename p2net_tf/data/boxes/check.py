"""Checks a set of boxes before it costs training time, as `p2net_tf.data.check` does people.

Errors are pictures and boxes that cannot be trained on; `usable_scenes` sets them aside. Warnings are used,
and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from p2net_tf.data.boxes.label_form import box_form_problems
from p2net_tf.data.check import HUGE, demand_form, nothing_usable
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.picture_check import KINDS as OF_PICTURES
from p2net_tf.data.picture_check import picture_problems
from p2net_tf.data.samples import Problem
from p2net_tf.data.scenes import Scenes

_SLACK, _SLACK_PIXELS = 0.02, 2.0
"""Boxes may leave their pictures by so much of its sides and so many pixels without a word."""


def check_scenes(scenes: Scenes, decode: bool = True) -> list[Problem]:
    """Everything that is wrong or odd with a set of boxes, the reader's own problems first.

    Kinds found here. Errors: `image_missing`, `image_broken`, `box_empty`, `box_outside`, and of the whole
    set those of `p2net_tf.data.check.demand_form`. Warnings: `declared_size`, `image_extension`,
    `image_format`, `box_leaves_image`, `duplicate_box`, `no_boxes`.

    Args:
        scenes: as a reader gives them. `Problem.file` is the path of the picture here.
        decode: decode every picture fully, as training will; otherwise only their headers are read.
    """
    sizes, formats = image_headers(scenes.image_paths, scenes.exif_orientation)
    pictures = picture_problems(
        scenes.image_paths, scenes.image_ids, formats, scenes.source, scenes.exif_orientation, decode
    )
    return [
        *scenes.problems,
        *pictures,
        *_box_problems(scenes, sizes[scenes.owners]),
        *_repeated(scenes),
        *_nothing_to_find(scenes),
        *box_form_problems(scenes, sizes),
    ]


def demand_usable_scenes(scenes: Scenes, problems: Sequence[Problem]) -> Scenes:
    """The pictures and boxes without the broken ones.

    Raises:
        DataError: no picture is left, or the boxes are of another form than they are read in.
    """
    demand_form(problems)
    kept = usable_scenes(scenes, problems)
    if not len(kept):
        raise nothing_usable(scenes.source, problems, "picture")
    return kept


def usable_scenes(scenes: Scenes, problems: Iterable[Problem]) -> Scenes:
    """The pictures and boxes without those of `check_scenes`' errors.

    A picture of which every box is broken goes with them: it would count as one without objects.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    of_pictures = [problem.file for problem in errors if problem.sample_id is None]
    left = scenes.without_objects(_are_broken(scenes, errors))
    refused = {problem.image_id for problem in errors if problem.sample_id is not None} - {None}
    emptied = (left.counts == 0) & np.isin(left.image_ids, list(refused))
    return left.take(~np.isin(left.image_paths, of_pictures) & ~emptied)


def unseen_scenes(scenes: Scenes, problems: Iterable[Problem]) -> Scenes:
    """The pictures that nobody can look at, missing or broken ones, with those of their boxes that are right.

    Whoever scores a detector must count their objects as missed, or a score rises with every lost picture.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    lost = [problem.file for problem in errors if problem.kind in OF_PICTURES]
    return scenes.without_objects(_are_broken(scenes, errors)).take(np.isin(scenes.image_paths, lost))


def _are_broken(scenes: Scenes, errors: Sequence[Problem]) -> np.ndarray:
    """`[N]` bool, of the boxes."""
    broken = {(problem.file, problem.sample_id) for problem in errors if problem.sample_id is not None}
    paths = scenes.image_paths[scenes.owners].tolist()
    return np.asarray([pair in broken for pair in zip(paths, scenes.ids.tolist(), strict=True)], bool)


def _box_problems(scenes: Scenes, sizes: np.ndarray) -> list[Problem]:
    """Args:
    sizes: `[N, 2]` of the picture of each box; zeros where not known.
    """
    boxes = scenes.boxes.astype(np.float64)
    known = sizes[:, 0] > 0
    with np.errstate(invalid="ignore"):
        full = np.isfinite(boxes).all(axis=1) & np.all(boxes[:, 2:] > 0, axis=1)
        full &= np.abs(boxes).max(axis=1, initial=0) <= HUGE
        ends = boxes[:, :2] + boxes[:, 2:]
        inside = np.all((boxes[:, :2] < sizes) & (ends > 0), axis=1)
        slack = _SLACK * sizes + _SLACK_PIXELS
        leaves = np.any((boxes[:, :2] < -slack) | (ends > sizes + slack), axis=1)

    def box(row: int) -> str:
        return f"box {[round(float(value), 2) for value in scenes.boxes[row]]}"

    return [
        *_listed(scenes, ~full, "error", "box_empty",
                 lambda row: f"{box(row)} has no area", "give x, y, width and height"),
        *_listed(scenes, full & known & ~inside, "error", "box_outside",
                 lambda row: f"{box(row)} lies outside its image", "correct the box"),
        *_listed(scenes, full & known & inside & leaves, "warning", "box_leaves_image",
                 lambda row: f"{box(row)} leaves its image of {sizes[row, 0]:g}x{sizes[row, 1]:g}",
                 "check it; it is used"),
    ]  # fmt: skip


def _repeated(scenes: Scenes) -> list[Problem]:
    """Boxes that stand before in the same picture, in the same class."""
    keys = np.column_stack([scenes.owners, scenes.classes, scenes.crowds, scenes.boxes])
    _, first = np.unique(keys, axis=0, return_index=True)
    repeated = np.ones(len(keys), bool)
    repeated[first] = False
    return _listed(
        scenes, repeated, "warning", "duplicate_box",
        lambda row: "the same box stands before in the same picture", "remove one of them; both are used",
    )  # fmt: skip


def _nothing_to_find(scenes: Scenes) -> list[Problem]:
    if not len(scenes) or not scenes.crowds.all():
        return []
    detail = f"no picture of {len(scenes)} has a box"
    if len(scenes.crowds):
        detail += f" that counts: all {len(scenes.crowds)} are crowds or difficult, to be ignored"
    return [
        Problem(
            "warning",
            "no_boxes",
            scenes.source,
            detail,
            "check that these are the annotations of the pictures",
        )
    ]


def _listed(
    scenes: Scenes, mask: np.ndarray, severity, kind: str, detail: Callable[[int], str], remedy: str
) -> list[Problem]:
    """One problem for each object in `mask`; `detail` is a function of the row."""
    return [
        Problem(
            severity,
            kind,
            str(scenes.image_paths[scenes.owners[row]]),
            detail(row),
            remedy,
            int(scenes.ids[row]),
            int(scenes.image_ids[scenes.owners[row]]),
        )
        for row in np.flatnonzero(mask).tolist()
    ]
