"""What happens between epochs: validation with averaged weights, early stopping, the history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.lost_pictures import LostPicturesError
from p2net_tf.inference.keras_file import save_network
from p2net_tf.training.averaging import AveragedWeights, Calibration
from p2net_tf.training.picture_watch import PictureWatch
from p2net_tf.training.scoring import Scoring
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import WriteError, set_aside, write_text


class Validate(keras.callbacks.Callback):
    """Scores the averaged weights every few epochs, adds `val_...` to the logs and keeps the best network.

    Must stand before the callbacks that read these logs.

    Args:
        dataset: the validation part, as `p2net_tf.training.scoring.shared_out` gives it.
        calibration: for the statistics of averaged weights, see `AveragedWeights`.
        best_file: where the best network is written: of poses the one with the lowest `val_loss`. The
            accuracy is no judge between good networks: it does not ask how close a hit is.
        every: epochs between validations; the last epoch always has one.
        epochs: number of epochs of the run.
        pictures: of the training and the validation part, which are waited for where they are gone.
        patience: validations in a row without a better network after which the training stops; None goes on
            to the end.
        more_scores: further ones of the model with the weights that are validated.
        highest: which of `more_scores` judges in place of the loss; the higher the better.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        calibration: Calibration | None,
        best_file: Path,
        every: int,
        epochs: int,
        patience: int | None = None,
        pictures: PictureWatch | None = None,
        more_scores: Callable[[keras.Model], dict[str, float]] | None = None,
        highest: str | None = None,
    ):
        super().__init__()
        self._more_scores, self._highest = more_scores, highest
        self._dataset, self._calibration, self._best_file = dataset, calibration, best_file
        self._every, self._epochs, self._patience = every, epochs, patience
        self._pictures = pictures
        self.best, self._waited = float("inf"), 0

    def state(self) -> dict[str, np.ndarray]:
        return {"best": np.float64(self.best), "waited": np.int64(self._waited)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.best, self._waited = float(state["best"]), int(state["waited"])

    def on_train_begin(self, logs=None):
        self._averaged = AveragedWeights(self.model, self._calibration)
        self._scoring = Scoring(self.model, self._dataset)
        self.model.stop_training = self._is_enough()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every and epoch + 1 != self._epochs:
            return
        scores = self._validate()
        logs.update({f"val_{name}": value for name, value in scores.items()})
        if self._is_enough():
            messages.print(f"stopping early: no {self._best_words()} for {self._waited} validations")
            self.model.stop_training = True

    def _validate(self) -> dict[str, float]:
        """The scores of the averaged weights, which are kept if they are the best."""
        while True:
            try:
                with self._pictures.naming() if self._pictures else nullcontext(), self._averaged:
                    scores = self._scoring.score()
                    if self._more_scores is not None:
                        scores |= self._more_scores(self.model)
                    self._waited += 1
                    cost = scores["loss"] if self._highest is None else -scores[self._highest]
                    if cost < self.best:
                        self.best, self._waited = cost, 0
                        save_network(self.model.network, self._best_file, self.model.card)
                return scores
            except LostPicturesError as lost:
                self._pictures.wait(LostPicturesError(f"{lost}, and resume the run, which is saved"))

    def _best_words(self) -> str:
        if self._highest is None:
            return f"lower val_loss than {self.best:.4f}"
        return f"higher val_{self._highest} than {-self.best:.4f}"

    def _is_enough(self) -> bool:
        return self._patience is not None and self._waited >= self._patience


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
    """The lines of a `history.csv`; empty where there is none, or one that a power cut has damaged.

    Raises:
        WriteError: it is a folder.
    """
    if Path(path).is_dir():
        raise WriteError(f"{path}: is a folder, where the history of epochs belongs; remove it")
    if not Path(path).is_file():
        return []
    try:
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its end is missing")
        header, *lines = text.splitlines()
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        for row in rows:
            int(row["epoch"])
    except (ValueError, KeyError):
        set_aside(path, "not a history of epochs")
        return []
    return rows
