"""`TF_CONFIG`: it tells a process of a cluster where all of them are, and which one it is.

{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from p2net_tf.utils.exceptions import UserError

_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
_DIGITS = 10
_JOBS = ("chief", "worker")
"""Those that train, in the order in which TensorFlow counts them."""


class ClusterError(UserError):
    """A `TF_CONFIG` that cannot be used; the message names its field and the remedy."""


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
    """What `TF_CONFIG` says of this process; `ALONE` where it is not set or empty.

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
    _demand_own_addresses(tasks)
    places = [(job, number) for job, number, _ in tasks]
    own = _own_task(_part(config, "task", "it must say which of the workers this is"), places)
    return Worker(places.index(own), tasks)


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


def _demand_own_addresses(tasks) -> None:
    """Two processes that listen at one address wait for each other until they are stopped."""
    first = {}
    for job, number, address in tasks:
        other = first.setdefault(address, f"cluster.{job}.{number}")
        if other != f"cluster.{job}.{number}":
            raise _error(f"cluster.{job}.{number}", f"is {address}, as {other} is; each needs one of its own")


def _own_task(task: dict, places: list[tuple[str, int]]) -> tuple[str, int]:
    job, index = task.get("type"), task.get("index")
    jobs = dict(places)
    if not isinstance(job, str) or job not in jobs:
        raise _error("task.type", f"is {json.dumps(job)}, but the cluster has {' and '.join(jobs)}")
    # Recipes are often shell scripts, where every number is a string.
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < _DIGITS:
        index = int(index)
    if type(index) is not int or (job, index) not in places:  # a bool is an int for Python
        raise _error("task.index", f"is {json.dumps(index)}, but cluster.{job} goes from 0 to {jobs[job]}")
    return job, index
