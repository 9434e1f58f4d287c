"""Counters and histograms, written out in the text form that Prometheus scrapes."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a latency."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the buckets of a batch size."""


class Counter:
    """A number per combination of labels that only grows."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()):
        self.name, self.help_text, self.labels = name, help_text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, amount: float = 1) -> None:
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def value(self, *labels: str) -> float:
        return self._values.get(labels, 0)

    def total(self, last: str) -> float:
        """Over all combinations of labels that end with `last`."""
        with self._lock:
            return sum(value for labels, value in self._values.items() if labels[-1] == last)

    def lines(self) -> list[str]:
        with self._lock:
            values = sorted(self._values.items())
        return [f"{self.name}{_labels(self.labels, key)} {_number(value)}" for key, value in values]


class Histogram:
    """How many observations per combination of labels lie below each of some bounds."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, bounds: Sequence[float], labels: Sequence[str] = ()):
        self.name, self.help_text, self.bounds, self.labels = name, help_text, tuple(bounds), tuple(labels)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
            counts[bisect_left(self.bounds, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> list[str]:
        with self._lock:
            found = [(key, list(counts), self._sums[key]) for key, counts in sorted(self._counts.items())]
        return [line for key, counts, total in found for line in self._of(key, counts, total)]

    def _of(self, key: tuple[str, ...], counts: list[int], total: float) -> list[str]:
        lines, below, names = [], 0, (*self.labels, "le")
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), counts, strict=True):
            below += count
            lines.append(f"{self.name}_bucket{_labels(names, (*key, bound))} {below}")
        plain = _labels(self.labels, key)
        return [*lines, f"{self.name}_sum{plain} {_number(total)}", f"{self.name}_count{plain} {below}"]


class Gauge:
    """A number that is looked up when somebody asks."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, read: Callable[[], float]):
        self.name, self.help_text, self._read = name, help_text, read

    def lines(self) -> list[str]:
        return [f"{self.name} {_number(self._read())}"]


class Metrics:
    """What the server counts."""

    def __init__(self):
        requests = ("api", "signature", "code")
        self.requests = Counter("p2net_serving_requests_total", "Requests answered.", requests)
        self.latency = Histogram(
            "p2net_serving_request_seconds", "From request to answer.", SECONDS, ("api", "signature")
        )
        self.batches = Histogram(
            "p2net_serving_batch_rows", "Rows that the model ran at once.", ROWS, ("signature",)
        )
        self.fallbacks = Counter(
            "p2net_serving_batch_fallbacks_total", "Batches that failed and were run one by one."
        )
        self._all = [self.requests, self.latency, self.batches, self.fallbacks]

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        self._all.append(Gauge(name, help_text, read))

    def text(self) -> str:
        """Text exposition format 0.0.4."""
        lines = []
        for metric in self._all:
            lines += [f"# HELP {metric.name} {metric.help_text}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.lines()
        return "\n".join(lines) + "\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
