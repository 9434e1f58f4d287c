"""`DetectionModel` as a Keras model: its losses, its random choices, files; and on replicas."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from detector_batches import SIDE, detector_batch
from rectangles import rectangle_scenes
from tiny_detectors import tiny_detector

from p2net_tf.data.samples import DataError
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.networks import Truth
from p2net_tf.training.detection_model import DetectionModel, PictureNumbers

TESTS = Path(__file__).parents[1]
CARD = DetectorCard(name="tiny", shorter_side=SIDE, longer_side=SIDE)


def make_model(name: str = "one_stage", **options) -> DetectionModel:
    keras.utils.set_random_seed(0)
    model = DetectionModel(tiny_detector(name, candidates=100), CARD, **options)
    model.compile(keras.optimizers.SGD(0.01))
    return model


@pytest.fixture(scope="module")
def model():
    return make_model(weight_decay=0.1)


def batches(data, size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


class TestPictureNumbers:
    SEEDS = np.int64([[7, 3], [7, 4], [8, 3]])

    def test_a_picture_draws_the_same_in_any_batch(self):
        together = PictureNumbers(tf.constant(self.SEEDS))
        alone = PictureNumbers(tf.constant(self.SEEDS[1:2]))
        for count in (5, 8):
            np.testing.assert_array_equal(together((3, count))[1:2], alone((1, count)))

    def test_everything_draws_other_numbers(self):
        numbers = PictureNumbers(tf.constant(self.SEEDS))
        found = np.concatenate([np.ravel(numbers((6, 50))), np.ravel(numbers((3, 50)))])
        assert len(set(found.tolist())) == len(found)
        assert found.min() >= 0 and found.max() < 1
        assert abs(found.mean() - 0.5) < 0.05

    def test_rounds_of_a_picture_stay_its_own(self):
        """Three branches, one behind the other: row `r * B + b` belongs to picture b."""
        together = PictureNumbers(tf.constant(self.SEEDS))((9, 4)).numpy().reshape(3, 3, 4)
        alone = PictureNumbers(tf.constant(self.SEEDS[2:]))((3, 4)).numpy()
        np.testing.assert_array_equal(together[:, 2], alone)


class TestLosses:
    def test_logs_are_means_over_pictures_and_their_sum_has_the_penalty(self, model):
        images, truth = detector_batch(6)
        network = model.network
        parts = network.losses_of(
            images, Truth(truth["boxes"], truth["classes"], truth["crowds"]), truth["sizes"], training=False
        )
        kernels = [w.numpy() for w in network.trainable_weights if w.path.endswith("kernel")]
        penalty = 0.1 / 2 * sum(np.square(kernel, dtype=np.float64).sum() for kernel in kernels)
        expected = {name: np.mean(part) for name, part in parts.items()}
        expected["loss"] = sum(expected.values()) + penalty
        for size in (6, 4):  # an uneven last batch does not count for more
            found = model.evaluate(batches((images, truth), size), verbose=0, return_dict=True)
            assert found == pytest.approx(expected, rel=1e-4)

    @pytest.mark.slow
    def test_a_step_moves_every_weight(self):
        model = make_model()
        before = [weight.numpy() for weight in model.trainable_weights]
        model.train_on_batch(*detector_batch())
        moved = [np.any(now != then) for now, then in zip(model.trainable_weights, before, strict=True)]
        assert all(moved)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["faster_rcnn", "tridentnet"])
    def test_two_stages_draw_by_their_pictures(self, name):
        """The losses of a picture are the same alone, and those of other seeds are others."""
        model = make_model(name)
        images, truth = detector_batch()

        def losses(rows, seed=0):
            some = {key: tf.constant(value[rows]) for key, value in truth.items()}
            some["seeds"] += seed
            return model.losses_of(tf.constant(images[rows]), some, training=False)

        together, alone = losses(slice(None)), losses(slice(2, 3))
        assert list(together) == list(model.network.loss_names)
        for key, part in together.items():
            np.testing.assert_allclose(part[2:3], alone[key], rtol=1e-4, atol=1e-6)
        if name == "faster_rcnn":  # the other has fewer anchors here than it chooses
            others = losses(slice(None), seed=9)
            assert not np.allclose(together["objectness_loss"], others["objectness_loss"], rtol=1e-4)


class TestHabits:
    def test_losses_of_ones_own_are_refused(self, model):
        with pytest.raises(ValueError, match="loss: a detector has its network's own losses"):
            model.compile(loss="mse")
        with pytest.raises(ValueError, match="metrics: "):
            model.compile(metrics=["accuracy"])

    def test_other_classes_than_the_networks(self):
        with pytest.raises(ValueError, match="the card has the classes person, dog, the network 1"):
            DetectionModel(tiny_detector("one_stage"), DetectorCard(classes=("person", "dog")))

    def test_scenes_of_other_classes(self, model, tmp_path):
        scenes = rectangle_scenes(tmp_path)
        object.__setattr__(scenes, "class_names", ("dog",))
        with pytest.raises(DataError, match="rectangles: has the classes dog, the model person"):
            model.make_dataset(scenes)

    @pytest.mark.slow
    def test_fits_in_a_notebook_and_its_files_open(self, tmp_path):
        model, scenes = make_model(), rectangle_scenes(tmp_path)
        checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "kept.keras")
        history = model.fit(
            model.make_dataset(scenes, batch_size=3),
            validation_data=model.make_dataset(scenes, batch_size=4, training=False),
            epochs=3,
            callbacks=[checkpoint],
            verbose=0,
        ).history
        assert set(history) == {
            *("loss", "class_loss", "box_loss"),
            *("val_loss", "val_class_loss", "val_box_loss"),
        }
        assert np.isfinite(history["val_loss"]).all()
        again = keras.saving.load_model(tmp_path / "kept.keras")
        assert isinstance(again, DetectionModel) and again.card == model.card
        detector = NetworkDetector.load(tmp_path / "kept.keras")
        assert detector.card == model.card
        for one, other in zip(detector.network.weights, model.network.weights, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one_stage", "faster_rcnn"])
def test_two_replicas_learn_what_one_does(name, tmp_path):
    """In a process of its own: devices are fixed when TensorFlow starts."""
    paths = [str(TESTS), *sys.path]
    done = subprocess.run(
        [sys.executable, TESTS / "detector_replicas.py", name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert one["logs"] == pytest.approx(two["logs"], rel=2e-4)
    assert one["moved"] > 1e-3
    np.testing.assert_allclose(one["weights"], two["weights"], atol=2e-3 * one["moved"])
