"""The errors of a detector as files: numbers, a plot, the worst of each kind, and a page of all."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.evaluation.boxes.error_tables import describe, error_rows, plot_errors
from p2net_tf.evaluation.boxes.error_types import MISSED, BoxAnalysis
from p2net_tf.evaluation.report import write_report
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.provenance import describe_environment

PLOT = "errors_boxes.png"


def write_box_errors(
    folder: str | Path, analysis: BoxAnalysis, title: str, pictures=None, command: str = ""
) -> Path:
    """Writes `errors.json`, `errors.html` and their pictures; returns the page.

    Args:
        pictures: `error_analysis.sheet.Pictures` for the worst errors; None leaves them out.
        command: the command line, for the page.
    """
    folder = make_folder(folder)
    plot_errors(analysis, folder / PLOT)
    figures = [{"file": PLOT, "caption": "Errors by their kind, and the AP that each kind costs"}]
    if pictures is not None:
        figures += _write_worst(folder, analysis, pictures)
    rows, limit = error_rows(analysis), analysis.result.at_limit.limit
    report = {
        "title": title,
        "subtitle": describe(analysis),
        "headline": _headline(analysis),
        "scores": {f"Errors from a score of {limit:.3g} on": rows, "Box AP": dict(analysis.result.metrics)},
        "figures": figures,
        "environment": describe_environment(),
        "command": command,
        "errors": analysis.to_dict(),
    }
    return write_report(folder, report, name="errors")


def _headline(analysis: BoxAnalysis) -> dict[str, float]:
    shares = {f"{name} %": row["%"] for name, row in error_rows(analysis).items()}
    return {"AP50": analysis.result["AP50"], "AP": analysis.result["AP"]} | shares


def _write_worst(folder: Path, analysis: BoxAnalysis, pictures) -> list[dict]:
    from p2net_tf.evaluation.boxes.error_sheet import draw_worst_boxes
    from p2net_tf.skeletons import drawing

    figures = []
    for name in analysis.corrected:
        sheet = draw_worst_boxes(analysis, pictures, name)
        if sheet is not None:
            drawing.write_image(folder / f"errors_{name}.jpg", sheet)
            worst = "largest missed" if name == MISSED else f"{name} of the highest scores"
            caption = f"The {worst}: true boxes are white, others that were found blue"
            figures.append({"file": f"errors_{name}.jpg", "caption": caption})
    return figures
