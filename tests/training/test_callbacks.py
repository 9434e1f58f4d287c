"""Validation, checkpoints and logs on a model of one layer, where every number is known."""

import os

import keras
import pytest
import tensorflow as tf
from one_weight import batches, one_weight

from p2net_tf.training.callbacks import HistoryLog, Validate, read_history
from p2net_tf.utils.compat import averages_of
from p2net_tf.utils.files import WriteError


class TestValidate:
    def validate(self, tmp_path, **options):
        scored = batches(1).map(lambda crops, keypoints: (crops, keypoints, tf.ones(tf.shape(crops)[:1])))
        return Validate(scored, None, tmp_path / "best.keras", **options)

    @pytest.fixture(autouse=True)
    def no_files(self, monkeypatch):
        monkeypatch.setattr("p2net_tf.training.callbacks.save_network", lambda network, path, card: None)

    def test_every_other_epoch_and_the_last(self, tmp_path):
        model = one_weight([1.0, 2.0, 3.0], ema=False)
        seen = {}
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.update({epoch: dict(logs)})
        )
        validate = self.validate(tmp_path, every=2, epochs=5)
        model.fit(batches(), epochs=5, steps_per_epoch=1, callbacks=[validate, note], verbose=0)
        assert [epoch for epoch, logs in seen.items() if "val_loss" in logs] == [1, 3, 4]
        # Each step takes 1/3 off each weight, and the loss is their mean: 2 at first.
        losses = [seen[epoch]["val_loss"] for epoch in (1, 3, 4)]
        assert losses == pytest.approx([2 - 2 / 3, 2 - 4 / 3, 2 - 5 / 3], rel=1e-5)

    def test_scores_the_average(self, tmp_path):
        model = one_weight([1.0, 2.0, 3.0])
        averages_of(model.optimizer)[0][1].assign([10.0, 20.0, 30.0])
        validate, logs = self.validate(tmp_path, every=1, epochs=1), {}
        validate.set_model(model)
        validate.on_train_begin()
        validate.on_epoch_end(0, logs)
        assert logs["val_loss"] == pytest.approx(20)

    def test_keeps_the_best(self, tmp_path, monkeypatch):
        model, saved = one_weight([0.0, 0.0, 0.0], ema=False), []
        monkeypatch.setattr(
            "p2net_tf.training.callbacks.save_network",
            lambda network, path, card: saved.append((float(network.w.numpy()[0]), path.name)),
        )
        validate = self.validate(tmp_path, every=1, epochs=3)
        validate.set_model(model)
        validate.on_train_begin()
        for epoch, weight in enumerate([8.0, 3.0, 5.0]):
            model.w.assign([weight] * 3)
            validate.on_epoch_end(epoch, {})
        assert saved == [(8, "best.keras"), (3, "best.keras")]
        assert validate.best == 3

    def losses(self, validate, losses):
        """The epochs after which the training goes on."""
        going_on = []
        for epoch, loss in enumerate(losses):
            validate.model.w.assign([loss] * 3)
            validate.on_epoch_end(epoch, {})
            if not validate.model.stop_training:
                going_on.append(epoch)
        return going_on

    @pytest.mark.parametrize(
        ("patience", "expected"), [(2, [0, 1, 2, 3]), (3, [0, 1, 2, 3, 4]), (None, None)]
    )
    def test_stops_after_its_patience(self, tmp_path, patience, expected):
        validate = self.validate(tmp_path, every=1, epochs=9, patience=patience)
        validate.set_model(one_weight([0.0, 0.0, 0.0], ema=False))
        validate.on_train_begin()
        assert self.losses(validate, [8, 9, 7, 7.5, 7.5, 7.1]) == (expected or list(range(6)))

    def test_remembers_how_long_it_waited(self, tmp_path):
        """A resumed run goes on waiting; one that had waited enough does not begin again."""
        first, second, third = (self.validate(tmp_path, every=1, epochs=9, patience=2) for _ in range(3))
        for validate in (first, second, third):
            validate.set_model(one_weight([0.0, 0.0, 0.0], ema=False))
        first.on_train_begin()
        assert self.losses(first, [4, 5]) == [0, 1]
        second.restore(first.state())
        second.on_train_begin()
        assert self.losses(second, [4.5]) == []
        third.restore(second.state())
        third.on_train_begin()
        assert third.model.stop_training


class TestHistoryLog:
    def log(self, path, epoch, **logs):
        callback = HistoryLog(path)
        callback.set_model(one_weight([1.0, 2.0, 3.0], ema=False))
        callback.on_epoch_end(epoch, logs)

    def test_columns_may_come_later(self, tmp_path):
        path = tmp_path / "history.csv"
        self.log(path, 0, loss=0.5)
        self.log(path, 1, loss=0.25, val_loss=0.75)
        assert path.read_text().splitlines() == [
            "epoch,learning_rate,loss,val_loss", "0,1.0,0.5,", "1,1.0,0.25,0.75"
        ]  # fmt: skip

    def test_epochs_that_are_run_again_replace_their_rows(self, tmp_path):
        path = tmp_path / "history.csv"
        for epoch, loss in [(0, 0.5), (1, 0.4), (2, 0.3), (1, 0.125)]:
            self.log(path, epoch, loss=loss)
        assert [(row["epoch"], row["loss"]) for row in read_history(path)] == [("0", "0.5"), ("1", "0.125")]

    @pytest.mark.parametrize("left", ["", "\0" * 20, "\xff\xfe", "epoch,loss\n0,0.5\n1,0.2"])
    def test_a_damaged_file_is_set_aside(self, tmp_path, left):
        """Also one whose end is missing."""
        path = tmp_path / "history.csv"
        path.write_bytes(left.encode("latin-1"))
        assert read_history(path) == []
        assert os.listdir(tmp_path) == ["history.csv.damaged"]

    def test_a_folder_in_its_place(self, tmp_path):
        with pytest.raises(WriteError, match="is a folder, where the history of epochs belongs"):
            read_history(tmp_path)

    def test_no_file_no_rows(self, tmp_path):
        assert read_history(tmp_path / "history.csv") == []
