"""Rendered people followed by the whole chain, and scored."""

import json
from io import StringIO

import numpy as np
import pytest
from calls import call
from rich.console import Console
from saved_networks import saved_two_convolutions

pytest.importorskip("motmetrics", reason="motmetrics, the extra 'tracks', is not installed")

from p2net_tf.bench import tracks
from p2net_tf.bench.tracks import bench_tracks
from p2net_tf.cli.bench import Walk
from p2net_tf.cli.bench_tables import print_tracks
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.walks import SCENES, WalkOptions
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Knows nothing, and is sure of nothing: boxes alone decide."""
    path = tmp_path_factory.mktemp("network") / "net.keras"
    saved_two_convolutions(path)
    return path


def test_all_kinds_can_be_asked_for():
    assert tuple(kind.value for kind in Walk) == SCENES


@pytest.mark.slow
def test_a_report(network, tmp_path):
    out = tmp_path / "tracks.json"
    kinds = ("walking", "leaving")
    options = WalkOptions(height=96, width=128, seconds=2.0)
    report = bench_tracks(str(network), out, None, 5, 2, kinds, 3, options, "a command")
    assert json.loads(out.read_text()) == report
    assert report["detector"]["is"] == "the truth, disturbed" and report["detector"]["lost"] == 0.05
    assert list(report["results"]) == ["every frame", "every 5 frames"]
    for results in report["results"].values():
        assert list(results) == [*kinds, "all"]
        parts = [results[kind] for kind in kinds]
        for name in ("scenes", "kept", "boxes", "missed", "false", "switches", "frames", "people"):
            assert results["all"][name] == sum(part[name] for part in parts)
        errors = sum(results["all"][name] for name in ("missed", "false", "switches"))
        assert results["all"]["MOTA"] == pytest.approx(1 - errors / results["all"]["boxes"])
        assert set(results["all"]["smooth"]) == {"AP", "jitter", "lag"}
    seen = report["detector"]["looks"]
    assert seen["every frame"]["people"] == pytest.approx(5 * seen["every 5 frames"]["people"], rel=0.1)


class NoOne(PersonDetector):
    def detect_in(self, picture):
        return Boxes(np.zeros((0, 4)), [])


def test_where_nobody_is_found(network, tmp_path, monkeypatch):
    """There are numbers where there are some, and the file is there after every kind of scene."""
    monkeypatch.setattr(tracks, "open_detector", lambda word: NoOne())
    options, out = WalkOptions(height=96, width=128, seconds=0.4), tmp_path / "tracks.json"
    report = bench_tracks(str(network), out, "blind", 5, 1, ("walking",), 3, options)
    for results in report["results"].values():
        assert results["all"]["missed"] == results["all"]["boxes"] > 0 and results["all"]["kept"] == 0
        assert results["all"]["MOTA"] == 0 and results["all"]["jitter"] is None
    assert report["detector"]["looks"]["every frame"]["found"] == 0
    console = Console(file=StringIO(), width=120)
    print_tracks(report, console)
    assert "0.0% of" in console.file.getvalue()
    monkeypatch.setattr(tracks, "render_walk", stop_at_leaving(tracks.render_walk))
    with pytest.raises(KeyboardInterrupt):
        bench_tracks(str(network), out, "blind", 5, 1, ("walking", "leaving"), 3, options)
    written = json.loads(out.read_text())
    assert written["results"] == report["results"] and written["title"] == report["title"]


def stop_at_leaving(render):
    def until_then(seed, kind, options):
        if kind == "leaving":
            raise KeyboardInterrupt
        return render(seed, kind, options)

    return until_then


def test_a_network_of_other_keypoints(tmp_path):
    with pytest.raises(DataError, match="keypoints of 'lsp14', rendered people have those of 'coco17'"):
        bench_tracks("p2net_small_lsp", tmp_path / "tracks.json", scenes=1)


@pytest.mark.slow
def test_on_the_command_line(network, tmp_path):
    arguments = ["--model", network, "--scenes", 1, "--scene", "leaving", "--detector", "whole_image"]
    said = call("bench", "tracks", *arguments, "--out", tmp_path / "b.json").output
    assert "MOTA" in said and "leaving" in said and "crossing" not in said
    assert "Boxes: whole_image" in said
