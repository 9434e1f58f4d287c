"""Whole training runs: what they leave, that they repeat, resume, and survive damaged data."""

import csv
import json
import math

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_runs import StopInSecondEpoch

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.augment.policy_files import PolicyError
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.data.samples import DataError
from p2net_tf.experiments import training as trainer
from p2net_tf.experiments.pose_training import build_pose_model, open_policy
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.yaml_files import ConfigError

pytestmark = pytest.mark.slow

STEPS = 4
"""Of one epoch of the rendered set; checked below."""


def weights(network) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in network.weights]


def history(folder) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def assert_equal_weights(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def quick_stop(quick_train):
    """`quick_train` that Ctrl-C ends."""

    def train(config, folder):
        with pytest.raises(KeyboardInterrupt):
            quick_train(config, folder, callbacks=[StopInSecondEpoch()])

    return train


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """`(folder, weights)` of an undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return folder, weights(trainer.train(tiny(), folder))


@pytest.fixture(scope="module")
def straight(tiny, quick_train, tmp_path_factory):
    """The same of two convolutions, which take a quarter of the time."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    return folder, weights(quick_train(tiny(), folder))


@pytest.mark.slow
class TestRunFolder:
    def test_everything_is_there(self, finished):
        folder, _ = finished
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "config.yaml", "problems.json", "history.csv", "tensorboard", "checkpoints",
            "best.keras", "last.keras",
        }  # fmt: skip
        assert list((folder / "tensorboard").rglob("events.out.tfevents.*"))
        names = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert names == [f"step_{step:09d}.npz" for step in (STEPS, 2 * STEPS)]

    def test_the_configuration_reads_back_equal(self, finished, tiny):
        assert load_config(finished[0] / "config.yaml") == tiny()

    def test_no_problems_of_rendered_people(self, finished):
        report = json.loads((finished[0] / "problems.json").read_text())
        assert (report["errors"], report["problems"]) == (0, [])

    def test_history_has_one_row_per_epoch_with_the_rate_that_followed(self, finished):
        rows = history(finished[0])
        assert [row["epoch"] for row in rows] == [0, 1]
        expected = [0.005 * (1 + math.cos(math.pi * step / (2 * STEPS))) for step in (STEPS, 2 * STEPS)]
        assert [row["learning_rate"] for row in rows] == pytest.approx(expected, abs=1e-8)
        assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= rows[0].keys()

    def test_last_keras_is_the_returned_network(self, finished):
        folder, trained = finished
        assert_equal_weights(weights(keras.models.load_model(folder / "last.keras")), trained)

    def test_best_keras_is_a_network_of_its_own(self, finished):
        best = keras.models.load_model(finished[0] / "best.keras")
        assert best.input_size == (32, 32)
        heatmaps = best(np.zeros((1, 32, 32, 3), np.float32))
        assert heatmaps["heatmaps"].shape == (1, 8, 8, 17)


@pytest.mark.slow
class TestRepeating:
    def test_the_same_seed_gives_the_same_weights_bit_for_bit(self, finished, tiny, tmp_path):
        again = weights(trainer.train(tiny(), tmp_path / "again"))
        assert_equal_weights(again, finished[1])

    def test_another_seed_does_not(self, straight, tiny, quick_train, tmp_path):
        other = weights(quick_train(tiny(seed=1), tmp_path / "other"))
        kernels = [(a, b) for a, b in zip(other, straight[1], strict=True) if a.ndim == 4]
        assert all(np.abs(a - b).max() > 1e-3 for a, b in kernels)


@pytest.mark.slow
class TestResuming:
    def test_gives_what_the_uninterrupted_run_gives(self, straight, tiny, quick_train, quick_stop, tmp_path):
        quick_stop(tiny(), tmp_path)
        assert not (tmp_path / "last.keras").exists()
        assert [row["epoch"] for row in history(tmp_path)] == [0]
        resumed = weights(quick_train(tiny(), tmp_path, resume=True))
        assert_equal_weights(resumed, straight[1])
        # The same rates and scores: neither schedule, optimizer nor data started over.
        assert history(tmp_path) == history(straight[0])

    @pytest.mark.parametrize("steps", [3, 6])
    def test_epochs_of_any_number_of_steps(self, tiny, quick_train, quick_stop, tmp_path, steps):
        """Shorter and longer than a pass: the schedule spans their steps, and a resume changes nothing."""
        config = tiny(training={"steps_per_epoch": steps})
        straight = weights(quick_train(config, tmp_path / "straight"))
        halfway, end = (row["learning_rate"] for row in history(tmp_path / "straight"))
        assert (halfway, end) == pytest.approx((0.005, 0.0), abs=1e-8)
        quick_stop(config, tmp_path / "stopped")
        assert_equal_weights(weights(quick_train(config, tmp_path / "stopped", resume=True)), straight)
        assert history(tmp_path / "stopped") == history(tmp_path / "straight")

    def test_a_finished_run_stays_as_it_is(self, finished, tiny):
        folder, trained = finished
        before = (folder / "history.csv").read_bytes()
        assert_equal_weights(weights(trainer.train(tiny(), folder, resume=True)), trained)
        assert (folder / "history.csv").read_bytes() == before

    def test_without_resume_a_run_is_not_overwritten(self, finished, tiny):
        before = (finished[0] / "config.yaml").read_bytes()
        with pytest.raises(DataError, match="already holds a run; resume it"):
            trainer.train(tiny(seed=9), finished[0])
        assert (finished[0] / "config.yaml").read_bytes() == before


@pytest.mark.slow
class TestFreezing:
    def test_a_run_and_its_resume_leave_the_frozen_layer_alone(
        self, straight, tiny, quick_train, quick_stop, tmp_path
    ):
        """The same weights as without the interruption, and the files say what is frozen."""
        config = tiny(training={"freeze": ("parallel_4",)})
        network = quick_train(config, tmp_path / "straight")
        head = network.get_layer("parallel_4")
        assert not head.trainable
        quick_stop(config, tmp_path / "stopped")
        resumed = quick_train(config, tmp_path / "stopped", resume=True)
        assert_equal_weights(weights(resumed), weights(network))
        assert any(np.any(a != b) for a, b in zip(weights(network), straight[1], strict=True))
        np.testing.assert_array_equal(head.bias, np.zeros(17))  # as it began
        for file in ("best.keras", "last.keras"):
            opened = keras.saving.load_model(tmp_path / "stopped" / file)
            assert [layer.name for layer in opened.layers if not layer.trainable] == ["parallel_4"]


def test_a_layer_that_is_not_there_is_not_frozen(tiny):
    with pytest.raises(
        ConfigError, match="training.freeze: there is no layer 'neck' .*pyramid_net.*backbone"
    ):
        build_pose_model(tiny(training={"freeze": ("neck",)}), Skeleton.load("coco17"), 3)


@pytest.mark.slow
class TestPolicy:
    POLICY = Policy([[Stage("Rotate", 0.8, 5, 5)], [Stage("Brightness", 1, 3, 2), Stage("Cutout", 0.5, 5)]])

    def test_a_run_keeps_its_policy_and_resumes(self, straight, tiny, quick_train, quick_stop, tmp_path):
        """Even when the file has meanwhile gone: the same weights as without the interruption."""
        file = tmp_path / "mine.yaml"
        self.POLICY.save(file)
        config = tiny(policy=str(file), data={"validation": []})
        undisturbed = weights(quick_train(config, tmp_path / "straight"))
        assert (tmp_path / "straight/policy.yaml").read_bytes() == file.read_bytes()
        assert load_config(tmp_path / "straight/config.yaml") == config
        assert any(np.any(a != b) for a, b in zip(undisturbed, straight[1], strict=True))
        quick_stop(config, tmp_path / "stopped")
        file.unlink()
        resumed = weights(quick_train(config, tmp_path / "stopped", resume=True))
        assert_equal_weights(resumed, undisturbed)

    def test_a_schedule_is_replayed_over_the_run_and_resumed(
        self, straight, tiny, quick_train, quick_stop, tmp_path
    ):
        """Its end decides, too: a schedule without it gives other weights."""
        first, last = Knot(0, [Share("Rotate", 0.8, 5, 5)]), Knot(0.75, [Share("Brightness", 1, 2, 2)])
        schedule = PolicySchedule(draws=2, knots=[first, last])
        file = tmp_path / "mine.yaml"
        schedule.save(file)
        config = tiny(policy=str(file), data={"validation": []})
        undisturbed = weights(quick_train(config, tmp_path / "straight"))
        assert (tmp_path / "straight/policy.yaml").read_bytes() == file.read_bytes()
        quick_stop(config, tmp_path / "stopped")
        file.unlink()
        assert open_policy(config, tmp_path / "stopped", resume=True) == schedule
        assert_equal_weights(weights(quick_train(config, tmp_path / "stopped", resume=True)), undisturbed)
        PolicySchedule(draws=2, knots=[first]).save(file)
        constant = weights(quick_train(config, tmp_path / "constant"))
        for other in (constant, straight[1]):
            assert any(np.any(a != b) for a, b in zip(undisturbed, other, strict=True))

    def test_another_policy_is_read_anew(self, tiny, tmp_path):
        self.POLICY.save(tmp_path / "run/policy.yaml")
        file = tmp_path / "run/config.yaml"
        dump_config(tiny(policy="none"), file)
        assert open_policy(tiny(policy="none"), file.parent, resume=True) == self.POLICY
        assert open_policy(tiny(policy="none"), file.parent, resume=False) == Policy.load("none")
        assert open_policy(tiny(policy="paper"), file.parent, resume=True) == Policy.load("paper")
        assert open_policy(tiny(), file.parent, resume=True) is None

    def test_a_missing_one_is_said_before_anything_is_read_or_written(self, tiny, tmp_path):
        nowhere = {"train": [{"format": "coco", "root": str(tmp_path / "no data")}], "validation": []}
        with pytest.raises(PolicyError, match="policy 'hand_crafed': .* did you mean 'hand_crafted'"):
            trainer.train(tiny(policy="hand_crafed", data=nowhere), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_nothing_to_train_on_leaves_no_run_folder(tiny, tmp_path):
    nowhere = {"train": [{"format": "coco", "root": str(tmp_path / "no data")}], "validation": []}
    with pytest.raises(DataError, match="no data"):
        trainer.train(tiny(data=nowhere), tmp_path / "runs" / "first")
    assert not (tmp_path / "runs" / "first").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="no data"):
        trainer.train(tiny(data=nowhere), tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def damage(root) -> dict[str, tuple[str, str | None, int | None]]:
    """Breaks persons of the set in `root`; returns fault -> (kind, image file or None, annotation id)."""
    path = root / "annotations/person_keypoints_train.json"
    data = json.loads(path.read_text())
    images = {image["id"]: image["file_name"] for image in data["images"]}
    persons = {entry["image_id"]: entry for entry in data["annotations"]}
    file = {number: root / "train" / images[number] for number in images}
    expected = {}

    file[1].write_bytes(file[1].read_bytes()[:-400])
    expected["truncated JPEG"] = "image_broken", images[1], None
    with Image.open(file[2]) as image:
        pixels = image.copy()
    pixels.save(file[2], "PNG")
    expected["PNG named .jpg"] = "image_extension", images[2], None
    file[3].unlink()
    expected["missing file"] = "image_missing", images[3], None

    def fault(number, name, kind, in_image=False, **changes):
        persons[number].update(changes)
        expected[name] = kind, images[number] if in_image else None, persons[number]["id"]

    def first_value(number, value):
        return {"keypoints": [value, *persons[number]["keypoints"][1:]]}

    persons[4]["keypoints"][2] = 2
    fault(4, "keypoint at 1e9", "keypoint_far", in_image=True, **first_value(4, 1e9))
    fault(5, "infinity", "keypoint_not_finite", **first_value(5, float("inf")))
    fault(6, "unknown image id", "unknown_image_id", image_id=999)
    fault(7, "empty keypoints", "no_keypoints", keypoints=[])
    fault(8, "an unknown flag", "visibility", keypoints=[1, 2, 9] * 17)
    data["annotations"] = [entry for entry in data["annotations"] if entry["image_id"] != 9]
    path.write_text(json.dumps(data))
    return expected


class TestDamagedData:
    """Whatever is broken is set aside and listed, and the training goes on to its end."""

    @pytest.fixture
    def damaged(self, rendered, tmp_path):
        """`(root, expected)`: a copy of the rendered set with one fault of each sort."""
        root = tmp_path / "data"
        for path in rendered.rglob("*.*"):
            target = root / path.relative_to(rendered)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        return root, damage(root)

    @pytest.fixture
    def config(self, damaged, tiny):
        source = {"format": "coco", "root": str(damaged[0]), "split": "train"}
        return tiny(data={"train": [source], "validation": []}, training={"epochs": 1, "batch_size": 2})

    def test_trains_to_the_end_and_lists_every_fault(self, config, damaged, quick_train, tmp_path):
        quick_train(config, tmp_path / "run")
        assert math.isfinite(history(tmp_path / "run")[0]["loss"])
        assert (tmp_path / "run/last.keras").is_file()
        problems = json.loads((tmp_path / "run/problems.json").read_text())["problems"]
        annotation_file = "person_keypoints_train.json"
        expected = {(kind, file or annotation_file, number) for kind, file, number in damaged[1].values()}
        found = {(p["kind"], p["file"].rsplit("/", 1)[1], p["sample_id"]) for p in problems}
        assert found >= expected
        assert {kind for kind, _, _ in found} - {kind for kind, _, _ in expected} <= {"keypoint_outside"}
        assert all(p["remedy"] and p["detail"] for p in problems)
        # Of an unknown image the file has no number, and the words name the id.
        assert all(p["image_id"] is not None or "999" in p["detail"] for p in problems)

    def test_strict_stops_at_the_first_fault_with_one_line(self, config, tmp_path):
        with pytest.raises(DataError) as stopped:
            trainer.train(config, tmp_path / "run", strict=True)
        assert "\n" not in str(stopped.value)
        assert not (tmp_path / "run/checkpoints").exists()
        assert any(kind in str(stopped.value) for kind in ("keypoint_not_finite", "unknown_image_id"))

    def test_an_empty_annotation_list_is_said_and_not_trained_on(self, config, damaged, tmp_path):
        path = damaged[0] / "annotations/person_keypoints_train.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
        with pytest.raises(DataError, match="no usable sample.*no_annotations"):
            trainer.train(config, tmp_path / "run")

    def test_fewer_people_than_a_batch(self, config, quick_train, capfd, tmp_path):
        config = config.model_copy(
            update={"training": config.training.model_copy(update={"batch_size": 500})}
        )
        quick_train(config, tmp_path / "run")
        assert math.isfinite(history(tmp_path / "run")[0]["loss"])
        assert "people and not 500" in capfd.readouterr().err


class Doubled(keras.callbacks.Callback):
    """Notes what it reads, adds to the logs, and stops."""

    def __init__(self):
        super().__init__()
        self.read = []

    def on_epoch_end(self, epoch, logs=None):
        self.read.append((epoch, logs["val_loss"]))
        logs["doubled"] = 2 * logs["val_loss"]
        self.model.stop_training = True


def test_callbacks_read_the_validation_and_write_the_history(straight, tiny, quick_train, tmp_path):
    mine = Doubled()
    network = quick_train(tiny(), tmp_path, callbacks=[mine])
    (row,) = history(tmp_path)
    assert mine.read == [(0, pytest.approx(row["val_loss"]))]
    assert row["doubled"] == pytest.approx(2 * row["val_loss"])
    assert {**row, "doubled": None} == {**history(straight[0])[0], "doubled": None}
    assert any(np.any(a != b) for a, b in zip(weights(network), straight[1], strict=True))
