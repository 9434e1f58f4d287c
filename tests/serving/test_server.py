"""The whole server: batch mates, back-pressure, a new version, the end."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import closed_form
import numpy as np
import pytest
from closed_form import diagonal, picture

from p2net_tf.serving.client import GrpcClient, RequestFailed, RestClient
from p2net_tf.serving.model import Model
from p2net_tf.serving.server import Server, ServeSettings
from p2net_tf.serving.status import Code, ServingError, invalid

BOX = np.array([[5, 7, 2.5, 1]], np.float32)


class Gate:
    """Holds every run of a model for a request (not for a warm-up) until it is opened."""

    def __init__(self, monkeypatch):
        self._open, self._entered, run = threading.Event(), threading.Semaphore(0), Model.run

        def gated(model, signature, arrays):
            if threading.current_thread().name.startswith("batch"):
                self._entered.release()
                assert self._open.wait(60)
            return run(model, signature, arrays)

        monkeypatch.setattr(Model, "run", gated)

    def open(self):
        self._open.set()

    def wait_for_runs(self, count):
        for _ in range(count):
            assert self._entered.acquire(timeout=60)


def settings(folder, **options) -> ServeSettings:
    return ServeSettings(folder, **{"grpc_port": 0, "rest_port": 0, "poll_seconds": 0.05, **options})


def ask(server, width=20, rest=False, **options):
    """`scores` and `keypoint_scores` of one box."""
    client = (RestClient if rest else GrpcClient)(*address(server, rest), **{"retries": 0, **options})
    try:
        answer = client.predict("batched", {"image_bytes": [picture(width)], "boxes": BOX})
    finally:
        client.close()
    np.testing.assert_allclose(answer["keypoints"][0], diagonal(BOX[0]), rtol=1e-6)
    return float(answer["scores"][0]), float(answer["keypoint_scores"][0, 0])


def address(server, rest):
    return (server.rest_address if rest else server.grpc_address,)


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_clients_at_the_same_time_get_their_own_answers(server):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: ask(server, 10 + n, rest=n % 4 == 0), range(48)))
    assert found == [(1.0, 10 + n) for n in range(48)]


def test_a_malformed_request_does_not_fail_its_batch_mates(model_dir, monkeypatch):
    """All of them wait while the only thread is busy, and so share one batch."""
    gate = Gate(monkeypatch)
    with Server(settings(model_dir, threads=1)) as server, ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, server)
        gate.wait_for_runs(1)
        good = [pool.submit(ask, server, 30 + n) for n in range(6)]
        client = GrpcClient(server.grpc_address)
        inputs = {"image_bytes": [b"junk"], "boxes": BOX}
        bad = [pool.submit(client.predict, "batched", inputs) for _ in range(2)]
        wait_until(lambda: len(server._runner) == 8)
        gate.open()
        assert first.result(60) == (1.0, 20)
        assert [answer.result(60) for answer in good] == [(1.0, 30 + n) for n in range(6)]
        for answer in bad:
            with pytest.raises(RequestFailed, match="Unknown image file format") as caught:
                answer.result(60)
            assert caught.value.code is Code.INVALID_ARGUMENT
        assert server.core.metrics.registry.get_sample_value("p2net_serving_batch_fallbacks_total") == 1


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_back_pressure(model_dir, monkeypatch, rest):
    gate = Gate(monkeypatch)
    with Server(settings(model_dir, threads=1, max_queue=3)) as server, ThreadPoolExecutor(4) as pool:
        inside = [pool.submit(ask, server)]
        gate.wait_for_runs(1)
        inside += [pool.submit(ask, server) for _ in range(3)]
        wait_until(lambda: len(server._runner) == 3)
        for _ in range(5):
            with pytest.raises(RequestFailed, match="3 requests wait already") as caught:
                ask(server, rest=rest)
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
        gate.open()
        assert [answer.result(60) for answer in inside] == [(1.0, 20)] * 4
        assert ask(server, rest=rest) == (1.0, 20)


def test_a_deadline_passes_while_the_model_is_busy(model_dir, monkeypatch):
    gate = Gate(monkeypatch)
    with Server(settings(model_dir)) as server:
        with pytest.raises(RequestFailed) as caught:
            ask(server, deadline=0.3)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        gate.open()
        assert ask(server) == (1.0, 20)


@pytest.mark.slow
class TestVersionSwitch:
    def test_no_request_fails_while_versions_change(self, tmp_path):
        closed_form.write_model(tmp_path, 1)
        found, stop = [], threading.Event()

        def keep_asking():
            while not stop.is_set():
                found.append(ask(server)[0])

        with Server(settings(tmp_path)) as server, ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(keep_asking) for _ in range(3)]
            wait_until(lambda: found)
            closed_form.write_model(tmp_path, 2)
            wait_until(lambda: found[-1] == 2)
            shutil.rmtree(tmp_path / "2")  # back to the old one
            wait_until(lambda: found[-1] == 1)
            stop.set()
            for answer in asking:
                answer.result(60)
            assert GrpcClient(server.grpc_address).status() == {2: "END", 1: "AVAILABLE"}
        assert set(found) == {1.0, 2.0}

    def test_a_request_inside_finishes_on_the_version_it_began_with(self, tmp_path, monkeypatch):
        closed_form.write_model(tmp_path, 1)
        closed_form.write_model(tmp_path, 2, warm_up=False)
        (tmp_path / "2").rename(tmp_path / "later")
        with Server(settings(tmp_path, threads=1)) as server, ThreadPoolExecutor(2) as pool:
            gate = Gate(monkeypatch)
            old = pool.submit(ask, server)
            gate.wait_for_runs(1)
            (tmp_path / "later").rename(tmp_path / "2")
            wait_until(lambda: server.core.versions.get().version == 2)
            new = pool.submit(ask, server)
            gate.open()
            assert old.result(60) == (1.0, 20)
            assert new.result(60) == (2.0, 20)

    def test_a_version_that_refuses_its_warm_up_is_reported_and_not_served(self, tmp_path):
        closed_form.write_model(tmp_path, 1)
        bad = closed_form.write_model(tmp_path / "elsewhere", 2, warm_up=False)
        closed_form.write_warm_up(bad, closed_form.request("whole_image", image_bytes=[b"junk"]))
        with Server(settings(tmp_path)) as server:
            bad.rename(tmp_path / "2")
            client = GrpcClient(server.grpc_address)
            wait_until(lambda: client.status().get(2) == "END")
            assert client.status()[1] == "AVAILABLE"
            assert ask(server) == (1.0, 20)

    def test_labels_and_versions_in_requests(self, tmp_path):
        for version in (1, 2, 3):
            closed_form.write_model(tmp_path, version, warm_up=False)
        with Server(settings(tmp_path, labels={"stable": 1})) as server:
            client = GrpcClient(server.grpc_address)
            inputs = {"image_bytes": [picture()]}
            scores = [client.predict("whole_image", inputs, version)["scores"][0] for version in (None, 1, 3)]
            assert scores == [3, 1, 3]
            with pytest.raises(RequestFailed, match="served here: 1, 3") as caught:
                client.predict("whole_image", inputs, 2)
            assert caught.value.code is Code.NOT_FOUND


class TestTheEnd:
    def test_requests_inside_are_answered_and_new_ones_refused(self, model_dir, monkeypatch):
        gate = Gate(monkeypatch)
        server = Server(settings(model_dir, threads=1))
        with ThreadPoolExecutor(9) as pool:
            inside = [pool.submit(ask, server, 30 + n, rest=n % 2 == 1) for n in range(8)]
            wait_until(lambda: server.core._visits == 8)
            stopping = pool.submit(server.stop)
            wait_until(lambda: server.core._draining)
            for rest in (False, True):
                with pytest.raises(RequestFailed, match="shutting down") as caught:
                    ask(server, rest=rest)
                assert caught.value.code is Code.UNAVAILABLE
            assert not any(answer.done() for answer in inside)
            gate.open()
            assert [answer.result(60) for answer in inside] == [(1.0, 30 + n) for n in range(8)]
            assert stopping.result(60) is True
        for rest in (False, True):
            with pytest.raises(RequestFailed) as caught:
                ask(server, rest=rest)
            assert caught.value.code is Code.UNAVAILABLE

    def test_a_server_that_cannot_finish_says_so(self, model_dir, monkeypatch):
        gate = Gate(monkeypatch)
        server = Server(settings(model_dir, drain_seconds=0.2))
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(ask, server)
            gate.wait_for_runs(1)
            monkeypatch.setattr("p2net_tf.serving.server._LAST_WORDS", 0.1)
            assert server.stop() is False
            gate.open()
            with pytest.raises(RequestFailed):
                stuck.result(60)


class TestTheBeginning:
    @pytest.mark.parametrize(("port", "name"), [("grpc_port", "gRPC port"), ("rest_port", "REST port")])
    def test_a_taken_port_is_an_error(self, server, model_dir, port, name):
        taken = int((server.grpc_address if port == "grpc_port" else server.rest_address).split(":")[1])
        with pytest.raises(ServingError, match=f"{taken}.*take another {name}"):
            Server(settings(model_dir, **{port: taken}))

    def test_a_folder_without_versions_is_an_error(self, tmp_path):
        with pytest.raises(ServingError, match="holds no version"):
            Server(settings(tmp_path))


def test_a_mistake_in_the_server_is_an_internal_error(server, monkeypatch, caplog):
    monkeypatch.setattr("p2net_tf.serving.grpc_server.arrays_of_protos", lambda *_: 1 / 0)
    with pytest.raises(RequestFailed, match="the log of the server") as caught:
        ask(server)
    assert caught.value.code is Code.INTERNAL
    assert "ZeroDivisionError" in caplog.text


def test_long_messages_are_shortened():
    assert len(invalid("x" * 100_000).message) < 2100
