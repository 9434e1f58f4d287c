"""The training loop: Keras' `fit`, but one that can stop and go on at any step, and knows what it waits for.

`fit` goes on at epochs only, does not say how long it waited for data, and fails under several workers. This
loop calls the same `train_step` and the same callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.lost_pictures import LostPicturesError
from p2net_tf.training.checkpoints import Checkpoints
from p2net_tf.training.cluster import worker_of
from p2net_tf.training.collectives import from_all
from p2net_tf.training.health import HealthReport
from p2net_tf.training.interruption import Interruption
from p2net_tf.training.picture_watch import PictureWatch
from p2net_tf.training.run_state import RunState


class Clock:
    """Where the time of a training goes.

    Attributes:
        waiting: seconds spent waiting for batches.
        training: seconds spent in training steps.
        steps: training steps that were timed. The first step of a loop is not: its graph is being built.
    """

    def __init__(self):
        self.waiting, self.training, self.steps = 0.0, 0.0, 0

    @property
    def steps_per_second(self) -> float:
        seconds = self.waiting + self.training
        return self.steps / seconds if seconds else 0.0

    @property
    def waiting_share(self) -> float:
        seconds = self.waiting + self.training
        return self.waiting / seconds if seconds else 0.0


@dataclass(frozen=True)
class Plan:
    """How long a run is, and when it is saved."""

    epochs: int
    steps: int
    """Per epoch."""
    checkpoint_every: int
    """Steps between checkpoints. Each epoch ends with one, too: before its callbacks and after them."""


class TrainingLoop:
    """Trains a model from where its state stands to the end of its last epoch.

    Args:
        model: a compiled `PoseModel` or `DetectionModel`.
        strategy: that it was built under.
        state: where the run stands; moves on with every step.
        checkpoints: where they are written.
        health: where a loss that is not finite is reported.
        callbacks: Keras callbacks; `on_epoch_end` gets the means over the epoch.
        clock: is told where the time goes.
        pictures: what is waited for where they are gone.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        state: RunState,
        plan: Plan,
        checkpoints: Checkpoints,
        health: HealthReport,
        callbacks: list[keras.callbacks.Callback],
        clock: Clock,
        pictures: PictureWatch,
    ):
        self._model, self._strategy, self._state = model, strategy, state
        self._plan, self._checkpoints = plan, checkpoints
        self._health, self._clock, self._pictures = health, clock, pictures
        self._callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=plan.epochs, steps=plan.steps, verbose=0
        )
        self._step_function = make_step_function(model, strategy)
        self._last_batch = None

    def run(self, open_batches: Callable[[], tf.data.Dataset], interruption: Interruption) -> None:
        """Trains on distributed batches, `TrainingBatch`es or `SceneBatch`es.

        Args:
            open_batches: gives them, from where the state stands when it is called.

        Raises:
            Interrupted: SIGTERM came; all that was done is saved.
            NotFiniteError: the loss or a weight is NaN or Inf.
            CheckpointError: a checkpoint cannot be written.
            LostPicturesError: the pictures are gone, and do not come back; all that was done is saved.
        """
        self._interruption = interruption
        # Nothing was done yet that is not in the checkpoint this started from, if there is one.
        interruption.nothing_to_lose = self._alone
        self._model.stop_training = False
        self._callbacks.on_train_begin()
        self._open_batches, self._iterator = open_batches, iter(open_batches())
        while self._state.epoch < self._plan.epochs and not self._model.stop_training:
            self._run_epoch()
        interruption.nothing_to_lose = False
        self._callbacks.on_train_end()

    def _run_epoch(self) -> None:
        state, steps = self._state, self._plan.steps
        begin = state.epoch * steps
        if state.step == begin:
            self._model.reset_metrics()
        # Otherwise it was begun before the run stopped, and goes on with the metrics it had.
        self._callbacks.on_epoch_begin(state.epoch)
        while state.step < begin + steps:
            self._callbacks.on_train_batch_begin(state.step - begin)
            logs = self._run_step()
            self._callbacks.on_train_batch_end(state.step - begin - 1, logs)
            if state.step == begin + steps or state.step % self._plan.checkpoint_every == 0:
                self._save()
        logs = {name: float(value) for name, value in self._model.get_metrics_result().items()}
        self._callbacks.on_epoch_end(state.epoch, logs)
        state.epoch += 1
        self._save()

    def _run_step(self) -> dict[str, float]:
        start = time.perf_counter()
        batch = self._next_batch()
        ready = time.perf_counter()
        first = self._last_batch is None
        self._last_batch = batch
        found = self._step_function(batch, tf.constant(float(self._interruption.requested)))
        loss, stops = (float(value) for value in found)
        self._interruption.nothing_to_lose = False
        if not first:
            self._clock.waiting += ready - start
            self._clock.training += time.perf_counter() - ready
            self._clock.steps += 1
        if not np.isfinite(loss):
            self._stop_for_health("the loss")
        self._state.step += 1
        if stops:  # of any worker: they stop at the same step
            self._save()
            self._interruption.leave()
        return {"loss": loss}

    def _next_batch(self):
        while True:
            try:
                with self._pictures.naming():
                    return next(self._iterator)
            except LostPicturesError as lost:
                if not self._alone:  # the others are in a step by now, and cannot save with this one
                    raise
                if self._last_batch is not None:
                    self._save()
                self._pictures.wait(LostPicturesError(f"{lost}, and resume the run, which is saved"))
                self._iterator = iter(self._open_batches())

    def _save(self) -> None:
        if self._last_batch is not None:
            self._state.next_indices = next_indices(self._strategy, self._last_batch.indices)
        arrays = self._state.arrays()
        if broken := self._state.not_finite(arrays):
            self._stop_for_health(f"the weight {broken[0]}")
        self._checkpoints.save(self._state.step, arrays)
        self._interruption.nothing_to_lose = self._alone
        if self._interruption.requested and self._alone:
            self._interruption.leave()

    @property
    def _alone(self) -> bool:
        """With other workers, who must not be left in the middle of a step, the steps agree when to stop."""
        return worker_of(self._strategy).count == 1

    def _stop_for_health(self, what: str) -> None:
        rows = np.concatenate(
            [np.ravel(x) for x in self._strategy.experimental_local_results(self._last_batch.rows)]
        )
        rate = float(self._model.optimizer.learning_rate.numpy())
        self._health.stop(what, self._state.step + 1, rows, rate)


def make_step_function(model: keras.Model, strategy: tf.distribute.Strategy) -> Callable:
    """A graph that trains on the `data` of one distributed batch.

    Returns:
        `(batch, stop scalar) -> (running loss of the epoch, sum of stop)`, both summed over the replicas of
        all workers: not finite where any of theirs is.
    """
    train_step = model.train_step
    if model.jit_compile:
        train_step = tf.function(train_step, jit_compile=True)

    def on_replica(batch, stop):
        logs = train_step(batch.data)
        return tf.stack([tf.cast(logs["loss"], tf.float32), stop])

    @tf.function(autograph=False, reduce_retracing=True)
    def step(batch, stop):
        found = strategy.run(on_replica, (batch, stop))
        return tf.unstack(strategy.reduce(tf.distribute.ReduceOp.SUM, found, axis=None))

    return step


def next_indices(strategy: tf.distribute.Strategy, indices) -> np.ndarray:
    """`[pipelines]` int64: the draw after the last one that each input pipeline gave.

    Args:
        indices: `[B]` of a distributed batch.
    """
    last = max(part.numpy().max() for part in strategy.experimental_local_results(indices))
    return np.concatenate([number for (number,) in from_all(strategy, [last[None]])]) + 1
