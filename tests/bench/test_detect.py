"""Detectors side by side, torchvision's beside ours."""

import json

import pytest
from tiny_detectors import tiny_detector
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "net.keras"
    NetworkDetector(tiny_detector("one_stage"), DetectorCard(shorter_side=64, longer_side=96)).save(path)
    return str(path)


def bench(detector, folder, *options) -> dict:
    arguments = ["bench", "detect", detector, "--count", "1", "--rounds", "1", "--out", f"{folder}/b.json"]
    result = CliRunner().invoke(app, [*arguments, *options, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads((folder / "b.json").read_text()) == json.loads(result.stdout)
    return json.loads(result.stdout)


@pytest.mark.slow
def test_ours(detector, tmp_path):
    report = bench(detector, tmp_path, "--no-peers")
    assert list(report["pictures_per_second"]) == [detector]
    assert report["ratio"][detector]["median"] == 1
    assert report["pictures"] == {"count": 1, "from": "rendered", "sizes": ["640x480"]}
    weights = NetworkDetector.load(detector).network.trainable_weights
    assert report["parameters"][detector] == sum(weight.numpy().size for weight in weights)


@pytest.mark.slow
def test_beside_torchvision(detector, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("torchvision_peer")
    report = bench(detector, tmp_path)
    # As published, but for the 26,560 scales and offsets each of batch normalization, which are frozen there.
    assert report["parameters"]["torchvision Faster R-CNN R50-FPN"] == 41_755_286 + 2 * 26_560
    assert len(report["pictures_per_second"]) == 3
    assert report["ratio"]["torchvision Faster R-CNN R50-FPN"]["median"] > 1
