"""The load generator: what it counts, and that it sees a wrong answer."""

import threading
from collections import Counter

import numpy as np
import pytest
from closed_form import picture

from p2net_tf.serving.client import GrpcClient, RequestFailed
from p2net_tf.serving.load import Case, LoadReport, difference_of, make_cases, run_load
from p2net_tf.serving.model import Model
from p2net_tf.serving.status import Code

ANSWER = {"scores": np.array([1.0], np.float32)}
CASES = [Case("s", {"n": n}, ANSWER, people=1) for n in range(4)]


class Scripted:
    """Answers by the number of the case."""

    def __init__(self, replies, calls):
        self.replies, self.calls = replies, calls

    def predict(self, _, inputs):
        self.calls.append(inputs["n"])
        reply = self.replies[inputs["n"]]
        if isinstance(reply, Code):
            raise RequestFailed(reply, "words")
        return {"scores": np.array([reply], np.float32)}

    def close(self):
        self.calls.append("closed")


def test_each_outcome_is_counted_where_it_belongs():
    calls, stop = [], threading.Event()
    replies = {0: 1.005, 1: 1.5, 2: Code.RESOURCE_EXHAUSTED, 3: Code.UNAVAILABLE}

    class Ending(Scripted):
        def predict(self, signature, inputs):
            if inputs["n"] == 3:
                stop.set()
            return super().predict(signature, inputs)

    report = run_load(lambda: Ending(replies, calls), CASES, clients=1, seconds=60, stop=stop)
    assert calls == [0, 1, 2, 3, "closed"]
    found = report.to_dict()
    assert (report.answered, report.people, report.wrong, report.refused) == (1, 1, 1, 1)
    assert found["failed"] == {"UNAVAILABLE": 1}
    assert found["words"] == {"UNAVAILABLE": "UNAVAILABLE: words"}
    assert report.largest_difference == pytest.approx(0.5)
    assert len(report.latencies) == 1


def test_clients_begin_with_different_cases():
    calls, stop = [], threading.Event()
    barrier = threading.Barrier(4, action=stop.set)

    class Together(Scripted):
        def predict(self, signature, inputs):
            barrier.wait(30)
            return super().predict(signature, inputs)

    report = run_load(lambda: Together(dict.fromkeys(range(4), 1.0), calls), CASES, 4, 60, stop)
    assert sorted(call for call in calls if call != "closed") == [0, 1, 2, 3]
    assert report.answered == 4


def test_reports_add_up():
    total = LoadReport(answered=2, people=4, failed=Counter(INTERNAL=1), latencies=[0.1], seconds=2.0)
    total.add(
        LoadReport(answered=1, people=2, wrong=1, failed=Counter(INTERNAL=2), latencies=[0.3], seconds=1.0)
    )
    found = total.to_dict()
    assert (found["answered"], found["wrong"], found["failed"]) == (3, 1, {"INTERNAL": 3})
    assert found["persons_per_second"] == pytest.approx(6 / 3.0)
    assert found["p50_ms"] == pytest.approx(200)
    assert found["p99_ms"] == pytest.approx(298)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"scores": np.array([1.25])}, 0.25),
        ({"scores": np.array([np.nan])}, np.inf),
        ({"scores": np.array([1.0, 1.0])}, np.inf),
        ({"heights": np.array([1.0])}, np.inf),
        ({"scores": np.array([1.0])}, 0.0),
    ],
)
def test_differences(answer, expected):
    assert difference_of(answer, ANSWER) == expected


@pytest.mark.slow
def test_against_a_server(server, model_dir):
    cases = make_cases(Model(model_dir / "1"), [picture(30), picture(40)], [[0, 0, 5, 5], [1, 1, 2, 3]])
    assert [case.expected["keypoint_scores"][0, 0] for case in cases] == [30, 40]
    report = run_load(lambda: GrpcClient(server.grpc_address, retries=0), cases, clients=4, seconds=0.5)
    assert report.answered > 0
    assert (report.wrong, report.refused, dict(report.failed)) == (0, 0, {})
    swapped = [Case(a.signature, a.inputs, b.expected, 1) for a, b in zip(cases, cases[::-1], strict=True)]
    report = run_load(lambda: GrpcClient(server.grpc_address, retries=0), swapped, clients=2, seconds=0.2)
    assert report.answered == 0
    assert report.wrong > 0
