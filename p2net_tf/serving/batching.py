"""The bounded queue before the model, and the micro-batches that are made of it.

Requests of one batchable signature that wait at the same time run as one batch. A request that the model
refuses fails its batch, and so the batch is run again one by one: nobody's mistake costs anybody else an
answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from p2net_tf.serving.metrics import Metrics
from p2net_tf.serving.model import Model
from p2net_tf.serving.signatures import Signature
from p2net_tf.serving.status import Code, RequestError

LARGEST_QUEUE = 512 << 20
"""Bytes of inputs that may wait."""
_log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
"""Inputs or outputs of a signature, by their names."""


@dataclass(frozen=True, eq=False)
class Job:
    """A request on its way: what to run on what, and where the answer goes."""

    model: Model
    signature: Signature
    arrays: Arrays
    deadline: float
    """On the clock of `time.monotonic`."""
    answer: Future = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        return len(next(iter(self.arrays.values()))) if self.signature.batchable and self.arrays else 1

    @property
    def kind(self) -> tuple:
        """Jobs of one kind can be laid one after the other."""
        shapes = tuple(array.shape[1:] for array in self.arrays.values())
        return id(self.model), self.signature.name, shapes

    @property
    def size(self) -> int:
        """Bytes of its inputs."""
        return sum(_size(array) for array in self.arrays.values())


class BatchRunner:
    """Threads that take jobs from a queue and run them in batches.

    Args:
        max_queue: jobs that may wait; the next one is refused.
        max_batch: rows of a batch. A job with more of them runs alone.
        batch_timeout: seconds that the first job of a batch waits for others, where a thread is free.
        threads: batches that run at the same time.
    """

    def __init__(
        self, metrics: Metrics, max_queue: int = 128, max_batch: int = 16, batch_timeout: float = 0.002,
        threads: int = 2,
    ):  # fmt: skip
        self.max_queue, self.max_batch, self.batch_timeout = max_queue, max_batch, batch_timeout
        self._metrics = metrics
        self._waiting: deque[Job] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def submit(self, job: Job) -> Future:
        """Queues a job; its future gets the outputs, or a `RequestError`.

        Raises:
            RequestError: RESOURCE_EXHAUSTED: the queue is full. UNAVAILABLE: it is closed.
        """
        with self._changed:
            if self._closed:
                raise RequestError(Code.UNAVAILABLE, "the server is shutting down")
            if len(self._waiting) >= self.max_queue:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED, f"{self.max_queue} requests wait already; try again later"
                )
            if self._waiting and self._waiting_bytes + job.size > LARGEST_QUEUE:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED,
                    f"requests of {self._waiting_bytes >> 20} MB wait already; try again later",
                )
            self._waiting.append(job)
            self._waiting_bytes += job.size
            self._changed.notify_all()
        return job.answer

    def close(self) -> None:
        """Refuses new jobs, finishes those that wait, ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._run([job for job in batch if _is_wanted(job)])
            # Or the thread would hold the last batch, and an old model, until the next one comes.
            del batch

    def _take(self) -> list[Job]:
        """The next batch, as soon as there is one; empty when the queue is closed and done."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            batch = [self._pop(0)]
            while batch[0].signature.batchable and not self._closed:
                self._add_mates(batch)
                patience = batch[0].since + self.batch_timeout - time.monotonic()
                if sum(job.rows for job in batch) >= self.max_batch or patience <= 0:
                    break
                self._changed.wait(patience)
            return batch

    def _add_mates(self, batch: list[Job]) -> None:
        rows, kind, index = sum(job.rows for job in batch), batch[0].kind, 0
        while index < len(self._waiting) and rows < self.max_batch:
            job = self._waiting[index]
            if job.kind == kind and rows + job.rows <= self.max_batch:
                batch.append(self._pop(index))
                rows += job.rows
            else:
                index += 1

    def _pop(self, index: int) -> Job:
        job = self._waiting[index]
        del self._waiting[index]
        self._waiting_bytes -= job.size
        return job

    def _run(self, batch: list[Job]) -> None:
        if len(batch) > 1:
            try:
                parts = _run_together(batch)
            except Exception:  # whatever it is, each job alone tells whose fault it is
                self._metrics.fallbacks.inc()
            else:
                self._metrics.batches.labels(batch[0].signature.name).observe(sum(job.rows for job in batch))
                for job, outputs in zip(batch, parts, strict=True):
                    job.answer.set_result(outputs)
                return
        for job in batch:
            self._run_alone(job)

    def _run_alone(self, job: Job) -> None:
        self._metrics.batches.labels(job.signature.name).observe(job.rows)
        try:
            job.answer.set_result(job.model.run(job.signature, job.arrays))
        except RequestError as error:
            # A traceback refers to this frame and so to the job, whose answer holds the error: the inputs
            # would stay until the garbage collector comes by, which with TensorFlow loaded is rarely.
            job.answer.set_exception(error.with_traceback(None))
        except Exception:
            _log.exception("'%s' failed", job.signature.name)
            words = "internal error; the log of the server has more"
            job.answer.set_exception(RequestError(Code.INTERNAL, words))


def _run_together(batch: list[Job]) -> list[dict[str, np.ndarray]]:
    """Outputs of each job."""
    first, ends = batch[0], np.cumsum([job.rows for job in batch])
    arrays = {name: np.concatenate([job.arrays[name] for job in batch]) for name in first.arrays}
    outputs = first.model.run(first.signature, arrays)
    if any(len(array) != ends[-1] for array in outputs.values()):
        raise ValueError(f"'{first.signature.name}' does not give a row for every row")
    columns = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: parts[number] for name, parts in columns.items()} for number in range(len(batch))]


def _is_wanted(job: Job) -> bool:
    """Marks the job as running, unless its caller has gone or has waited long enough."""
    if not job.answer.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.answer.set_exception(RequestError(Code.DEADLINE_EXCEEDED, "the request waited past its deadline"))
        return False
    return True


def _size(array: np.ndarray) -> int:
    return array.nbytes if array.dtype != object else sum(len(item) for item in array.reshape(-1))
