"""Whole trainings of detectors: what they leave, that they repeat, resume, and learn."""

import csv
import json

import numpy as np
import pytest
from rectangles import rectangle_scenes
from tiny_runs import StopInSecondEpoch
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.detection.card import read_detector_card
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.evaluation.boxes.scored_scenes import box_ground_truth
from p2net_tf.experiments import training as trainer
from p2net_tf.training import training_input
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.yaml_files import dump_text

pytestmark = pytest.mark.slow

SIZES = ((80, 60), (48, 96), (100, 100), (64, 40), (72, 72), (50, 90), (96, 64), (90, 90))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A COCO folder of rectangles that are called persons, in `train`."""
    root = tmp_path_factory.mktemp("rectangles")
    (root / "train").mkdir()
    scenes = rectangle_scenes(root / "train", sizes=SIZES)
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(box_ground_truth(scenes)))
    return root


@pytest.fixture(scope="module")
def tiny(root):
    """`tiny(training={"epochs": 1}, ...)`: the configuration of a run of 2 epochs of 4 steps."""

    def config(**changes) -> DetectorExperimentConfig:
        source = {"format": "coco", "root": str(root), "split": "train"}
        sections = {
            "task": "detect",
            "name": "tiny",
            "data": {"train": [source], "validation": [source]},
            "augment": {"scale": (0.8, 1.2), "color": 0.1},
            "model": {
                "name": "one_stage",
                "input_size": (96, 96),
                "backbone": "small_detnet",
                "backbone_width": 16,
                "backbone_blocks": 1,
                "pyramid_width": 32,
                "head_depth": 1,
                "first_level": 1,
                "top": None,
                "anchor_sizes": (16, 28, 44, 64),
                "scales": (1.0,),
            },
            "training": {
                "epochs": 2,
                "batch_size": 2,
                "optimizer": "adamw",
                "learning_rate": 2e-3,
                "learning_rate_batch": 2,
                "schedule": "cosine",
                "ema_momentum": 0.9,
            },
        }
        for name, change in changes.items():
            sections[name] = {**sections.get(name, {}), **change}
        return DetectorExperimentConfig.model_validate(sections)

    return config


@pytest.fixture(autouse=True)
def few_batches_to_calibrate(monkeypatch):
    monkeypatch.setattr(training_input, "CALIBRATION_BATCHES", 4)


def weights(network) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in network.weights]


def history(folder) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_resumed_is_uninterrupted_to_the_bit(tiny, tmp_path):
    """Stopped in the middle of an epoch, behind a checkpoint and one step more, which is forgotten."""
    config = tiny(training={"checkpoint_every": 1})
    straight = weights(trainer.train(config, tmp_path / "straight"))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(config, tmp_path / "resumed", callbacks=[StopInSecondEpoch(batch=1)])
    resumed = weights(trainer.train(config, tmp_path / "resumed", resume=True))
    for one, other in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert history(tmp_path / "straight") == history(tmp_path / "resumed")


def test_the_best_network_is_that_of_the_highest_precision(tiny, tmp_path, monkeypatch):
    """Whatever the loss says; and it is the averaged one with its own statistics."""
    scores, kept = iter([0.1, 0.7, 0.3]), []
    monkeypatch.setattr(
        "p2net_tf.experiments.detector_training.BoxValidation",
        lambda scenes, card: lambda model: {"AP": next(scores)},
    )
    monkeypatch.setattr(
        "p2net_tf.training.callbacks.save_network", lambda network, path, card: kept.append(card.name)
    )
    trainer.train(tiny(training={"epochs": 3}), tmp_path)
    assert [float(row["val_AP"]) for row in history(tmp_path)] == [0.1, 0.7, 0.3]
    assert kept == ["tiny", "tiny"]  # after the first epoch and the second


def test_overfits_and_reports_from_the_command_line(tiny, tmp_path, monkeypatch):
    """The whole path on purpose: eight pictures are known by heart at the end."""
    monkeypatch.chdir(tmp_path)
    plain = tiny(
        augment={"flip_probability": 0.0, "scale": (1.0, 1.0), "color": 0.0},
        training={"epochs": 120, "validation_every": 40, "learning_rate": 4e-3, "weight_decay": 0.0},
    ).model_dump(mode="json")
    plain["data"]["test"] = plain["data"]["train"]
    (tmp_path / "tiny.yaml").write_text(dump_text(plain))
    result = CliRunner().invoke(app, ["train", "tiny.yaml", "--json"])
    be_quiet(False)
    assert result.exit_code == 0, (result.output, result.exception)
    report = json.loads(result.stdout)
    assert report["headline"]["AP50"] >= 0.95
    assert report["headline"]["AP"] >= 0.6
    folder = tmp_path / "runs/tiny"
    left = {path.name for path in folder.iterdir()}
    assert left >= {
        *("best.keras", "last.keras", "config.yaml", "history.csv", "problems.json", "report.html"),
        *("predictions.json", "ground_truth.json", "problems_test.json", "overlays.jpg", "curves.png"),
    }
    detector = NetworkDetector.load(folder)
    assert (detector.card.name, detector.card.longer_side) == ("tiny", 96)
    # The validation part is the test part here, so its score of the highest F1 is that of the report.
    limit = report["result"]["at_limit"]["limit"]
    assert 0.05 < limit < 1
    for name in ("best.keras", "last.keras"):
        assert read_detector_card(folder / name).likely_score == pytest.approx(limit, abs=5e-4)
    assert float(history(folder)[-1]["val_AP"]) == pytest.approx(report["headline"]["AP"], abs=1e-6)
