"""Keypoint error analysis: what goes wrong in predicted poses, and how much AP each kind of error costs.

The idea is that of coco-analyze: Ruggero Ronchi and Perona, "Benchmarking and Error Diagnosis in
Multi-Instance Pose Estimation", ICCV 2017. Poses are matched to persons by pycocotools at an OKS of 0.1.
Every labeled keypoint of a matched person is good, or a jitter, inversion, swap or miss (`keypoints`
defines them). Then the errors of one kind are corrected (`correction`) and pycocotools scores again.

Beside keypoints, `score` stands for poses that are ranked wrongly (a second pose of a person is one),
`background` for poses that lie on nobody, and `missed person` for persons whom no pose matches. The paper
decides the last two at each OKS threshold anew, after all corrections; here they are those of the matching,
so that each step is one set of predictions and truth that anyone can score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.evaluation.coco import CocoResult, evaluate_coco
from p2net_tf.evaluation.error_analysis.correction import STEPS, correct
from p2net_tf.evaluation.error_analysis.keypoints import TYPES, KeypointErrors, find_keypoint_errors
from p2net_tf.evaluation.error_analysis.matching import Case, Matches, match_poses, read_case
from p2net_tf.evaluation.settings import COCO_PEOPLE
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import track


@dataclass(frozen=True)
class ErrorAnalysis:
    """What an analysis found.

    Attributes:
        case, matches, errors: the poses and persons, who matches whom, and the kind of every keypoint.
        original: the score as it is.
        alone: `STEPS` to the score with that one corrected.
        together: `STEPS` to the score with that and all before it corrected.
    """

    case: Case
    matches: Matches
    errors: KeypointErrors
    original: CocoResult
    alone: dict[str, CocoResult]
    together: dict[str, CocoResult]

    @property
    def counts(self) -> np.ndarray:
        """`[K, 5]` keypoints of each of the `TYPES`."""
        return np.stack([np.sum(self.errors.types == row, axis=0) for row in range(len(TYPES))], axis=1)

    def gain_alone(self, step: str) -> float:
        """AP that correcting this one error gains; NaN where nobody counts."""
        return _gain(self.original, self.alone[step])

    def gain_together(self, step: str) -> float:
        """AP that correcting this error gains after all before it."""
        before = [self.original, *self.together.values()][STEPS.index(step)]
        return _gain(before, self.together[step])

    def to_dict(self) -> dict:
        """Everything as plain JSON types, NaN as None."""
        names = self.case.skeleton.keypoints
        rows = dict(zip(names, self.counts.tolist(), strict=True))
        rows["total"] = self.counts.sum(0).tolist()
        return {
            "original": self.original.to_dict() | {"AP by OKS threshold": self.original.ap_by_threshold},
            "matched_persons": len(self.matches.pose_rows),
            "missed_persons": int(self.matches.missed.sum()),
            "background_poses": int(self.matches.background.sum()),
            "keypoints": {
                name: {"labeled": sum(row), **dict(zip(TYPES, row, strict=True))}
                for name, row in rows.items()
            },
            "corrected_alone": _steps(self.alone, self.gain_alone),
            "corrected_together": _steps(self.together, self.gain_together),
        }


def analyze_errors(
    ground_truth: dict | str | Path,
    results: list | dict | str | Path,
    skeleton: str | Path | Skeleton = "coco17",
    max_people: int = COCO_PEOPLE,
) -> ErrorAnalysis:
    """Analyses COCO results against COCO ground truth, both in the same coordinate convention.

    Args:
        ground_truth, results: as `evaluate_coco` takes them; `coco_ground_truth` and `coco_results` make them
            of `Samples` and arrays.
        skeleton: card whose sigmas and flip pairs count.
        max_people: as for `evaluate_coco`.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    case = read_case(ground_truth, results, card)
    matches = match_poses(case, max_people)
    errors = find_keypoint_errors(case, matches)
    wanted = [*((step,) for step in STEPS), *(STEPS[: n + 1] for n in range(1, len(STEPS)))]
    scores = {
        steps: evaluate_coco(*correct(case, matches, errors, steps), card.sigmas, max_people)
        for steps in track(wanted, "scoring without each error")
    }
    return ErrorAnalysis(
        case,
        matches,
        errors,
        original=evaluate_coco(ground_truth, results, card.sigmas, max_people),
        alone={step: scores[(step,)] for step in STEPS},
        together={step: scores[STEPS[: n + 1]] for n, step in enumerate(STEPS)},
    )


def _gain(before: CocoResult, after: CocoResult) -> float:
    """pycocotools gives -1 where nobody counts."""
    return math.nan if min(before["AP"], after["AP"]) < 0 else after["AP"] - before["AP"]


def _steps(results: dict[str, CocoResult], gain) -> dict:
    return {
        step: {
            "AP": result["AP"],
            "gain": None if math.isnan(gain(step)) else gain(step),
            "AP by OKS threshold": result.ap_by_threshold,
        }
        for step, result in results.items()
    }
