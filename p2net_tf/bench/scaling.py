"""What of a training step on several processes is spent on their talk: `p2net bench scaling`.

The processes are those of a training on several hosts, on this one: `TF_CONFIG`, TensorFlow's own rings, over
loopback. Each has its share of the cores and the same number of people. Beside the step, its two kinds of
all-reduce take turns, alone: the gradients of all weights, and the statistics of every batch normalization,
one after the other, as they are needed, forward and backward. In the step they partly overlap with other
work, so their share is an upper bound.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from p2net_tf.bench.timing import Circumstances, quartiles
from p2net_tf.bench.training_cost import training_cost
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config
from p2net_tf.utils.console import track
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.machine import usable_cores

STEP, GRADIENTS, STATISTICS = "training step", "all-reduce of gradients", "all-reduce of statistics"
_PATIENCE = 1800.0
"""Seconds after which processes that have not answered are ended."""


def bench_scaling(
    config: ExperimentConfig,
    out: str | Path,
    processes: Sequence[int] = (1, 2, 4),
    batch: int = 2,
    rounds: int = 10,
    command: str = "",
) -> dict:
    """Measures each number of processes after the other, writes the JSON and returns it.

    Args:
        batch: people of every process.
        rounds: in which step and all-reduces take turns, after some that do not count.
        command: the command line, for the report.

    Raises:
        UserError: a process fails; its words are in the message.
    """
    circumstances = Circumstances(command, seed=config.seed)
    found = [_run(config, count, batch, rounds) for count in track(sorted(set(processes)), "measuring")]
    facts = found[0]
    report = {
        "title": f"{config.name}: a training step on several processes",
        "network": {name: facts[name] for name in ("parameters", "multiply_adds", "batch_normalizations")},
        "batch_of_a_process": batch,
        "rounds": rounds,
        "processes": [
            _entry(count, batch, one) for count, one in zip(sorted(set(processes)), found, strict=True)
        ],
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def _entry(processes: int, batch: int, found: dict) -> dict:
    # One process has nobody to talk to.
    none = np.zeros(len(found["seconds"][STEP]))
    seconds = {name: np.array(found["seconds"].get(name, none)) for name in (STEP, GRADIENTS, STATISTICS)}
    talk = seconds[GRADIENTS] + seconds[STATISTICS]
    cost = training_cost(found["parameters"], found["multiply_adds"], processes * batch, processes)
    return {
        "processes": processes,
        "persons_per_second": quartiles(processes * batch / seconds[STEP]),
        "seconds": {name: quartiles(values) for name, values in seconds.items()},
        "share": {
            GRADIENTS: quartiles(seconds[GRADIENTS] / seconds[STEP]),
            STATISTICS: quartiles(seconds[STATISTICS] / seconds[STEP]),
            "together": quartiles(talk / seconds[STEP]),
        },
        "bytes_sent_by_each": cost.bytes_sent,
        "peak_memory_of_the_first": found["peak_memory"],
    }


def _run(config: ExperimentConfig, count: int, batch: int, rounds: int) -> dict:
    """What the first of `count` processes found."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    with tempfile.TemporaryDirectory(prefix="p2net_") as folder, ExitStack() as stack:
        place = Path(folder)
        dump_config(config, place / "config.yaml")
        workers, logs = [], [place / f"log_{index}" for index in range(count)]
        for index, log in enumerate(logs):
            words = [str(place / "config.yaml"), str(batch), str(rounds), str(place / f"found_{index}.json")]
            file = stack.enter_context(open(log, "w"))
            worker = subprocess.Popen(
                [sys.executable, "-m", "p2net_tf.bench.scaling_worker", *words],
                env=_environment(addresses, index),
                stdout=file,
                stderr=file,
            )
            stack.callback(_end, worker)
            workers.append(worker)
        _wait(workers, logs)
        return json.loads((place / "found_0.json").read_text(encoding="utf-8"))


def _environment(addresses: Sequence[str], index: int) -> dict[str, str]:
    threads = str(max(1, usable_cores() // len(addresses)))
    own = {"TF_NUM_INTRAOP_THREADS": threads, "CUDA_VISIBLE_DEVICES": "-1"}
    if len(addresses) > 1:
        task = {"type": "worker", "index": index}
        own["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(addresses)}, "task": task})
    return {name: value for name, value in os.environ.items() if name != "TF_CONFIG"} | own


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(workers: Sequence[subprocess.Popen], logs: Sequence[Path]) -> None:
    """
    Raises:
        UserError: one of them fails, or takes too long.
    """
    end = time.monotonic() + _PATIENCE
    while any(worker.poll() is None for worker in workers):
        failed = [index for index, worker in enumerate(workers) if worker.poll()]
        if failed or time.monotonic() > end:
            break
        time.sleep(0.1)
    for worker, log in zip(workers, logs, strict=True):
        if worker.poll():
            words = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise UserError(f"a process of {len(workers)} ended with {worker.returncode}: {words}")
    if any(worker.poll() is None for worker in workers):
        raise UserError(f"{len(workers)} processes took longer than {_PATIENCE:.0f} s")


def _end(worker: subprocess.Popen) -> None:
    if worker.poll() is None:
        worker.kill()
    worker.wait()
