"""What happens between epochs: validation with averaged weights, checkpoints, progress."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import keras
import tensorflow as tf

from p2net_tf.console import messages, progress
from p2net_tf.files import replacing, write_text
from p2net_tf.training.averaging import AveragedWeights


class Validate(keras.callbacks.Callback):
    """Scores the averaged weights every few epochs, adds `val_...` to the logs and keeps the best network.

    Must stand before the callbacks that read these logs, and before `RunCheckpoint`.

    Args:
        dataset: `(crops, keypoints)` batches of the validation part.
        calibration: training batches for the statistics of averaged weights, see `AveragedWeights`.
        best_file: where the network with the lowest `val_loss` is written. The accuracy is no judge between
            good networks: it does not ask how close a hit is.
        every: epochs between validations; the last epoch always has one.
        epochs: number of epochs of the run.
    """

    def __init__(
        self, dataset: tf.data.Dataset, calibration: tf.data.Dataset, best_file: Path, every: int, epochs: int
    ):
        super().__init__()
        self._dataset, self._calibration, self._best_file = dataset, calibration, best_file
        self._every, self._epochs = every, epochs
        self.best = tf.Variable(float("inf"), dtype=tf.float64, trainable=False)

    def on_train_begin(self, logs=None):
        self._averaged = AveragedWeights(self.model, self._calibration)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every and epoch + 1 != self._epochs:
            return
        with self._averaged:
            scores = self.model.evaluate(self._dataset, verbose=0, return_dict=True)
            if scores["loss"] < float(self.best.numpy()):
                self.best.assign(scores["loss"])
                save_network(self.model.network, self._best_file)
        logs.update({f"val_{name}": value for name, value in scores.items()})


class RunCheckpoint(keras.callbacks.Callback):
    """Keeps `checkpoints/`: everything a resume needs.

    Variables are listed one by one. TensorFlow's object graph does not look into the lists that Keras layers
    keep their sub-layers in, and leaves their moving statistics out without a word.

    Args:
        folder: the run folder.
        model: compiled, with a built network and optimizer.
        best: the best validation score so far, if there is a validation.
        keep: how many checkpoints to keep.
    """

    def __init__(self, folder: Path, model: keras.Model, best: tf.Variable | None = None, keep: int = 2):
        super().__init__()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        extras = {} if best is None else {"best": best}
        checkpoint = tf.train.Checkpoint(
            network=[variable.value for variable in model.network.weights],
            optimizer=[variable.value for variable in model.optimizer.variables],
            epoch=self.epoch,
            **extras,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=keep)

    def restore(self) -> int:
        """Reads the newest checkpoint, if there is one; returns the number of finished epochs."""
        if self._manager.latest_checkpoint:
            self._manager.checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
        return int(self.epoch.numpy())

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)


def save_network(network: keras.Model, path: Path) -> None:
    """Writes a `.keras` file atomically."""
    with replacing(path) as scratch:
        network.save(scratch)


class HistoryLog(keras.callbacks.Callback):
    """Appends one line of logs per epoch to `history.csv`; a resumed run goes on in the same file."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        rows = read_history(self._path)
        rows = [row for row in rows if int(row["epoch"]) < epoch]
        row = {"epoch": epoch, "learning_rate": float(self.model.optimizer.learning_rate.numpy())}
        rows.append({**row, **{name: float(value) for name, value in logs.items()}})
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names)] + [",".join(str(row.get(name, "")) for name in names) for row in rows]
        write_text(self._path, "\n".join(lines) + "\n")


def read_history(path: Path) -> list[dict[str, str]]:
    """The lines of a `history.csv`; empty where there is none."""
    if not Path(path).is_file():
        return []
    header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


class TrainingProgress(keras.callbacks.Callback):
    """One bar for the whole run with rate and ETA; a line of scores per epoch.

    Args:
        epochs, steps, batch_size: of the run.
        closing: takes the bar down at the end; Keras calls no callback after an interrupt.
    """

    def __init__(self, epochs: int, steps: int, batch_size: int, closing: ExitStack):
        super().__init__()
        self._epochs, self._steps, self._batch_size = epochs, steps, batch_size
        self._closing = closing
        self._first_epoch: int | None = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._first_epoch is None:
            self._first_epoch = epoch
            images = (self._epochs - epoch) * self._steps * self._batch_size
            self._advance = self._closing.enter_context(progress("training, images", total=images))

    def on_train_batch_end(self, batch, logs=None):
        self._advance(self._batch_size)

    def on_epoch_end(self, epoch, logs=None):
        scores = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        messages.print(f"epoch {epoch + 1}/{self._epochs}  {scores}", soft_wrap=True)
