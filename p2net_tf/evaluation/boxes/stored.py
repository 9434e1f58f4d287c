"""Scores stored boxes against stored ground truth: what `p2net score boxes` calls."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.evaluation.boxes.error_report import write_box_errors
from p2net_tf.evaluation.boxes.error_types import BoxAnalysis, analyze_boxes


def analyze_stored_boxes(
    gt_path: str | Path,
    pred_path: str | Path,
    score_limit: float | None = None,
    out: str | Path | None = None,
    images: str | Path | None = None,
    command: str = "",
) -> BoxAnalysis:
    """The errors behind `evaluate_boxes`, whose arguments the first three are.

    Args:
        out: folder for `errors.html`, `errors.json` and pictures; None writes nothing.
        images: folder of the pictures, for the worst errors; needs TensorFlow.
        command: the command line, for the page.
    """
    analysis = analyze_boxes(gt_path, pred_path, score_limit)
    if out is not None:
        pictures = None
        if images is not None:
            from p2net_tf.evaluation.error_analysis.sheet import pictures_in_folder

            pictures = pictures_in_folder(images, gt_path, offset=0.0)
        write_box_errors(out, analysis, f"Errors of {Path(pred_path).name}", pictures, command)
    return analysis
