"""The workers of a training on several hosts: where each writes, and what is said of one that is gone."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.tf_config import ALONE, Worker, read_cluster


class WorkerLostError(UserError):
    """Another worker is gone, and the training cannot go on without it.

    The command line exits with `EXIT_CODE`, by which a scheduler knows that the job has to be started again.
    """

    EXIT_CODE = 76


def worker_of(strategy: tf.distribute.Strategy) -> Worker:
    """This process among those that train under `strategy`."""
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return read_cluster() if several else ALONE


@contextmanager
def work_folder(folder: Path, worker: Worker) -> Iterator[Path]:
    """Where a worker writes: the chief into `folder`, others where it is thrown away.

    All workers run the same code, and some of it, such as saving under synchronized variables, only works
    when all of them do it.
    """
    if worker.is_chief:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="p2net_worker_") as scratch:
        yield Path(scratch)


@contextmanager
def naming_lost_workers(worker: Worker) -> Iterator[None]:
    """Turns what TensorFlow raises when another worker goes away into one sentence.

    A worker that died is noticed at once, when an exchange with it fails, and at the latest after the 10
    seconds that TensorFlow waits for heartbeats. All collective operations of this process fail then, running
    and future ones.

    Raises:
        WorkerLostError: a worker is gone.
    """
    try:
        yield
    except _LOST as error:
        if worker.count == 1:
            raise
        raise WorkerLostError(
            f"{_who_is_gone(str(error), worker)} is gone; its own messages say why. "
            "Start the job again on all workers, and resume the run"
        ) from error


_LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
_TASK = re.compile(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)")


def _who_is_gone(message: str, worker: Worker) -> str:
    """The first other worker that the message names. A leader that is silent is the only one not named."""
    named = [(job, int(number)) for job, number in _TASK.findall(message)]
    others = [place for place in range(worker.count) if place != worker.index]
    suspects = [place for place in others if worker.tasks[place][:2] in named]
    if not suspects and "CoordinationService" in message and not worker.is_chief:
        suspects = [0]
    if not suspects and len(others) > 1:
        return f"one of the {worker.count} workers"
    place = (suspects or others)[0]
    return f"worker {place} at {worker.tasks[place][2]}"
