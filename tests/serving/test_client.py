"""Retries, deadlines and addresses of the clients; what they send is tested with the servers."""

import numpy as np
import pytest
from closed_form import picture

from p2net_tf.serving import client
from p2net_tf.serving.client import GrpcClient, RequestFailed, RestClient, with_port, with_retries
from p2net_tf.serving.status import Code, ServingError, code_of_http, http_status


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self, monkeypatch):
        self.now, self.pauses = 100.0, []
        monkeypatch.setattr(client.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(client.time, "sleep", self.sleep)
        monkeypatch.setattr(client.random, "uniform", lambda low, high: high)

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Attempts:
    """Fails with the given codes, one after the other, then answers."""

    def __init__(self, *codes):
        self.codes, self.seconds = list(codes), []

    def __call__(self, seconds):
        self.seconds.append(seconds)
        if self.codes:
            raise RequestFailed(self.codes.pop(0), "no")
        return "answer"


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_unavailable_is_tried_again_after_growing_pauses(clock):
    attempts = Attempts(*[Code.UNAVAILABLE] * 6)
    assert with_retries(attempts, deadline=60, retries=6) == "answer"
    np.testing.assert_allclose(clock.pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0])
    np.testing.assert_allclose(attempts.seconds, 60 - np.cumsum([0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]))


def test_it_gives_up_after_so_many_retries(clock):
    attempts = Attempts(*[Code.UNAVAILABLE] * 9)
    with pytest.raises(RequestFailed):
        with_retries(attempts, deadline=60, retries=2)
    assert len(attempts.seconds) == 3


def test_it_gives_up_before_the_deadline_would_pass_in_a_pause(clock):
    attempts = Attempts(*[Code.UNAVAILABLE] * 9)
    with pytest.raises(RequestFailed):
        with_retries(attempts, deadline=0.5, retries=9)
    np.testing.assert_allclose(clock.pauses, [0.1, 0.2])


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED])
def test_other_errors_come_out_at_once(clock, code):
    attempts = Attempts(code)
    with pytest.raises(RequestFailed) as caught:
        with_retries(attempts, deadline=60, retries=5)
    assert caught.value.code is code
    assert len(attempts.seconds) == 1


@pytest.mark.parametrize("kind", [GrpcClient, RestClient])
def test_nobody_there_is_unavailable(kind):
    with pytest.raises(RequestFailed, match="127.0.0.1:1") as caught:
        kind("127.0.0.1:1", retries=1, deadline=10).status()
    assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "expected"),
    [("localhost", "localhost:8500"), ("10.0.0.1:9", "10.0.0.1:9"), ("[::1]:80", "[::1]:80")],
)
def test_addresses(address, expected):
    assert with_port(address, 8500) == expected


@pytest.mark.parametrize("address", ["", ":80", "host:", "host:0", "host:65536", "host:port", "host:-1"])
def test_what_is_no_address(address):
    with pytest.raises(ServingError, match="HOST:PORT"):
        with_port(address, 8500)


@pytest.mark.parametrize("code", [code for code in Code if http_status(code) not in (400, 409, 500)])
def test_http_statuses_stand_for_one_code(code):
    assert code_of_http(http_status(code)) is code


def test_an_answer_with_one_output_has_its_name(server, monkeypatch):
    """REST leaves the name out; the client finds it in the signature."""
    rest = RestClient(server.rest_address)
    call = rest._call

    def shorten(method, path, body=None):
        return '{"outputs": [1.5]}' if method == "POST" else call(method, path, body)

    monkeypatch.setattr(rest, "_call", shorten)
    found = rest.signatures()["batched"]
    one = {"scores": found.outputs["scores"]}
    monkeypatch.setattr(rest, "signatures", lambda _: {"batched": type(found)("batched", found.inputs, one)})
    answer = rest.predict("batched", {"image_bytes": [picture()]})
    assert {name: value.tolist() for name, value in answer.items()} == {"scores": [1.5]}
