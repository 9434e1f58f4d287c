"""Kinds of errors by hand, what each costs, and the page of them."""

import json

import numpy as np
import pytest
from PIL import Image

from p2net_tf.evaluation.boxes.average_precision import evaluate_boxes
from p2net_tf.evaluation.boxes.error_report import write_box_errors
from p2net_tf.evaluation.boxes.error_sheet import draw_worst_boxes, worst_rows
from p2net_tf.evaluation.boxes.error_types import STEPS, TYPES, analyze_boxes
from p2net_tf.evaluation.error_analysis.sheet import pictures_at, pictures_in_folder
from tests.evaluation.boxes.perturbed import perturbed_boxes
from tests.evaluation.boxes.test_average_precision import found, truth_of

TRUTH = truth_of(
    {1: [[10, 10, 40, 80], [100, 10, 40, 80, 1], [100, 100, 40, 40, 2]], 2: [[10, 10, 60, 60]]}, (1, 2)
)
RESULTS = [
    found(1, [10, 10, 40, 80], 0.9),
    found(1, [12, 12, 40, 80], 0.8),  # doubled
    found(1, [110, 30, 40, 80], 0.7),  # loose, on the second
    found(1, [100, 100, 40, 40], 0.6),  # of the other class
    found(2, [150, 150, 20, 20], 0.5),  # background
    found(2, [10, 10, 60, 60], 0.1),
]
KINDS = ["", "doubled", "loose", "class", "background", ""]


@pytest.fixture
def analysis():
    return analyze_boxes(TRUTH, RESULTS, score_limit=0.2)


def test_kinds(analysis):
    found_kinds = ["" if row < 0 else TYPES[row] for row in analysis.errors.types]
    assert found_kinds == [*KINDS[:-1], ""]
    assert analysis.errors.types[-1] == -2  # below the limit
    assert analysis.errors.missed.tolist() == [False, False, False, True]
    assert analysis.counts == {"missed": 1, "doubled": 1, "loose": 1, "class": 1, "background": 1}
    np.testing.assert_allclose(analysis.errors.ious[2], 30 * 60 / (2 * 3200 - 1800))


def test_what_corrections_are_worth(analysis):
    """The classes' AP50, by hand: hits in the order of the scores, of class 1 with 3 objects."""

    def ap(*precisions):
        """Of three objects: 34, 33 and 34 recall thresholds lie up to 1/3, 2/3 and 1."""
        return float(np.dot([34, 33, 34][: len(precisions)], precisions)) / 101

    def both(first, second=0.0):
        return pytest.approx((first + second) / 2)

    assert analysis.result["AP50"] == both(ap(1, 2 / 6))
    assert analysis.corrected["doubled"]["AP50"] == both(ap(1, 2 / 5))
    assert analysis.corrected["loose"]["AP50"] == both(ap(1, 2 / 3, 3 / 6))
    assert analysis.corrected["background"]["AP50"] == both(ap(1, 2 / 5))
    assert analysis.corrected["class"]["AP50"] == both(ap(1, 2 / 5), 1)
    assert analysis.gain("class") == pytest.approx(
        analysis.corrected["class"]["AP50"] - analysis.result["AP50"]
    )
    assert analysis.corrected["missed"]["AP50"] == analysis.result["AP50"]  # at all scores nothing is missed


def test_missed_objects_taken_out():
    analysis = analyze_boxes(TRUTH, RESULTS[:1])
    assert analysis.counts["missed"] == 3
    assert analysis.corrected["missed"]["AP50"] == pytest.approx(1)
    assert analysis.to_dict()["errors"]["missed"]["count"] == 3


def test_a_loose_box_on_a_taken_object_is_taken_out():
    truth = truth_of({1: [[0, 0, 100, 100]]})
    results = [found(1, [30, 30, 100, 100], 0.9), found(1, [0, 0, 100, 100], 0.8)]
    analysis = analyze_boxes(truth, results)
    assert analysis.result["AP50"] == pytest.approx(0.5)
    assert analysis.corrected["loose"]["AP50"] == pytest.approx(1)
    assert "class" not in analysis.corrected


def test_perturbed_boxes_of_people(data_root):
    """All corrections together would leave nothing wrong; each alone never harms."""
    truth = json.loads((data_root / "people_boxes/person_boxes_val.json").read_text())
    results = perturbed_boxes(truth)
    analysis = analyze_boxes(truth, results)
    assert all(analysis.gain(step) >= -1e-9 for step in analysis.corrected)
    assert list(analysis.corrected) == [step for step in STEPS if step != "class"]
    point = analysis.result.at_limit
    assert analysis.counts["doubled"] == point.doubled > 10
    kinds = [analysis.counts[name] for name in ("doubled", "loose", "background")]
    hits = round(point.precision * (sum(kinds) / (1 - point.precision)))
    assert sum(kinds) + hits == point.kept
    assert evaluate_boxes(truth, results).to_dict() == analysis.result.to_dict()


@pytest.fixture
def pictures(tmp_path):
    for number in (1, 2):
        Image.fromarray(np.full((200, 200, 3), 60, np.uint8)).save(tmp_path / f"{number}.jpg")
    return pictures_at({"1": str(tmp_path / "1.jpg"), 2: str(tmp_path / "2.jpg")})


def test_sheets(analysis, pictures):
    sheet = draw_worst_boxes(analysis, pictures, "doubled")
    assert sheet.shape[1] == 240 + 2 * 8
    assert (np.abs(sheet.astype(int) - [0xB5, 0x65, 0xD8]).max(axis=-1) < 40).sum() > 200  # its color
    assert draw_worst_boxes(analyze_boxes(TRUTH, RESULTS[:1]), pictures, "doubled") is None


def test_the_worst_come_first():
    boxes = [found(2, [150, 150, 20, 20 + n], score) for n, score in enumerate((0.3, 0.9, 0.5))]
    analysis = analyze_boxes(TRUTH, boxes, 0)
    assert worst_rows(analysis, "background").tolist() == [1, 2, 0]
    assert worst_rows(analysis, "missed").tolist() == [3, 0, 1, 2]


def test_a_lost_picture_is_named(analysis, tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TRUTH))
    sheet = draw_worst_boxes(analysis, pictures_in_folder(tmp_path, path), "missed")
    assert sheet.shape[1] == 256


def test_the_page(analysis, pictures, tmp_path):
    page = write_box_errors(tmp_path, analysis, "Errors of a test", pictures, "p2net score boxes")
    text = page.read_text()
    assert "5 boxes with a score of 0.2 and more find 25.0% of 4 objects" in text
    assert text.count("<figure") == 6
    content = json.loads((tmp_path / "errors.json").read_text())
    assert content["errors"]["errors"]["doubled"]["count"] == 1
    assert (tmp_path / "errors_missed.jpg").is_file()
