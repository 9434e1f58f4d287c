"""The error analysis as rows of tables, for the terminal and for the page."""

from __future__ import annotations

import math

from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.correction import STEPS
from p2net_tf.evaluation.error_analysis.keypoints import TYPES


def keypoint_rows(analysis: ErrorAnalysis) -> dict[str, dict[str, float]]:
    """Each keypoint, then all: how many are labeled, and the percentage of each type; NaN of none."""
    counts = analysis.counts
    names = (*analysis.case.skeleton.keypoints, "all")
    rows = [*counts.tolist(), counts.sum(0).tolist()]
    return {name: {"labeled": sum(row), **_percent(row)} for name, row in zip(names, rows, strict=True)}


def ap_rows(analysis: ErrorAnalysis) -> dict[str, dict[str, float]]:
    """Each step: AP and its gain with that one corrected, and with all up to it corrected."""
    return {
        step: {
            "alone": analysis.alone[step]["AP"],
            "gain": analysis.gain_alone(step),
            "with all above": analysis.together[step]["AP"],
            "its gain": analysis.gain_together(step),
        }
        for step in STEPS
    }


def describe(analysis: ErrorAnalysis) -> str:
    """What was compared, in one sentence."""
    matches = analysis.matches
    return (
        f"{len(matches.pose_rows)} of {matches.counted.sum()} persons that count are matched (OKS 0.1), "
        f"{matches.missed.sum()} are missed; {matches.background.sum()} of {len(matches.background)} poses "
        "lie on nobody."
    )


def _percent(row: list[int]) -> dict[str, float]:
    total = sum(row)
    return {name: 100 * count / total if total else math.nan for name, count in zip(TYPES, row, strict=True)}
