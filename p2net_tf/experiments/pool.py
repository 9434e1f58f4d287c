"""Cells in processes of their own, several at a time, that end with the process that started them.

| file of the comparison | content |
|---|---|
| `plan.json` | threads of every training, chosen by the first call |
| `CELL/log.txt` | what a training wrote |
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM, Signals

from p2net_tf.experiments.cells import Cell, ExperimentError, read_kept, refuse_other_requests, write_json
from p2net_tf.training.interruption import Interruption
from p2net_tf.utils.console import messages, progress
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.machine import list_gpus, usable_cores

WORKER = (sys.executable, "-m", "p2net_tf.experiments.worker")
"""A command that runs the cell in the folder that is its last word, see `worker`."""
LOG = "log.txt"

_POLL_SECONDS = 0.1
_LOCK_SECONDS = 20.0
"""The workers of a comparison that was killed end at once, but a process needs a while to be gone."""


def run_cells(
    cells: Sequence[Cell], folder: Path, jobs: int | None = None, command: Sequence[str] = WORKER
) -> int:
    """Runs the cells that are not finished; each leaves its result or the reason of its failure in its files.

    The same call in the same folder goes on where the last one stopped, however that ended.

    Args:
        folder: of the comparison, for which this keeps others out.
        jobs: trainings at a time. One has all GPUs; of several each has one. None: one on every GPU, or as
            many as there are cores.
        command: see `WORKER`.

    Returns:
        Threads of TensorFlow in every training.

    Raises:
        ExperimentError: cells of another request, no job at all, or somebody else at work in the folder.
        Interrupted: SIGTERM or Ctrl-C came, or a worker was stopped by somebody else; all are saved.
    """
    if jobs is not None and jobs < 1:
        raise ExperimentError(f"jobs {jobs}: give at least one")
    with alone_in(folder) as lock:
        refuse_other_requests(cells)
        jobs = jobs or len(visible_gpus()) or min(usable_cores(), len(cells))
        threads = _threads(folder, jobs)
        unfinished = [cell for cell in cells if cell.files.found() is None]
        messages.print(
            f"{len(cells)} trainings, {len(cells) - len(unfinished)} of them finished; {jobs} at a time, "
            f"threads of each: {threads}; their logs: {LOG} in {folder}",
            soft_wrap=True,
        )
        for cell in unfinished:
            cell.prepare()
        again = f"all is saved in {folder}; the same command goes on"
        _run_all(unfinished, jobs, threads, lock, again, command)
    return threads


def visible_gpus() -> list[str]:
    """Their names for CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(len(list_gpus()))]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


@contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """Keeps other comparisons out of the folder; gives the descriptor of the lock.

    Workers inherit it, so the folder is free only when the last of them is gone.

    Raises:
        ExperimentError: another comparison is at work there.
    """
    import fcntl  # not on Windows

    make_folder(folder)
    end = time.monotonic() + _LOCK_SECONDS
    with open(folder / ".lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ExperimentError(
                        f"{folder}: another comparison is at work here; wait for it, or take another folder"
                    ) from None
            time.sleep(_POLL_SECONDS)
        with lock_folder(folder):  # against other machines, too
            yield lock.fileno()


def _threads(folder: Path, jobs: int) -> int:
    """Of every training: what the first call chose, so that later ones change no number by other `jobs`."""
    file = folder / "plan.json"
    plan = read_kept(file, dict) or {}
    if "threads" not in plan:
        plan = {"threads": max(1, usable_cores() // jobs)}
        write_json(file, plan)
    return plan["threads"]


def _run_all(
    cells: Sequence[Cell], at_a_time: int, threads: int, lock: int, again: str, command: Sequence[str]
) -> None:
    """`lock`: a descriptor that the workers inherit; `again`: what a stopped user reads."""
    waiting, running = list(cells), {}
    gpus = visible_gpus() if at_a_time > 1 else []
    with Interruption(again) as interruption, progress("trainings", total=len(cells)) as advance:
        try:
            while waiting or running:
                for slot in range(at_a_time):
                    if waiting and slot not in running:
                        cell = waiting.pop(0)
                        gpu = gpus[slot % len(gpus)] if gpus else None
                        running[slot] = cell, _start(cell, command, _environment(threads, gpu), lock)
                for slot, (cell, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[slot]
                        interruption.requested |= _was_stopped(process)
                        _settle(cell, process)
                        advance()
                if interruption.requested:
                    interruption.leave()
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            raise Interrupted(again) from None
        finally:
            _stop([process for _, process in running.values()])


def _start(cell: Cell, command: Sequence[str], environment: dict[str, str], lock: int) -> subprocess.Popen:
    cell.files.forget_failure()
    with open(cell.folder / LOG, "a") as log:
        return subprocess.Popen(
            [*command, str(cell.folder)],
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


def _settle(cell: Cell, process: subprocess.Popen) -> None:
    """Says how a worker ended; one that could not say why it failed is given a reason."""
    process.stdin.close()
    found = cell.files.found()
    if found:
        messages.print(f"{cell.name}: {found['metric']} {found['value']:.4f}", soft_wrap=True, markup=False)
        return
    if _was_stopped(process):
        return
    if cell.files.failure() is None:
        cell.files.note_failure(f"its process ended {_how(process.returncode)}; see its {LOG}")
    place = cell.folder / LOG
    messages.print(f"{cell.name}: failed: {cell.files.failure()} ({place})", soft_wrap=True, markup=False)


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
