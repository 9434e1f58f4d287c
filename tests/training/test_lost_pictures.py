"""The folder of pictures goes while a training runs: it waits, or saves and ends, and never hangs."""

import os
import signal
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.data.lost_pictures import (
    FRUITLESS,
    LostPicturesError,
    can_be_read,
    naming_lost_pictures,
    place_of_pictures,
)
from p2net_tf.data.pipeline import fit_dataset, training_batches
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.samples import Samples
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training import picture_watch
from p2net_tf.training.picture_watch import PictureWatch
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import Interrupted

CROP, COUNT, BATCH = (16, 16), 13, 4


@pytest.fixture
def samples(tmp_path) -> Samples:
    """Persons in pictures of one colour each, which is their number."""
    folder, card = tmp_path / "pictures", Skeleton.load("lsp14")
    folder.mkdir()
    paths = [str(folder / f"{number}.png") for number in range(COUNT)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 40), (number, number, number)).save(path)
    keypoints = np.full((COUNT, card.num_keypoints, 3), 20.0)
    boxes, numbers, ones = np.tile([5, 5, 30, 30], (COUNT, 1)), np.arange(COUNT), np.ones(COUNT)
    return Samples(card, paths, boxes, keypoints, ones, numbers, numbers, ones)


def lose(folder: Path) -> Path:
    return folder.rename(folder.with_name("elsewhere"))


class TestPipeline:
    @pytest.mark.slow
    def test_every_picture_is_given_once_in_a_pass_as_ever(self, samples):
        found = list(training_batches(samples, CROP, BATCH, seed=3).take(9))
        rows = np.concatenate([batch.rows for batch in found]).reshape(3, -1)
        assert all(len(set(of_pass)) == 12 for of_pass in rows.tolist())
        indices = np.concatenate([batch.indices for batch in found])
        assert indices.tolist() == list(range(36))
        colours = np.concatenate([batch.crops for batch in found])[:, 8, 8, 0] * 255
        np.testing.assert_allclose(colours, rows.ravel(), atol=1e-3)

    @pytest.mark.parametrize("first", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 11))])
    def test_a_pass_without_a_picture_ends_it(self, samples, first):
        """From any person on: what is left of a pass is not enough to tell."""
        lose(Path(samples.image_paths[0]).parent)
        batches = iter(training_batches(samples, CROP, BATCH, first_index=first))
        with pytest.raises(tf.errors.InvalidArgumentError, match=FRUITLESS):
            next(batches)

    def test_one_picture_that_is_left_does_not(self, samples):
        for path in samples.image_paths[1:]:
            os.unlink(path)
        batch = next(iter(training_batches(samples, CROP, BATCH)))
        assert batch.rows.numpy().tolist() == [0] * BATCH

    @pytest.mark.slow
    def test_records_and_plain_fits_too(self, samples, tmp_path):
        write_records(samples, tmp_path / "records", shards=2)
        people = read_record_samples(tmp_path / "records")
        datasets = [training_batches(people, CROP, BATCH), fit_dataset(samples, CROP, BATCH)]
        for shard in (tmp_path / "records").glob("*.tfrecord"):
            shard.unlink()
        lose(Path(samples.image_paths[0]).parent)
        for dataset in datasets:
            with pytest.raises(tf.errors.InvalidArgumentError, match=FRUITLESS):
                next(iter(dataset))


class TestNaming:
    def test_the_folder_of_all(self, samples):
        folder = Path(samples.image_paths[0]).parent
        assert place_of_pictures(samples) == str(folder) and can_be_read(samples)
        lose(folder)
        assert not can_be_read(samples)
        with (
            pytest.raises(LostPicturesError, match=rf"^{folder}: {FRUITLESS}; bring"),
            naming_lost_pictures(samples),
        ):
            raise tf.errors.InvalidArgumentError(None, None, f"assertion failed: [{FRUITLESS}]")

    @pytest.mark.parametrize(("how", "why"), [("unlink", "No such file"), ("cut", "truncated PNG")])
    def test_the_first_of_some(self, samples, how, why):
        path = Path(samples.image_paths[4])
        path.unlink() if how == "unlink" else path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(LostPicturesError, match=f"^{path}: {why}"), naming_lost_pictures(samples):
            raise tf.errors.NotFoundError(None, None, "whatever")

    def test_what_has_another_reason_stays_what_it_is(self, samples):
        with pytest.raises(tf.errors.ResourceExhaustedError), naming_lost_pictures(samples):
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")


class TestWaiting:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(picture_watch, "_POLL_SECONDS", 0.02)
        monkeypatch.setattr(picture_watch, "_LINE_SECONDS", 0.05)

    def test_goes_on_when_they_are_back_with_a_line_now_and_then(self, samples):
        folder = Path(samples.image_paths[0]).parent
        aside = lose(folder)
        back = threading.Timer(0.5, aside.rename, [folder])
        back.start()
        with messages.capture() as said:
            PictureWatch([samples], wait_minutes=10).wait(LostPicturesError("gone"))
        lines = said.get().strip().splitlines()
        assert lines[0] == "waiting gone"
        assert lines[-1] == "the pictures can be read again; going on"
        assert len(lines) > 3 and all(
            line.startswith(f"waiting for {folder}: 0 of 10") for line in lines[1:-1]
        )

    @pytest.mark.parametrize("minutes", [0, 0.002])
    def test_ends_when_they_are_not(self, samples, minutes):
        lose(Path(samples.image_paths[0]).parent)
        with pytest.raises(LostPicturesError, match="^gone$"):
            PictureWatch([samples], minutes).wait(LostPicturesError("gone"))


class Then(keras.callbacks.Callback):
    """Does something after a step, or after an epoch's last one, before its validation."""

    def __init__(self, step: int, action):
        super().__init__()
        self._left, self._action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            self._action()


def weights(network):
    return [np.asarray(weight) for weight in network.weights]


@pytest.mark.slow
class TestTraining:
    @pytest.fixture
    def config(self, tiny, tmp_path):
        """Of pictures of its own, read whenever they are needed."""
        scenes = SceneOptions(height=96, width=96, max_persons=2)
        for split, images in (("train", 12), ("validation", 4)):
            write_synthetic(tmp_path / "data", images, seed=1, split=split, options=scenes)
        parts = {
            split: [{"format": "coco", "root": str(tmp_path / "data"), "split": split}]
            for split in ("train", "validation")
        }

        def make(**data):
            return tiny(
                data={**parts, "cache_mb": 0, **data}, training={"epochs": 4, "checkpoint_every": 100}
            )

        return make

    @pytest.fixture
    def straight(self, config, quick_train, tmp_path):
        return weights(quick_train(config(), tmp_path / "straight"))

    @pytest.mark.parametrize("step", [1, 4, 6])
    def test_saves_and_ends_and_resumes_to_the_same(self, config, quick_train, straight, tmp_path, step):
        folder = tmp_path / "data" / "train"
        with pytest.raises(LostPicturesError) as lost:
            quick_train(config(), tmp_path / "run", callbacks=[Then(step, lambda: lose(folder))])
        words = f"^{folder}: {FRUITLESS}; bring the pictures back, and resume the run, which is saved$"
        lost.match(words)
        assert lost.value.EXIT_CODE == 2
        folder.with_name("elsewhere").rename(folder)
        resumed = weights(quick_train(config(), tmp_path / "run", resume=True))
        for one, other in zip(resumed, straight, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_waits_and_goes_on_to_the_same(self, config, quick_train, straight, tmp_path, monkeypatch):
        monkeypatch.setattr(picture_watch, "_POLL_SECONDS", 0.05)
        folder = tmp_path / "data" / "train"

        def leave_for_a_while():
            aside = lose(folder)
            threading.Timer(2.0, aside.rename, [folder]).start()

        network = quick_train(
            config(wait_minutes=5), tmp_path / "run", callbacks=[Then(2, leave_for_a_while)]
        )
        for one, other in zip(weights(network), straight, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_those_of_the_validation(self, config, quick_train, tmp_path):
        folder = tmp_path / "data" / "validation"
        first = min(folder.glob("*.jpg")).name
        with pytest.raises(LostPicturesError, match=f"^{folder}/{first}: No such file.*which is saved$"):
            quick_train(config(), tmp_path / "run", callbacks=[Then(1, lambda: lose(folder))])
        assert len(list((tmp_path / "run/checkpoints").glob("step_*.npz"))) == 1

    def test_sigterm_ends_the_waiting(self, config, quick_train, tmp_path):
        folder = tmp_path / "data" / "train"

        def leave_and_stop():
            lose(folder)
            threading.Timer(4.0, os.kill, [os.getpid(), signal.SIGTERM]).start()

        with pytest.raises(Interrupted, match=f"saved in {tmp_path / 'run'}"):
            quick_train(config(wait_minutes=60), tmp_path / "run", callbacks=[Then(2, leave_and_stop)])
