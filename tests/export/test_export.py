"""`p2net export`, and what is left of an export that was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.export import saved_model as module
from p2net_tf.export.model_card import read_card
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.keras_file import save_network
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.yaml_files import ConfigError


def export(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    be_quiet(False)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
def test_options_reach_the_graph_and_the_card(run, tmp_path):
    options = ["--no-flip", "--decode", "dark", "--fold-batch-norm", "--exif", "stored"]
    arguments = ["--out", tmp_path, "--verify", "test", "--limit", 2, "--json"]
    document = json.loads(export(run.folder, *options, *arguments).stdout)
    folder = tmp_path / "1"
    assert document["folders"] == {"saved_model": str(folder)}
    card = read_card(folder)
    assert (card["recipe"]["flip_test"], card["recipe"]["decode"]) == (False, "dark")
    assert (card["folded_batch_norm"], card["exif"]) == (True, "stored")
    assert "CC BY 4.0" in card["licence_of_the_data"][0]
    # The reference has the same recipe, so folding is all that differs.
    assert document["parity"]["runtimes"]["C API"]["median_px"] < 0.01
    assert card["parity"] == document["parity"]


def test_a_configuration_stands_for_its_run_folder(small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    os.symlink(small_run.folder, tmp_path / "runs" / "tiny")
    config = tmp_path / "tiny.yaml"
    config.write_text((small_run.folder / "config.yaml").read_text())
    assert load_run(config).folder == Path("runs/tiny")


def test_a_file_alone_becomes_tflite_without_int8(tmp_path):
    network = two_convolutions(17, (64, 64))
    save_network(network, tmp_path / "pose.keras", InferenceCard.of(network, Skeleton.load("coco17")))
    result = export(tmp_path / "pose.keras", "--format", "tflite", "--out", tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out/1").glob("*.tflite"))
    assert written == ["pose_float16.tflite", "pose_float32.tflite"]
    assert "no int8" in result.output and "give a folder of any pictures to calibrate on" in result.output


def test_an_unknown_decode_rule_is_refused(small_run, tmp_path):
    with pytest.raises(ConfigError, match="evaluation.decode"):
        export(small_run.folder, "--decode", "guess", "--out", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("last", ["write_warmup", "write_card"])
def test_a_failed_export_leaves_nothing(small_run, tmp_path, monkeypatch, last):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, last, fail)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model(small_run.network, small_run.card, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_kill_leaves_a_whole_version_or_none(small_run, tmp_path):
    """At moments all over its second half: before, it imports and traces, and writes nothing."""
    command = [sys.executable, "-m", "p2net_tf", "export", str(small_run.folder), "--out", str(tmp_path)]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - start
    expected = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*"))
    for moment in np.linspace(0.5, 1.05, 6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for version in (path for path in tmp_path.iterdir() if path.name.isdecimal()):
            found = sorted(path.relative_to(version) for path in version.rglob("*"))
            assert found == expected
            assert read_card(version)["name"] == "tiny"
    versions = [path for path in tmp_path.iterdir() if path.name.isdecimal()]
    for version in versions:
        assert "serving_default" in tf.saved_model.load(str(version)).signatures
