"""COCO's box AP and AR, by pycocotools, and what a detector does at one limit of its scores."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from p2net_tf.evaluation.boxes.case import BoxCase, matches_of, read_box_case, run_box_evaluation
from p2net_tf.evaluation.boxes.diagnostics import always_said, why_so_low
from p2net_tf.evaluation.boxes.operating_point import OperatingPoint, best_limit, operating_point

METRICS = (
    *("AP", "AP50", "AP75", "AP(S)", "AP(M)", "AP(L)"),
    *("AR1", "AR10", "AR100", "AR(S)", "AR(M)", "AR(L)"),
)
SUSPICIOUS_AP = 0.05
"""Below this AP, `BoxResult.diagnostics` says why."""
MAX_BOXES = 100
"""Boxes of a picture that count, those of the highest scores."""


@dataclass(frozen=True)
class ClassResult:
    """Of one class: `AP`, `AP50`, `AR100` and `R100` as in `BoxResult`."""

    metrics: dict[str, float]
    objects: int
    predictions: int


@dataclass(frozen=True)
class BoxResult:
    """What COCO's evaluation of boxes gives, averaged over the classes.

    Attributes:
        metrics: `METRICS` to values in 0..1; -1 (as pycocotools) where no object falls in the range. AR1,
            AR10 and AR100 count so many boxes of a picture.
        recall: R100, the part of the objects that any of the 100 best boxes of a picture finds (IoU 0.5).
        at_limit: what boxes above one score do.
        images: images of the ground truth.
        objects: objects that count, no crowds.
        predictions: boxes that were given.
        diagnostics: sentences, each a finding with its remedy.
        classes: of each class, where there are several.
    """

    metrics: dict[str, float]
    recall: float
    at_limit: OperatingPoint
    images: int
    objects: int
    predictions: int
    diagnostics: tuple[str, ...] = ()
    classes: Mapping[str, ClassResult] = field(default_factory=dict)

    name = "box AP"
    """What tables call it."""

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    def to_dict(self) -> dict:
        """The metrics by name, then all else, as plain JSON types."""
        classes = {
            name: {**found.metrics, "objects": found.objects, "predictions": found.predictions}
            for name, found in self.classes.items()
        }
        return {
            **self.metrics,
            "R100": self.recall,
            "at_limit": asdict(self.at_limit),
            "images": self.images,
            "objects": self.objects,
            "predictions": self.predictions,
            **({"classes": classes} if classes else {}),
            "diagnostics": list(self.diagnostics),
        }


def evaluate_boxes(
    ground_truth: dict | str | Path,
    results: list | dict | str | Path,
    score_limit: float | None = None,
) -> BoxResult:
    """AP and AR of boxes over IoU 0.50, 0.55, ... 0.95, and doubles.

    Args:
        ground_truth: COCO annotations as a dict or the path of the JSON. Areas, categories and flags may be
            missing, as when boxes are read.
        results: list of `{image_id, category_id, bbox [x, y, w, h], score}`, a dict that holds it under
            `annotations`, or the path of such a JSON.
        score_limit: of `BoxResult.at_limit`; None takes that of the best F1 score.

    Raises:
        DataError: a field is missing or has another form; names it and the remedy.
    """
    return score_case(read_box_case(ground_truth, results), score_limit)


def score_case(case: BoxCase, score_limit: float | None = None) -> BoxResult:
    """`evaluate_boxes` of what was read."""
    evaluation = run_box_evaluation(case)
    matches = matches_of(evaluation, case)
    metrics = _summarized(evaluation)
    findings = always_said(case)
    if metrics["AP"] < SUSPICIOUS_AP:
        findings += why_so_low(case)
    limit = best_limit(case, matches) if score_limit is None else score_limit
    return BoxResult(
        metrics,
        _mean(evaluation.eval["recall"][0, :, 0, -1]),
        operating_point(case, matches, limit),
        images=len(case.dataset["images"]),
        objects=int(matches.counted.sum()),
        predictions=len(case.detections),
        diagnostics=tuple(findings),
        classes=_by_class(evaluation, case, matches.counted) if len(case.class_names) > 1 else {},
    )


def _summarized(evaluation: COCOeval) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


def _by_class(evaluation: COCOeval, case: BoxCase, counted: np.ndarray) -> dict[str, ClassResult]:
    """In the order of the categories."""
    precision = evaluation.eval["precision"][..., 0, -1]  # [thresholds, recalls, categories]
    recall = evaluation.eval["recall"][:, :, 0, -1]
    found = {}
    for row, name in enumerate(case.class_names):
        metrics = {
            "AP": _mean(precision[:, :, row]),
            "AP50": _mean(precision[0, :, row]),
            "AR100": _mean(recall[:, row]),
            "R100": _mean(recall[0, row]),
        }
        objects, given = (
            int(np.count_nonzero(rows))
            for rows in (counted & (case.truth_classes == row), case.classes == row)
        )
        if objects or given:
            found[name] = ClassResult(metrics, objects, given)
    return found


def _mean(values: np.ndarray) -> float:
    """Without the -1 of what nothing falls in."""
    known = np.asarray(values)[np.asarray(values) > -1]
    return float(known.mean()) if known.size else -1.0
