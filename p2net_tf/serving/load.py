"""A load generator: clients that ask without a pause, and hold every answer against the one they expect."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2net_tf.serving.client import Client, RequestFailed
from p2net_tf.serving.model import Model
from p2net_tf.serving.status import Code
from p2net_tf.serving.tensors import object_array

TOLERANCE = 0.01
"""Pixels, and units of the scores: sums of floats depend on what a row shares its batch with."""
_PAUSE_WHEN_REFUSED = 0.02


@dataclass(frozen=True)
class Case:
    """A request and its answer; `people` rows."""

    signature: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, np.ndarray]
    people: int


@dataclass
class LoadReport:
    """What became of the requests.

    Attributes:
        answered: requests with the right answer; `people` in them.
        wrong: requests with another answer.
        refused: requests that the server had no place for (RESOURCE_EXHAUSTED).
        failed: code -> requests without an answer for another reason.
        words: the first message of each kind of failure.
        largest_difference: between an answer and the expected one, in pixels or units of the scores.
        latencies: seconds of each answered request.
        seconds: from the first request to the last answer.
    """

    answered: int = 0
    people: int = 0
    wrong: int = 0
    refused: int = 0
    failed: Counter = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)
    largest_difference: float = 0.0
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def people_per_second(self) -> float:
        return self.people / self.seconds if self.seconds else 0.0

    def add(self, other: LoadReport) -> None:
        """Takes in what another client, or a later load, saw; times add up."""
        self.answered += other.answered
        self.people += other.people
        self.wrong += other.wrong
        self.refused += other.refused
        self.failed += other.failed
        self.words = other.words | self.words
        self.largest_difference = max(self.largest_difference, other.largest_difference)
        self.latencies += other.latencies
        self.seconds += other.seconds

    def to_dict(self) -> dict:
        milliseconds = 1000 * np.asarray(self.latencies or [np.nan])
        return {
            "seconds": self.seconds,
            "answered": self.answered,
            "wrong": self.wrong,
            "refused": self.refused,
            "failed": dict(self.failed),
            "words": self.words,
            "largest_difference": self.largest_difference,
            "persons_per_second": self.people_per_second,
            "p50_ms": float(np.percentile(milliseconds, 50)),
            "p99_ms": float(np.percentile(milliseconds, 99)),
        }


def make_cases(
    model: Model, images: Sequence[bytes], boxes: np.ndarray, signature: str = "batched"
) -> list[Case]:
    """One request per `(image, box [4])`, with the answer that the model gives in this process, alone."""
    cases, wanted = [], model.signature(signature)
    for contents, box in zip(images, np.asarray(boxes, np.float32), strict=True):
        inputs = {"image_bytes": object_array([contents], (1,))}
        if "boxes" in wanted.inputs:
            inputs["boxes"] = box[None]
        cases.append(Case(signature, inputs, model.run(wanted, inputs), 1))
    return cases


def run_load(
    connect: Callable[[], Client],
    cases: Sequence[Case],
    clients: int,
    seconds: float,
    stop: threading.Event | None = None,
) -> LoadReport:
    """Lets `clients` ask for `seconds`, or until `stop`; each waits for its answer before it asks again.

    Args:
        connect: makes the client of one thread. It should not retry, or failures stay unseen.
    """
    stop = stop or threading.Event()
    reports = [LoadReport() for _ in range(clients)]
    start = time.monotonic()
    threads = [
        threading.Thread(target=_ask, args=(connect, cases, number, start + seconds, stop, reports[number]))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = LoadReport()
    for report in reports:
        total.add(report)
    total.seconds = time.monotonic() - start
    return total


def _ask(connect, cases: Sequence[Case], number: int, end: float, stop: threading.Event, report) -> None:
    client = connect()
    try:
        while time.monotonic() < end and not stop.is_set():
            _ask_once(client, cases[number % len(cases)], report)
            number += 1
    finally:
        client.close()


def _ask_once(client: Client, case: Case, report: LoadReport) -> None:
    start = time.monotonic()
    try:
        answer = client.predict(case.signature, case.inputs)
    except RequestFailed as error:
        if error.code is Code.RESOURCE_EXHAUSTED:
            report.refused += 1
            time.sleep(_PAUSE_WHEN_REFUSED)
        else:
            report.failed[error.code.name] += 1
            report.words.setdefault(error.code.name, str(error))
        return
    seconds = time.monotonic() - start
    difference = difference_of(answer, case.expected)
    report.largest_difference = max(report.largest_difference, difference)
    if difference > TOLERANCE:
        report.wrong += 1
        return
    report.answered += 1
    report.people += case.people
    report.latencies.append(seconds)


def difference_of(answer: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest absolute difference; infinite where names, shapes or what is finite differ."""
    if answer.keys() != expected.keys():
        return np.inf
    largest = 0.0
    for name, value in expected.items():
        if answer[name].shape != value.shape:
            return np.inf
        gaps = np.abs(answer[name].astype(np.float64) - value)
        largest = max(largest, np.max(np.nan_to_num(gaps, nan=np.inf), initial=0.0))
    return float(largest)
