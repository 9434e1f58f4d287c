"""The error analysis as files: numbers, plots, the worst poses, and a page of all."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis
from p2net_tf.evaluation.error_analysis.plots import plot_ap, plot_keypoints
from p2net_tf.evaluation.error_analysis.tables import ap_rows, describe, keypoint_rows
from p2net_tf.evaluation.report import write_report
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.provenance import describe_environment

KEYPOINTS, AP, WORST = "errors_keypoints.png", "errors_ap.png", "errors_worst.jpg"


def write_errors(
    folder: str | Path, analysis: ErrorAnalysis, title: str, pictures=None, command: str = ""
) -> Path:
    """Writes `errors.json`, `errors.html` and their pictures; returns the page.

    Args:
        pictures: `sheet.Pictures` for the worst poses; None leaves them out.
        command: the command line, for the page.
    """
    folder = make_folder(folder)
    plot_ap(analysis, folder / AP)
    plot_keypoints(analysis, folder / KEYPOINTS)
    figures = [
        {"file": AP, "caption": "AP as one error after the other is corrected, and what each costs"},
        {"file": KEYPOINTS, "caption": "Errors of the labeled keypoints of matched persons"},
    ]
    if pictures is not None and _write_worst(folder / WORST, analysis, pictures):
        caption = "The worst poses: the truth is white, lines lead from wrong keypoints to their places"
        figures.append({"file": WORST, "caption": caption})
    report = {
        "title": title,
        "subtitle": describe(analysis),
        "headline": _headline(analysis),
        "scores": {"AP without an error": ap_rows(analysis), "Keypoints in percent": keypoint_rows(analysis)},
        "figures": figures,
        "environment": describe_environment(),
        "command": command,
        "errors": analysis.to_dict(),
    }
    return write_report(folder, report, name="errors")


def _headline(analysis: ErrorAnalysis) -> dict[str, float]:
    shares = keypoint_rows(analysis)["all"]
    return {"AP": analysis.original["AP"]} | {
        f"{name} %": shares[name] for name in shares if name != "labeled"
    }


def _write_worst(path: Path, analysis: ErrorAnalysis, pictures) -> bool:
    from p2net_tf.evaluation.error_analysis.sheet import draw_worst
    from p2net_tf.skeletons import drawing

    sheet = draw_worst(analysis, pictures)
    if sheet is not None:
        drawing.write_image(path, sheet)
    return sheet is not None
