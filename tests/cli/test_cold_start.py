"""Verbs that need no network wait for no TensorFlow."""

import subprocess
import sys

import pytest

from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from tests.data.boxes.box_sets import write_coco, write_voc, write_yolo

PROGRAM = """
import sys
from typer.testing import CliRunner
from p2net_tf.cli import app
done = CliRunner().invoke(app, sys.argv[1:])
loaded = [name for name in ("tensorflow", "keras", "matplotlib", "pandas") if name in sys.modules]
print(done.exit_code, loaded, done.output if done.exit_code else "")
"""


def run(*words) -> str:
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--json"),
        ("show", "planted_search"),
        ("show", "p2net_small_lsp_128x128", "training.epochs=5", "--resolved"),
        ("copy", "planted_search", "--to", "copies"),
    ],
    ids=" ".join,
)
def test_config(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("config", *words) == "0 []"


def test_policy_list_with_a_schedule(tmp_path):
    schedule = PolicySchedule(draws=2, knots=[Knot(0, [Share("Rotate", 0.5, 3, 1)])])
    schedule.save(tmp_path / "warmer.yaml")
    assert run("policy", "list", tmp_path / "warmer.yaml") == "0 []"
    assert run("policy", "list", "--json") == "0 []"


class TestDataCheck:
    @pytest.mark.parametrize("write", [write_coco, write_voc, write_yolo])
    def test_boxes(self, write, tmp_path):
        root = write(tmp_path / "set")
        assert run("data", "check", root, "--out", tmp_path / "problems.json") == "0 []"

    @pytest.mark.parametrize(
        ("folder", "options"),
        [
            ("coco_tiny", ["--split", "val2017"]),
            ("lsp", ["--format", "lsp", "--split", "test", "--skeleton", "lsp14"]),
        ],
    )
    def test_people(self, folder, options, data_root, tmp_path):
        options = [*options, "--out", tmp_path / "problems.json"]
        assert run("data", "check", data_root / folder, *options) == "0 []"
