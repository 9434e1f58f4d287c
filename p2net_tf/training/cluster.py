"""The workers of a training that runs on several hosts, as `TF_CONFIG` names them.

Every worker runs the same command. `TF_CONFIG` is an environment variable that says where all of them are,
and which one this is:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from p2net_tf.utils.exceptions import UserError

_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")
"""Those that train, in the order in which TensorFlow counts them."""


class ClusterError(UserError):
    """A `TF_CONFIG` that cannot be used; the message names its field and the remedy."""


class WorkerLostError(UserError):
    """Another worker is gone, and the training cannot go on without it.

    The command line exits with `EXIT_CODE`, by which a scheduler knows that the job has to be started again.
    """

    EXIT_CODE = 76


@dataclass(frozen=True)
class Worker:
    """This process among those of a training.

    Attributes:
        index: its place among them; 0 is the chief, who writes what the training leaves behind.
        tasks: all of them in this order, as (job, index within the job, `host:port`).
    """

    index: int = 0
    tasks: tuple[tuple[str, int, str], ...] = (("worker", 0, ""),)

    @property
    def count(self) -> int:
        return len(self.tasks)

    @property
    def is_chief(self) -> bool:
        return self.index == 0


ALONE = Worker()


def read_cluster(environment: Mapping[str, str] = os.environ) -> Worker:
    """What `TF_CONFIG` says of this process; `ALONE` where it is not set.

    Raises:
        ClusterError: a `TF_CONFIG` that cannot be used.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        return ALONE
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ClusterError(f"TF_CONFIG is not JSON ({error}); write it like {_EXAMPLE}") from None
    cluster = _part(config, "cluster", "it must name the workers")
    tasks = tuple(
        (job, number, _address(address, f"cluster.{job}.{number}"))
        for job in _JOBS
        if job in cluster
        for number, address in enumerate(_addresses(cluster[job], f"cluster.{job}"))
    )
    if not tasks:
        raise _error("cluster", "has neither workers nor a chief")
    places = [(job, number) for job, number, _ in tasks]
    own = _own_task(_part(config, "task", "it must say which of the workers this is"), places)
    return Worker(places.index(own), tasks)


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


def _error(field: str, words: str) -> ClusterError:
    return ClusterError(f"TF_CONFIG: {field} {words}; write it like {_EXAMPLE}")


def _part(config, name: str, why: str) -> dict:
    part = config.get(name) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise _error(name, f"is missing: {why}")
    return part


def _addresses(addresses, field: str) -> list:
    if not isinstance(addresses, list):
        raise _error(field, "is not a list of addresses")
    return addresses


def _address(address, field: str) -> str:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _error(field, f"is {json.dumps(address)}, not host:port with a port from 1 to 65535")
    return address


def _own_task(task: dict, places: list[tuple[str, int]]) -> tuple[str, int]:
    job, index = task.get("type"), task.get("index")
    jobs = dict(places)
    if job not in jobs:
        raise _error("task.type", f"is {json.dumps(job)}, but the cluster has {' and '.join(jobs)}")
    # Recipes are often shell scripts, where every number is a string.
    if isinstance(index, str) and index.isascii() and index.isdigit():
        index = int(index)
    if not isinstance(index, int) or (job, index) not in places:
        raise _error("task.index", f"is {json.dumps(index)}, but cluster.{job} goes from 0 to {jobs[job]}")
    return job, index
