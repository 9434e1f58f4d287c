"""What measurements have in common.

All that is measured takes turns, round after round in one process, so a machine that slows down or is shared
slows all of it. A ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from p2net_tf.utils.console import progress
from p2net_tf.utils.provenance import describe_environment

WARM_UP = 3
"""Rounds that are not counted: graphs are traced, memory is allocated."""


def in_turns(measures: dict[str, Callable], rounds: int, warm_up: int = WARM_UP) -> dict[str, np.ndarray]:
    """What each measure returned, `[rounds, ...]`; usually seconds."""
    found = {name: [] for name in measures}
    with progress("measuring, rounds", warm_up + rounds) as advance:
        for _ in range(warm_up + rounds):
            for name, measure in measures.items():
                found[name].append(measure())
            advance()
    return {name: np.array(values[warm_up:]) for name, values in found.items()}


def timed(function: Callable) -> Callable[[], float]:
    """A measure: the seconds that `function` takes until all tensors that it returns are there."""

    def measure() -> float:
        start = time.perf_counter()
        # On a device a call returns before it is done; reading one number of each result waits.
        for value in tf.nest.flatten(function()):
            if tf.is_tensor(value):
                np.ravel(value)[:1]
        return time.perf_counter() - start

    return measure


def graph_of(function: Callable, *values) -> Callable:
    """`function` of `values` as one graph."""
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*values)


def quartiles(values: np.ndarray) -> dict[str, float]:
    lower, median, upper = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "lower": float(lower), "upper": float(upper)}


def milliseconds(seconds: dict, digits: int = 0) -> tuple[str, str]:
    """Median and the range between the quartiles, as words."""
    lower, median, upper = (f"{1000 * seconds[name]:.{digits}f}" for name in ("lower", "median", "upper"))
    return median, f"{lower}-{upper}"


class Circumstances:
    """The machine under a measurement, from when this is made until it is asked."""

    def __init__(self, command: str = "", **facts):
        self._command, self._facts, self._before = command, facts, os.getloadavg()[0]

    def to_dict(self) -> dict:
        """Entries of every report."""
        return {
            "load_average": {"before": self._before, "after": os.getloadavg()[0]},
            "environment": describe_environment(**self._facts),
            "command": self._command,
        }


def describe_load(report: dict) -> str:
    load = report["load_average"]
    return f"load of the machine {load['before']:.1f} to {load['after']:.1f}, {os.cpu_count()} cores"
