"""Reports: the same numbers in JSON and HTML, one page that stands alone."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from p2net_tf.evaluation.report import plot_curves, write_report
from p2net_tf.evaluation.report_page import format_value
from p2net_tf.skeletons import drawing
from p2net_tf.utils.provenance import describe_environment, git_commit

REPORT = {
    "title": "P2Net <small> & others",
    "subtitle": "on LSP",
    "headline": {"PCK@0.2": 77.34, "Training time": "2 h 41 min", "Parameters": 3412776},
    "scores": {
        "PCK": {"Head": 92.1, "Wrist": 64.5},
        "By method": {"Ankle": {"ours": 0.612, "theirs": 0.7251}, "Knee": {"ours": 0.5}},
        "Cost": {"ms": 14.2, "crops": 3},
    },
    "figures": [{"file": "overlays.png", "caption": 'six "test" images'}],
    "notes": ["2 < 3 persons"],
    "environment": {"seed": 0, "keras": "3.15.1"},
    "command": "p2net evaluate runs/a && echo '<done>'",
}


@pytest.fixture
def folder(tmp_path):
    drawing.write_image(tmp_path / "overlays.png", np.full((4, 6, 3), 77, np.uint8))
    return tmp_path


class Page(HTMLParser):
    """The text of a page, its tags, and every address it refers to."""

    def __init__(self, html: str):
        super().__init__()
        self.texts, self.tags, self.addresses = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def page_of(folder, report=REPORT):
    return Page(write_report(folder, report).read_text(encoding="utf-8"))


def test_json_is_read_back_equal(folder):
    write_report(folder, REPORT)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == REPORT


def test_numpy_becomes_numbers_and_nan_becomes_null(folder):
    scores = {"AP": {"all": np.float32(0.5), "large": float("nan")}, "curve": np.array([1, 2])}
    write_report(folder, {"title": "t", "scores": {"AP": scores["AP"]}, "curve": scores["curve"]})
    read = json.loads((folder / "report.json").read_text())
    assert read == {"title": "t", "scores": {"AP": {"all": 0.5, "large": None}}, "curve": [1, 2]}


def test_page_shows_every_number_and_text(folder):
    texts = page_of(folder).texts
    shown = [
        "77.34",
        "2 h 41 min",
        "3,412,776",
        "92.10",
        "64.50",
        "0.6120",
        "0.7251",
        "–",
        "14.20",
        "2 < 3 persons",
    ]
    for text in [*shown, "P2Net <small> & others", 'six "test" images', "3.15.1", REPORT["command"]]:
        assert text in texts, text


def test_markup_in_texts_is_escaped(folder):
    hostile = "<script>alert(1)</script>"
    report = {
        "title": hostile,
        "subtitle": hostile,
        "headline": {hostile: hostile},
        "scores": {hostile: {hostile: {hostile: 1.0}}},
        "figures": [{"file": "overlays.png", "caption": f'"><img src=x>{hostile}'}],
        "notes": [hostile],
        "environment": {hostile: hostile},
        "command": hostile,
    }
    page = page_of(folder, report)
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    # Title (in the head and in the page), subtitle, card (2), table (3), note, fact (2), command.
    assert page.texts.count(hostile) == 12


def test_page_stands_alone(folder):
    page = page_of(folder)
    assert "script" not in page.tags and "link" not in page.tags
    (image,) = page.addresses
    assert (
        image == "data:image/png;base64," + base64.b64encode((folder / "overlays.png").read_bytes()).decode()
    )
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", html)
    assert "prefers-color-scheme: dark" in html


def test_bars_are_drawn_for_rates_only(folder):
    page_of(folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"--share: ([\d.]+)%", html) == ["92.10", "64.50"]


def test_only_a_title_is_needed(folder):
    assert "h2" not in page_of(folder, {"title": "t"}).tags
    with pytest.raises(ValueError, match="needs a 'title'"):
        write_report(folder, {"scores": {}})


def test_wrong_reports_leave_nothing_behind(folder):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        write_report(folder, {"title": "t", "figures": [{"file": "missing.png"}]})
    with pytest.raises(ValueError, match="not object"):
        write_report(folder, {"title": "t", "extra": object()})
    with pytest.raises(ValueError, match=r"scores\['AP'\] is a table"):
        write_report(folder, {"title": "t", "scores": {"AP": 0.5}})
    assert {file.name for file in folder.iterdir()} == {"overlays.png"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("x", "x"),
        (0, "0"),
        (1234567, "1,234,567"),
        (77.345, "77.34"),
        (-10.0, "−10.00"),
        (0.05, "0.0500"),
        (0.0, "0.0000"),
        (2e-5, "2e-05"),
        (51234.6, "51,235"),
    ],
)
def test_numbers_are_formatted_by_their_size(value, text):
    assert format_value(value) == text


HISTORY = """\
epoch,learning_rate,loss,accuracy,val_loss,val_accuracy
0,0.001,0.5,0.1,,
1,0.0005,0.4,0.3,0.45,0.2
2,0.0,0.3,0.5,0.41,0.4
"""


def orange(png):
    """Number of pixels in the color of the validation curves."""
    image = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
    return np.count_nonzero(np.all(image == (0x38, 0x8C, 0xF2, 255), axis=-1))


def test_curves_show_training_and_validation(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    plot_curves(tmp_path / "history.csv", tmp_path / "curves.png")
    (tmp_path / "plain.csv").write_text("epoch,loss,accuracy\n0,0.5,0.1\n1,0.4,0.2\n")
    plot_curves(tmp_path / "plain.csv", tmp_path / "plain.png")
    image = cv2.imread(str(tmp_path / "curves.png"), cv2.IMREAD_UNCHANGED)
    plain = cv2.imread(str(tmp_path / "plain.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape[2] == 4 and image[0, 0, 3] == 0
    assert image.shape[1] * 2 == plain.shape[1] * 3  # three panels, and two without a learning rate
    assert orange(tmp_path / "curves.png") > 200
    assert orange(tmp_path / "plain.png") == 0


@pytest.mark.parametrize(
    ("text", "metric", "fault"),
    [
        ("", None, "no epochs"),
        ("epoch,loss\n", None, "no epochs"),
        ("step,loss\n1,2\n", None, "'epoch' column"),
        (HISTORY, "recall", "no column 'recall' or 'val_recall'"),
    ],
)
def test_wrong_histories_are_named(tmp_path, text, metric, fault):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=fault):
        plot_curves(tmp_path / "history.csv", tmp_path / "curves.png", metric)


def test_environment_names_versions_and_given_facts():
    environment = describe_environment(seed=3)
    assert environment["seed"] == "3"
    assert re.fullmatch(r"3\.\d+\.\d+.*", environment["keras"])
    assert "tensorflow" in environment and "python" in environment


def test_no_commit_outside_of_git(tmp_path):
    assert git_commit(tmp_path) is None
