"""A minute of load from 32 clients, a new version in the middle of it, an end in the middle of another."""

import threading
import time

import closed_form
import numpy as np
import pytest
from closed_form import picture

from p2net_tf.serving.client import GrpcClient
from p2net_tf.serving.load import make_cases, run_load
from p2net_tf.serving.model import Model
from p2net_tf.serving.process import ServerProcess

pytestmark = pytest.mark.slow

CLIENTS, SECONDS = 32, 60.0


@pytest.fixture
def model_dir(tmp_path):
    """Version 1; version 2 will give the same answers."""
    closed_form.write_model(tmp_path, 1, score=0.5)
    return tmp_path


@pytest.fixture
def cases(model_dir):
    images = [picture(20 + n, 30, shade=n) for n in range(8)]
    boxes = np.array([[n, 1, 10 + n, 20] for n in range(8)], np.float32)
    return make_cases(Model(model_dir / "1"), images, boxes)


class Load:
    """`run_load` in a thread of its own."""

    def __init__(self, server, cases, seconds):
        def run():
            self.report = run_load(
                lambda: GrpcClient(server.grpc_address, retries=0), cases, CLIENTS, seconds, self.stop
            )

        self.stop = threading.Event()
        self._thread = threading.Thread(target=run)
        self._thread.start()

    def result(self):
        self._thread.join()
        return self.report


def test_a_new_version_in_the_middle_costs_no_request(model_dir, cases):
    with ServerProcess(model_dir, "--poll-seconds", "0.5") as server:
        load = Load(server, cases, SECONDS)
        time.sleep(SECONDS / 3)
        closed_form.write_model(model_dir, 2, score=0.5)
        report = load.result()
        assert GrpcClient(server.grpc_address).status() == {2: "AVAILABLE", 1: "END"}
    print(report.to_dict())
    assert report.answered > 0
    assert report.wrong == 0
    assert not report.failed


def test_sigterm_loses_no_request_that_was_accepted(model_dir, cases):
    with ServerProcess(model_dir) as server:
        load = Load(server, cases, SECONDS)
        time.sleep(5)
        server.terminate()
        assert server.wait() == 0
        load.stop.set()
        report = load.result()
        log = server.log
    print(report.to_dict())
    assert report.wrong == 0
    assert report.failed.keys() == {"UNAVAILABLE"}
    # Each answer that left the server has arrived.
    assert f"{report.answered} requests were answered with OK" in log
