"""A configuration without data, and trainings that take no time."""

import subprocess
import sys

import pytest

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config

STAND_IN = """
import json, os, pathlib, signal, sys, time

folder = pathlib.Path(sys.argv[1])
root = folder.parents[2]
config = json.loads((folder / "request.json").read_text())
sigma, units, seed = config["loss"]["sigma"], config["model"]["exchange_units"], config["seed"]
threads = os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["TF_NUM_INTEROP_THREADS"]
with open(root / "trained.txt", "a") as file:
    file.write(f"{folder.parent.name} {seed} {' '.join(threads)}\\n")

def on_sigterm(*_):
    (folder / "saved").touch()
    os._exit(75)

signal.signal(signal.SIGTERM, on_sigterm)
(folder / "begun").touch()
if (root / "hang").exists():
    os.read(0, 1)  # until the ablation is gone
    os._exit(77)
if sigma == 9.0 and not (root / "mended").exists():
    (folder / "failed.txt").write_text("its loss is not finite\\n\\nand why")
    sys.exit(1)
if sigma == 8.0:
    os.kill(os.getpid(), signal.SIGKILL)
value = 0.5 + 0.01 * sigma - 0.02 * units + 0.001 * seed * units
(folder / "cell.json").write_text(json.dumps(
    {"metric": "PCK@0.2", "value": value, "seconds": time.process_time(), "resumed": False}))
"""
"""A worker that finds a score at once: a function of `loss.sigma`, `model.exchange_units` and the seed."""
WORKER = (sys.executable, "-S", "-c", STAND_IN)


@pytest.fixture
def base() -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "name": "made_up",
            "data": {
                part: [{"format": "coco", "root": "nowhere"}] for part in ("train", "validation", "test")
            },
            "model": {"backbone": "small", "input_size": [64, 64]},
        }
    )


@pytest.fixture
def config_file(base, tmp_path):
    path = tmp_path / "made_up.yaml"
    dump_config(base, path)
    return path


@pytest.fixture
def processes():
    """A list of processes that are ended after the test."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
