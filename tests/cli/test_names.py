"""File names that are no UTF-8 are read as bytes and shown escaped, by the verbs that take pictures."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from p2net_tf import cli
from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.check import write_problems
from p2net_tf.data.samples import Problem
from p2net_tf.evaluation.report import write_report
from p2net_tf.utils.console import be_quiet

NAME = os.fsdecode(b"caf\xe9")


def ends(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["p2net", *map(str, words)])
    be_quiet(False)
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    return code, *capsys.readouterr()


@pytest.fixture
def pictures(tmp_path):
    """One of an ordinary name, one of another name, and one in a folder of such a name."""
    folder = tmp_path / NAME
    folder.mkdir()
    paths = [tmp_path / "a.jpg", tmp_path / f"{NAME}.jpg", folder / "b.jpg"]
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    for path in paths:
        Image.fromarray(pixels).save(path)
    return paths


def test_reports_and_lists_of_problems_are_json_that_reads_back(tmp_path):
    """Also as a page, and as text that other programs read."""
    problem = Problem("error", "image_missing", f"/data/{NAME}.jpg", "missing", "bring it")
    write_problems([problem], tmp_path / "problems.json")
    assert load_json(tmp_path / "problems.json")["problems"][0]["file"] == problem.file
    write_report(tmp_path, {"title": "run", "notes": [str(problem)], "command": f"p2net evaluate {NAME}"})
    assert load_json(tmp_path / "report.json")["notes"] == [str(problem)]
    assert r"caf\udce9.jpg" in (tmp_path / "report.html").read_text("utf-8")


def test_a_data_set(pictures, tmp_path, monkeypatch, capsys):
    names = [*(path.name for path in pictures[:2]), f"{NAME}2"]
    people = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 30, 40], "area": 900.0, "iscrowd": 0,
             "num_keypoints": 17, "keypoints": [20, 20, 2] * 17} for i in range(3)
        ],
    }  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps(people))
    (tmp_path / "train").symlink_to(tmp_path)
    options = ["--annotations", tmp_path / "annotations.json", "--out", tmp_path / "problems.json"]
    code, out, err = ends(monkeypatch, capsys, "data", "check", tmp_path, *options, "--json")
    assert (code, err) == (0, "")
    problems = json.loads(out)["problems"]
    assert [p["file"] for p in problems if p["kind"] == "image_missing"] == [f"{tmp_path}/train/{NAME}2"]
    assert json.loads((tmp_path / "problems.json").read_text())["problems"] == problems


@pytest.mark.slow
def test_a_batch_of_pictures(pictures, tmp_path, monkeypatch, capsys):
    """One that is missing is set aside, and named; the others have their poses."""
    lost = tmp_path / f"{NAME}_lost.jpg"
    code, out, err = ends(
        monkeypatch, capsys, "predict", *pictures, lost, "--whole-image", "--out", tmp_path / "out"
    )
    assert code == 0 and "3 poses in 3 images" in out
    assert (
        "set aside image_missing" in err
        and r"caf\udce9_lost.jpg" in err.encode("utf-8", "backslashreplace").decode()
    )
    poses = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [pose["file_name"] for pose in poses] == ["a.jpg", f"{NAME}.jpg", "b.jpg"]
    assert (tmp_path / "out" / f"{NAME}_2.jpg").is_file()
    (problem,) = json.loads((tmp_path / "out/problems.json").read_text())["problems"]
    assert problem["file"] == str(lost)
