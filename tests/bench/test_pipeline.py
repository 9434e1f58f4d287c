"""What `p2net bench pipeline` measures and writes; never how long something took."""

import json
from io import StringIO

import numpy as np
import pytest
from networks import two_convolutions_in_place_of_p2net
from rich.console import Console
from typer.testing import CliRunner

from p2net_tf.bench import pipeline
from p2net_tf.bench.large_photographs import enlarged
from p2net_tf.bench.pipeline import PipelineSettings, bench_pipeline
from p2net_tf.cli import app
from p2net_tf.cli.bench_tables import print_pipeline
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.coco import read_coco
from p2net_tf.data.image_files import decode_file
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.utils.console import be_quiet

pytestmark = [pytest.mark.slow, pytest.mark.long]

STAGES = {
    "read",
    "decode, whole",
    "decode, windows",
    "decode, windows reduced",
    "pack",
    "windows and keypoints",
    "warp, grey levels to 0..1",
    "colour, where it is on",
}
OURS = {"ours", "ours, decoding all", "ours, decoding all reduced"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 9, seed=2, options=SceneOptions(height=96, width=128, max_persons=1))
    return root


@pytest.fixture(scope="module")
def measured(root, tmp_path_factory):
    """`(what was printed, the file)` of a short round with a tiny network."""
    pytest.importorskip("torch", reason="the peer's loader is PyTorch's, the extra `torch`")
    file = tmp_path_factory.mktemp("bench") / "deep/bench_pipeline.json"
    options = [
        "--format",
        "coco",
        "--skeleton",
        "coco17",
        "--height",
        "64",
        "--width",
        "32",
        "--batch-size",
        "4",
    ]
    options += [
        "--rounds",
        "1",
        "--batches",
        "2",
        "--workers",
        "2",
        "--people",
        "8",
        "--out",
        str(file),
        "--json",
    ]
    done = CliRunner().invoke(app, ["bench", "pipeline", str(root), *options])
    be_quiet(False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), json.loads(file.read_text())


def test_prints_what_it_writes(measured):
    assert measured[0] == measured[1]


def test_ours_stands_beside_the_peer_with_as_many_processes(measured):
    report = measured[1]
    peers = {"peer, 1 process", "peer, 2 processes"}
    assert report["peer"] == "peer, 2 processes"
    assert report["images_per_second"].keys() == report["core_seconds"].keys() == OURS | peers
    assert report["ratio"].keys() == OURS
    rate = {name: values["median"] for name, values in report["images_per_second"].items()}
    for name in OURS:  # of one round, a ratio of medians is the ratio
        expected = rate[name] / rate["peer, 2 processes"]
        assert report["ratio"][name]["median"] == pytest.approx(expected)
    assert report["stages"].keys() == STAGES


def test_says_what_was_measured_on_what(measured):
    report = measured[1]
    assert (report["limit"], report["decoding_limit"]) == (2.0, 1.5)
    assert (report["people"], report["stored"]) == (8, True)
    assert report["waiting"] is None
    assert report["settings"]["crop_size"] == [64, 32]
    assert report["augment"]["half_body_probability"] == 0.3
    assert report["augment"]["color"] == 0
    assert {"tensorflow", "platform"} <= report["environment"].keys()


def test_the_share_of_waiting_is_of_the_steps_that_were_made(root, tmp_path):
    config = ExperimentConfig.model_validate(
        {
            "name": "tiny",
            "data": {"train": []},
            "model": {"backbone": "small", "input_size": (32, 32)},
            "training": {"batch_size": 3},
        }
    )
    settings = PipelineSettings((32, 32), 4, workers=1, batches=1, rounds=1)
    samples = read_coco(root, "train")
    with two_convolutions_in_place_of_p2net():
        report = bench_pipeline(samples, tmp_path / "a.json", settings, config=config, waiting_steps=2)
    waiting = report["waiting"]
    assert (waiting["steps"], waiting["batch"], waiting["limit"]) == (2, 3, 0.05)
    assert 0 <= waiting["share"] <= 1
    assert waiting["network"]["parameters"] > 0


def test_without_pytorch_ours_is_measured_alone(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None)
    settings = PipelineSettings((32, 32), 4, workers=1, batches=1, rounds=1)
    report = bench_pipeline(read_coco(root, "train"), tmp_path / "a.json", settings)
    assert report["images_per_second"].keys() == report["core_seconds"].keys() == OURS
    assert (report["peer"], report["ratio"]) == (None, {})
    console = Console(file=StringIO(), width=200)
    print_pipeline(report, console)
    assert "pip install 'p2net_tf[torch]'" in console.file.getvalue()


def test_what_the_peer_cannot_read_is_said(root, tmp_path):
    samples = read_coco(root, "train")
    write_records(samples, tmp_path / "records")
    settings = PipelineSettings((32, 32), 4)
    with pytest.raises(DataError, match="needs image files and at least 4 people"):
        bench_pipeline(read_record_samples(tmp_path / "records"), tmp_path / "a.json", settings)
    with pytest.raises(DataError, match="at least 4 people"):
        bench_pipeline(samples.take([0, 1]), tmp_path / "a.json", settings)


def test_enlarged_photographs_keep_their_people(root, tmp_path):
    samples = read_coco(root, "train").take([0, 1, 2])
    large = enlarged(samples, 0.5, tmp_path)
    for row in range(3):
        height, width = decode_file(large.image_paths[row]).shape[:2]
        assert height * width == pytest.approx(0.5e6, rel=0.01)
        factor = np.sqrt(0.5e6 / (96 * 128))
        np.testing.assert_allclose(large.boxes[row], samples.boxes[row] * factor, rtol=1e-5)
        labeled = samples.keypoints[row, :, 2] > 0
        expected = samples.keypoints[row, labeled] * (factor, factor, 1)
        np.testing.assert_allclose(large.keypoints[row, labeled], expected, rtol=1e-5)


def test_large_photographs_are_not_kept_decoded(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None)
    settings = PipelineSettings((32, 32), 4, workers=1, batches=1, rounds=1, people=4, megapixels=0.2)
    report = bench_pipeline(read_coco(root, "train"), tmp_path / "a.json", settings)
    assert report["images_per_second"].keys() == OURS - {"ours"}
    assert not report["stored"]
