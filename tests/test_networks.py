"""Every network goes the whole runtime by the same commands: train, evaluate, export, bench."""

import json

import pytest
import yaml
from networks import TINY_OPTIONS
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.models import NETWORKS
from p2net_tf.utils.console import be_quiet


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    options = SceneOptions(height=96, width=96, max_persons=2)
    write_synthetic(root, 8, seed=1, split="train", options=options)
    write_synthetic(root, 4, seed=2, split="test", options=options)
    return root


def command(*arguments) -> dict:
    """What `p2net ... --json` prints."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    be_quiet(False)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_way(name, people, tmp_path, monkeypatch):
    """The SavedModel finds what evaluation does, to rounding, and so does TFLite on 8-bit crops."""
    pytest.importorskip("ai_edge_litert", reason="TFLite files are run by ai-edge-litert")
    monkeypatch.chdir(tmp_path)
    parts = {part: [{"format": "coco", "root": str(people), "split": part}] for part in ("train", "test")}
    sections = {
        "data": parts,
        "model": {"name": name, "input_size": [96, 64], **TINY_OPTIONS[name]},
        "training": {"epochs": 1, "batch_size": 4},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(sections))
    trained = command("train", "tiny.yaml")
    found = command("evaluate", "runs/tiny")
    assert {name: trained["result"][name] for name in ("AP", "AR", "persons")} == {
        name: found[name] for name in ("AP", "AR", "persons")
    }
    options = ["--format", "all", "--fold-batch-norm", "--exif", "stored", "--calibration-crops", 4]
    runtimes = command("export", "runs/tiny", *options, "--verify", "test")["parity"]["runtimes"]
    # A network of so few steps has peaks of like height: a rounding may choose another one of them.
    assert runtimes["SavedModel in a Session"]["median_px"] < 0.01
    assert runtimes["TFLite float32"]["median_px"] < 0.01
    measured = command("bench", "step", "tiny.yaml", "--repeats", 1)
    assert measured["network"]["parameters"] == trained["scores"]["Run"]["parameters"]
