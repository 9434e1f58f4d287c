"""Cells in processes of their own, and real trainings of an ablation."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from p2net_tf.config.loading import load_config
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.evaluation.evaluate import Evaluation, Scored
from p2net_tf.evaluation.pck import PckResult
from p2net_tf.experiments import runs
from p2net_tf.experiments.ablation.run import ablate
from p2net_tf.experiments.cells import Cell
from p2net_tf.experiments.worker import ORPHANED, run_cell
from p2net_tf.training.checkpoints import Checkpoints

CONFIG = """
data:
  train: [{{format: coco, root: {root}, split: train}}]
  validation: [{{format: coco, root: {root}, split: test}}]
model:
  backbone: small
  input_size: [32, 32]
  width: 4
  backbone_width: 4
  exchange_units: 1
  refine_bottlenecks: [0, 0, 0, 1]
loss: {{sigma: 1.0}}
training: {{epochs: 2, steps_per_epoch: 2, batch_size: 4, learning_rate: 1.0e-2, checkpoint_every: 1}}
evaluation: {{metric: pck, flip_test: false}}
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """A training of four steps, on eight rendered pictures."""
    root = tmp_path_factory.mktemp("people")
    for split, count in {"train": 8, "test": 6}.items():
        write_synthetic(root, count, seed=1, split=split, options=SceneOptions(64, 64, max_persons=1))
    path = root / "tiny.yaml"
    path.write_text(CONFIG.format(root=root))
    return path


@pytest.mark.parametrize("part", ["test", "validation"])
def test_what_is_scored_and_whether_it_goes_on(config_file, tmp_path, monkeypatch, part):
    """With made-up scores."""
    config = load_config(config_file)
    data = config.data.model_copy(update={"test": config.data.validation if part == "test" else []})
    Cell("a cell", tmp_path, config.model_copy(update={"data": data})).prepare()
    begun = []

    def run_experiment(config, folder, resume, strict, command):
        begun.append((folder, resume, strict))
        Checkpoints(folder / "checkpoints").save(1, {})
        return {"headline": {"AP": 0.25, "AP50": 0.75} if config.data.test else {}}

    result = PckResult("PCK", 0.2, {}, {}, {}, mean=50.0, weighted_mean=40.0, persons=6)
    monkeypatch.setattr(runs, "run_experiment", run_experiment)
    monkeypatch.setattr(runs, "load_run", lambda folder: folder)
    found = {"lsp_test": Evaluation(Scored(result, []), None, None)}
    monkeypatch.setattr(runs, "evaluate_run", lambda run, part, strict: found)
    first, second = run_cell(tmp_path), run_cell(tmp_path, strict=True)
    assert begun == [(tmp_path, False, False), (tmp_path, True, True)]
    assert [first["resumed"], second["resumed"]] == [False, True]
    expected = ("AP", 0.25) if part == "test" else ("PCK@0.2", 0.4)
    assert (first["metric"], first["value"]) == expected


@pytest.mark.slow
def test_the_training_is_an_ordinary_run_with_its_score(config_file, tmp_path):
    """A run that was killed before it was scored is scored only."""
    config = load_config(config_file, ["training.epochs=1", "training.steps_per_epoch=1"])
    test = config.data.model_copy(update={"test": config.data.validation, "validation": []})
    Cell("a cell", tmp_path, config.model_copy(update={"data": test})).prepare()
    found = run_cell(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert found["metric"] == "PCK@0.2" and found["resumed"] is False
    assert found["value"] == report["headline"]["PCK@0.2"]
    assert 0 <= found["value"] <= 1
    again = run_cell(tmp_path)
    assert (again["value"], again["resumed"]) == (found["value"], True)


@pytest.mark.slow
def test_ends_with_who_started_it():
    """Its stdin is all it knows of them; it would wait for an hour."""
    code = "import time; from p2net_tf.experiments import worker; worker.end_with_parent(); time.sleep(3600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        process.stdin.close()
        assert process.wait(60) == ORPHANED
    finally:
        process.kill()


DRIVER = """
import sys
from p2net_tf.experiments.ablation.run import ablate

ablate(sys.argv[1], [], ["apm=on,off"], [0, 1], sys.argv[2], jobs=2)
"""


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_the_middle_it_ends_with_the_same_bytes(config_file, tmp_path):
    """Twice, after the first checkpoints of the trainings that are at work."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    report = ablate(config_file, [], ["apm=on,off"], [0, 1], undisturbed, jobs=2)
    assert not any(entry["failed"] for entry in report["settings"])
    assert report["part"] == "validation"
    assert len({value for entry in report["settings"] for value in entry["values"]}) > 1
    for checkpoints in np.random.default_rng(3).choice(np.arange(1, 15), 2, replace=False):
        process = subprocess.Popen([sys.executable, "-c", DRIVER, str(config_file), str(killed)])
        while process.poll() is None and saved_steps(killed) < checkpoints:
            time.sleep(0.02)
        process.kill()
        process.wait()
    ablate(config_file, [], ["apm=on,off"], [0, 1], killed, jobs=2)
    for name in ("ablation.md", "ablation.csv", "ablation.png"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()
    values = [[entry["values"] for entry in json.loads((folder / "ablation.json").read_text())["settings"]]
              for folder in (undisturbed, killed)]  # fmt: skip
    assert values[0] == values[1]


def saved_steps(folder) -> int:
    """Steps of all trainings that have checkpoints, as far as they are saved."""
    newest = {}
    for path in folder.glob("cells/*/*/checkpoints/step_*.npz"):
        step = int(path.stem.removeprefix("step_"))
        newest[path.parent] = max(step, newest.get(path.parent, 0))
    return sum(newest.values())
