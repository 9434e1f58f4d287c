"""Trainings in processes of their own, several at a time, that end with the process that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals

from p2net_tf.experiments.cells import CellFiles, ExperimentError
from p2net_tf.training.interruption import Interruption
from p2net_tf.utils.console import messages, progress
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.utils.machine import list_gpus

WORKER = (sys.executable, "-m", "p2net_tf.experiments.ablation.worker")
"""A command that trains the cell in the folder that is its last word, see `worker`."""
LOG = "log.txt"

_POLL_SECONDS = 0.1
_LOCK_SECONDS = 20.0
"""The workers of an ablation that was killed end at once, but a process needs a while to be gone."""


@dataclass(frozen=True)
class Job:
    """One training: what to call it, and where it is."""

    name: str
    files: CellFiles


def visible_gpus() -> list[str]:
    """Their names for CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(len(list_gpus()))]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


@contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """Keeps other ablations out of the folder; gives the descriptor of the lock.

    Workers inherit it, so the folder is free only when the last of them is gone.

    Raises:
        ExperimentError: another ablation is at work there.
    """
    import fcntl  # not on Windows

    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + _LOCK_SECONDS
    with open(folder / ".lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ExperimentError(
                        f"{folder}: another p2net ablate is at work here; wait for it, or take another folder"
                    ) from None
            time.sleep(_POLL_SECONDS)
        yield lock.fileno()


def run_all(
    jobs: Sequence[Job],
    at_a_time: int,
    threads: int,
    lock: int,
    again: str,
    command: Sequence[str] = WORKER,
) -> None:
    """Runs the jobs; each leaves its result or the reason of its failure in its files.

    Args:
        threads: of TensorFlow, for every job.
        lock: descriptor that the workers inherit.
        again: what a stopped user reads.
        command: see `WORKER`.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came, or a worker was stopped by somebody else; all are saved.
    """
    waiting, running = list(jobs), {}
    gpus = visible_gpus()
    with Interruption(again) as interruption, progress("trainings", total=len(jobs)) as advance:
        try:
            while waiting or running:
                for slot in range(at_a_time):
                    if waiting and slot not in running:
                        job = waiting.pop(0)
                        gpu = gpus[slot % len(gpus)] if gpus else None
                        running[slot] = job, _start(job, command, _environment(threads, gpu), lock)
                for slot, (job, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[slot]
                        interruption.requested |= _was_stopped(process)
                        _settle(job, process)
                        advance()
                if interruption.requested:
                    interruption.leave()
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            raise Interrupted(again) from None
        finally:
            _stop([process for _, process in running.values()])


def _start(job: Job, command: Sequence[str], environment: dict[str, str], lock: int) -> subprocess.Popen:
    job.files.forget_failure()
    with open(job.files.folder / LOG, "a") as log:
        return subprocess.Popen(
            [*command, str(job.files.folder)],
            stdin=subprocess.PIPE,  # never written to: its end is a sign, see `worker`
            stdout=log,
            stderr=log,
            env=environment,
            pass_fds=[lock],
            process_group=0,  # out of the reach of Ctrl-C, which would not let it save
        )


def _environment(threads: int, gpu: str | None) -> dict[str, str]:
    # Sums are split among the threads of a pool, so that another number of threads gives other last digits.
    # With a single inter-op thread tf.data and functions can wait for each other forever (tensorflow#48418).
    changes = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(max(2, threads))}
    if gpu is not None:
        changes["CUDA_VISIBLE_DEVICES"] = gpu
    return {**os.environ, **changes}


def _settle(job: Job, process: subprocess.Popen) -> None:
    """Says how a worker ended; one that could not say why it failed is given a reason."""
    process.stdin.close()
    found = job.files.found()
    if found:
        messages.print(f"{job.name}: {found['metric']} {found['value']:.4f}", soft_wrap=True, markup=False)
        return
    if _was_stopped(process):
        return
    if job.files.failure() is None:
        job.files.note_failure(f"its process ended {_how(process.returncode)}; see its {LOG}")
    place = job.files.folder / LOG
    messages.print(f"{job.name}: failed: {job.files.failure()} ({place})", soft_wrap=True, markup=False)


def _was_stopped(process: subprocess.Popen) -> bool:
    """By SIGTERM, as a scheduler sends to all processes of a job."""
    return process.returncode in (Interrupted.EXIT_CODE, -SIGTERM)


def _how(code: int) -> str:
    return f"by {Signals(-code).name}" if code < 0 else f"with status {code}"


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    if processes:
        messages.print("stopping; every training is saved after its step")
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
        process.stdin.close()
