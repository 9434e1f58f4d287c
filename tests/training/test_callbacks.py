"""Validation, checkpoints and logs on a model of one layer, where every number is known."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from one_weight import batches, one_weight

from p2net_tf.layers import ConvNorm
from p2net_tf.training.callbacks import HistoryLog, RunCheckpoint, Validate, read_history


class TestValidate:
    def validate(self, tmp_path, **options):
        return Validate(batches(1), None, tmp_path / "best.keras", **options)

    @pytest.fixture(autouse=True)
    def no_files(self, monkeypatch):
        monkeypatch.setattr("p2net_tf.training.callbacks.save_network", lambda network, path: None)

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
        model.optimizer._model_variables_moving_average[0].assign([10.0, 20.0, 30.0])
        validate, logs = self.validate(tmp_path, every=1, epochs=1), {}
        validate.set_model(model)
        validate.on_train_begin()
        validate.on_epoch_end(0, logs)
        assert logs["val_loss"] == pytest.approx(20)

    def test_keeps_the_best(self, tmp_path, monkeypatch):
        model, saved = one_weight([0.0, 0.0, 0.0], ema=False), []
        monkeypatch.setattr(
            "p2net_tf.training.callbacks.save_network",
            lambda network, path: saved.append((float(network.w.numpy()[0]), path.name)),
        )
        validate = self.validate(tmp_path, every=1, epochs=3)
        validate.set_model(model)
        validate.on_train_begin()
        for epoch, weight in enumerate([8.0, 3.0, 5.0]):
            model.w.assign([weight] * 3)
            validate.on_epoch_end(epoch, {})
        assert saved == [(8, "best.keras"), (3, "best.keras")]
        assert float(validate.best.numpy()) == 3


class TestRunCheckpoint:
    def test_restores_the_newest(self, tmp_path):
        model, best = one_weight([0.0, 0.0, 0.0]), tf.Variable(0.5, dtype=tf.float64)
        checkpoint = RunCheckpoint(tmp_path, model, best)
        for epoch in range(3):
            model.w.assign([epoch + 1.0] * 3)
            model.optimizer.iterations.assign(10 * epoch)
            checkpoint.on_epoch_end(epoch, {})
        other, other_best = one_weight([0.0, 0.0, 0.0]), tf.Variable(0.0, dtype=tf.float64)
        assert RunCheckpoint(tmp_path, other, other_best).restore() == 3
        np.testing.assert_array_equal(other.w, [3, 3, 3])
        assert int(other.optimizer.iterations.numpy()) == 20
        assert float(other_best.numpy()) == 0.5

    def test_holds_the_statistics_of_layers_in_lists(self, tmp_path):
        """`tf.train.Checkpoint(network=model)` leaves them out, and says nothing."""

        def compiled() -> SimpleNamespace:
            inputs = keras.Input((4, 4, 1))
            model = keras.Model(inputs, Listed()(inputs))
            model.compile(keras.optimizers.SGD())
            model.optimizer.build(model.trainable_variables)
            return SimpleNamespace(network=model, optimizer=model.optimizer)

        model, other = compiled(), compiled()
        for number, weight in enumerate(model.network.weights):
            weight.assign(np.full(weight.shape, number + 2.0))
        RunCheckpoint(tmp_path, model).on_epoch_end(0, {})
        RunCheckpoint(tmp_path, other).restore()
        for weight, restored in zip(model.network.weights, other.network.weights, strict=True):
            np.testing.assert_array_equal(restored, weight, err_msg=weight.path)

    def test_an_empty_folder_starts_at_epoch_zero(self, tmp_path):
        assert RunCheckpoint(tmp_path, one_weight([1.0, 2.0, 3.0])).restore() == 0


class Listed(keras.layers.Layer):
    """Keeps its sub-layer in a list, as the networks of the project do."""

    def __init__(self):
        super().__init__()
        self.convs = [ConvNorm(2)]

    def build(self, shape):
        self.convs[0].build(shape)

    def call(self, x, training=None):
        return self.convs[0](x, training=training)


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

    def test_no_file_no_rows(self, tmp_path):
        assert read_history(tmp_path / "history.csv") == []
