"""Frames per second beside the bare networks."""

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("av", reason="PyAV, the extra 'video', is not installed")

from p2net_tf.bench.video import EVERY_FRAME, NETWORKS, READING, bench_video
from p2net_tf.cli import app
from p2net_tf.utils.exceptions import UserError

pytestmark = pytest.mark.slow


def test_all_take_turns(tmp_path):
    arguments = ["bench", "video", "--frames", "4", "--rounds", "1", "--detect-every", "2"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "b.json"), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "b.json").read_text()) == report
    seldom = "detector every 2 frames"
    assert list(report["frames_per_second"]) == [NETWORKS, READING, EVERY_FRAME, seldom]
    assert set(report["of_the_networks"]) == {EVERY_FRAME, seldom}
    assert report["video"]["size"] == "1280x720" and report["video"]["frames"] == 4


def test_a_detector_without_a_network(tmp_path):
    with pytest.raises(UserError, match="give one of this project"):
        bench_video("p2net_small_lsp", tmp_path / "b.json", detector="whole_image")
