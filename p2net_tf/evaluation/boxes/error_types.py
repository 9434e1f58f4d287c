"""What goes wrong in found boxes, and how much AP each kind of error costs.

The kinds are those of TIDE: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors",
ECCV 2020. A box that finds nothing (IoU 0.5) is

- `loose`, where it overlaps an object by an IoU of 0.1 and more, but less than 0.5,
- `class`, where it overlaps one of another class by 0.5 and more,
- `doubled`, where a better box has taken the object that it overlaps by 0.5 and more,
- `background` else.

`missed` are objects that are not found and on which no loose box and none of another class lies. The paper's
"both" (loose on an object of another class) is `class` here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.evaluation.boxes.average_precision import BoxResult, score_case
from p2net_tf.evaluation.boxes.case import (
    FOUND_IOU,
    BoxCase,
    Matches,
    best_truths,
    matches_of,
    read_box_case,
    run_box_evaluation,
)
from p2net_tf.utils.console import track

MISSED = "missed"
TYPES = ("doubled", "loose", "class", "background")
"""Of found boxes. `BoxErrors.types` has their places, and these:"""
FINDS, NOT_COUNTED = -1, -2
STEPS = (MISSED, *TYPES)
"""What can be corrected, in the order of reports."""

_BACKGROUND_IOU = 0.1
"""Below this IoU, a box lies on nothing."""


@dataclass(frozen=True)
class BoxErrors:
    """The kinds of all boxes from one score on.

    Attributes:
        types: `[D]` places in `TYPES`, `FINDS`, or `NOT_COUNTED`: on crowds, or of lower scores.
        truths: `[D]` row of the object that a box finds, or overlaps most; -1 where there is none.
        ious: `[D]` the IoU of the two.
        missed: `[G]` bool, of the true boxes.
    """

    types: np.ndarray
    truths: np.ndarray
    ious: np.ndarray
    missed: np.ndarray

    def rows_of(self, name: str) -> np.ndarray:
        """The rows of the found boxes of a type, of the true ones for `missed`."""
        return np.flatnonzero(self.missed if name == MISSED else self.types == TYPES.index(name))


@dataclass(frozen=True)
class BoxAnalysis:
    """What an analysis found.

    Attributes:
        case: the true and the found boxes.
        result: the score as it is.
        errors: the kinds of the boxes from the limit of `result.at_limit` on, which people see.
        corrected: `STEPS` to the score where all boxes, of any score, are without that one error.
    """

    case: BoxCase
    result: BoxResult
    errors: BoxErrors
    corrected: dict[str, BoxResult]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind there are, from the limit on."""
        return {name: len(self.errors.rows_of(name)) for name in self.corrected}

    def gain(self, step: str, metric: str = "AP50") -> float:
        """What correcting this one error gains; 0 where nothing counts."""
        return max(self.corrected[step][metric], 0.0) - max(self.result[metric], 0.0)

    def to_dict(self) -> dict:
        """Everything as plain JSON types."""
        counts = self.counts
        return {
            "original": self.result.to_dict(),
            "limit": self.result.at_limit.limit,
            "errors": {
                step: {
                    "count": counts[step],
                    "AP50 gained": self.gain(step),
                    "AP gained": self.gain(step, "AP"),
                }
                for step in self.corrected
            },
        }


def analyze_boxes(
    ground_truth: dict | str | Path, results: list | dict | str | Path, score_limit: float | None = None
) -> BoxAnalysis:
    """Analyses COCO results of boxes; arguments as for `evaluate_boxes`.

    Raises:
        DataError: a field is missing or has another form; names it and the remedy.
    """
    return analyze_case(read_box_case(ground_truth, results), score_limit)


def analyze_case(case: BoxCase, score_limit: float | None = None) -> BoxAnalysis:
    """`analyze_boxes` of what was read."""
    result = score_case(case, score_limit)
    matches = matches_of(run_box_evaluation(case), case)
    everything = find_errors(case, matches, -np.inf)
    steps = [step for step in STEPS if step != "class" or len(case.class_names) > 1]
    corrected = {
        step: score_case(correct(case, matches, everything, step))
        for step in track(steps, "scoring without each error")
    }
    return BoxAnalysis(case, result, find_errors(case, matches, result.at_limit.limit), corrected)


def find_errors(case: BoxCase, matches: Matches, limit: float) -> BoxErrors:
    """The kinds of the boxes with a score of at least `limit`."""
    own, own_iou = best_truths(case)
    other, other_iou = best_truths(case, same_class=False)
    kinds = np.select(
        [
            (own_iou >= _BACKGROUND_IOU) & (own_iou < FOUND_IOU),
            (other_iou >= FOUND_IOU) & (own_iou < FOUND_IOU),
            own_iou >= FOUND_IOU,
            other_iou >= _BACKGROUND_IOU,
        ],
        [TYPES.index(name) for name in ("loose", "class", "doubled", "class")],
        TYPES.index("background"),
    )
    kept = (case.scores >= limit) & ~matches.ignored
    types = np.where(matches.truths >= 0, FINDS, kinds)
    types = np.where(kept, types, NOT_COUNTED)
    of_other = types == TYPES.index("class")
    truths = np.where(of_other, other, own)
    truths = np.where(matches.truths >= 0, matches.truths, truths)
    touched = np.zeros(len(matches.counted), bool)
    touched[truths[(types >= FINDS) & (types != TYPES.index("background")) & (truths >= 0)]] = True
    return BoxErrors(types, truths, np.where(of_other, other_iou, own_iou), matches.counted & ~touched)


def correct(case: BoxCase, matches: Matches, errors: BoxErrors, step: str) -> BoxCase:
    """The case without the errors of one kind.

    Objects that are missed are taken out of the truth, boxes that are doubled or on background out of the
    results. Loose boxes and those of a wrong class become what they should be; where that object is found
    already, or by a better such box, they are taken out.
    """
    if step == MISSED:
        left = _without(case.dataset["annotations"], errors.missed)
        annotations = [entry | {"id": place} for place, entry in enumerate(left, 1)]
        return BoxCase({**case.dataset, "annotations": annotations}, case.used, case.class_names)
    rows = errors.rows_of(step)
    moved = _first_of_each(case, matches, errors.truths, rows) if step in ("loose", "class") else rows[:0]
    used = list(case.used)
    for row in moved.tolist():
        truth = case.dataset["annotations"][errors.truths[row]]
        used[row] = used[row] | {"bbox": truth["bbox"], "category_id": truth["category_id"]}
    gone = np.zeros(len(used), bool)
    gone[np.setdiff1d(rows, moved)] = True
    return BoxCase(case.dataset, _without(used, gone), case.class_names)


def _first_of_each(case: BoxCase, matches: Matches, truths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of `rows` the best box on each object that nothing finds."""
    free = rows[matches.found[truths[rows]] < 0]
    by_score = free[np.argsort(-case.scores[free], kind="stable")]
    _, first = np.unique(truths[by_score], return_index=True)
    return by_score[first]


def _without(items: Collection, left_out: np.ndarray) -> list:
    return [item for item, out in zip(items, left_out.tolist(), strict=True) if not out]
