"""Turns and ratios, of given times."""

import numpy as np

from p2net_tf.bench.timing import in_turns, quartiles


def test_measures_take_turns_and_the_warm_up_does_not_count():
    calls = []

    def measure(name):
        calls.append(name)
        return float(len(calls))

    found = in_turns({"a": lambda: measure("a"), "b": lambda: measure("b")}, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert {name: values.tolist() for name, values in found.items()} == {"a": [3, 5], "b": [4, 6]}


def test_a_ratio_is_the_median_of_the_ratios_within_rounds():
    """The machine is ten times slower in the last round, which moves both."""
    times = {"slow": [2.0, 3.0, 40.0], "plain": [1.0, 1.0, 10.0]}
    turns = {name: iter(values) for name, values in times.items()}
    found = in_turns({name: lambda turn=turn: next(turn) for name, turn in turns.items()}, 3, warm_up=0)
    assert quartiles(found["slow"] / found["plain"]) == {"median": 3.0, "lower": 2.5, "upper": 3.5}
    assert np.median(found["slow"]) / np.median(found["plain"]) == 3.0
