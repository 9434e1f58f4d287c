"""Thousands of malformed requests at a server process: each gets a status, and nothing remains."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import psutil
import pytest
from closed_form import diagonal, picture
from malformed import malformed_bodies, malformed_requests
from tensorflow_serving.apis import prediction_service_pb2_grpc

from p2net_tf.serving.client import GrpcClient, RestClient
from p2net_tf.serving.process import ServerProcess

pytestmark = pytest.mark.slow

GRPC_REQUESTS, REST_REQUESTS = 1400, 800
LARGEST = 50_000_000
CALLERS = 4
KEPT = 64 << 20
"""Bytes that may stay with the allocator. Measured 29 MB; one request that is held on to has 48."""


@pytest.fixture(scope="module")
def process(model_dir):
    with ServerProcess(model_dir) as server:
        yield server


def ask_grpc(stub, case):
    try:
        stub.Predict(case.request, timeout=120)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def ask_rest(address, case):
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request("POST", case.path, case.body)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8")
    finally:
        connection.close()


def fuzz(process, seed) -> list[str]:
    """Sends everything from several callers; what was not answered as it deserves."""
    options = [("grpc.max_send_message_length", -1)]
    wrong = []

    def check(ask, case):
        status, words = ask(case)
        if status != case.status or not words:
            wrong.append(f"{case.words}: {status} {words[:200]}")

    with grpc.insecure_channel(process.grpc_address, options) as channel, ThreadPoolExecutor(CALLERS) as pool:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        jobs = [
            *((lambda case: ask_grpc(stub, case), case)
              for case in malformed_requests(GRPC_REQUESTS, seed, LARGEST)),
            *((lambda case: ask_rest(process.rest_address, case), case)
              for case in malformed_bodies(REST_REQUESTS, seed, LARGEST)),
        ]  # fmt: skip
        list(pool.map(lambda job: check(*job), jobs))
    return wrong


def resident(process) -> int:
    """Bytes, once the server has come to rest."""
    server = psutil.Process(process.process.pid)
    found = [server.memory_info().rss]
    while len(found) < 60 and (len(found) < 5 or found[-1] < found[-5]):
        time.sleep(0.5)
        found.append(server.memory_info().rss)
    return found[-1]


def check_alive(process):
    for client in (GrpcClient(process.grpc_address), RestClient(process.rest_address)):
        inputs = {"image_bytes": picture(40), "boxes": np.array([[5, 7, 2.5, 1]], np.float32)}
        answer = client.predict("serving_default", inputs)
        np.testing.assert_allclose(answer["keypoints"][0], diagonal([5, 7, 2.5, 1]), rtol=1e-6)


def test_everything_is_answered_and_memory_comes_back(process):
    check_alive(process)
    before = resident(process)
    assert fuzz(process, seed=1) == []
    check_alive(process)
    after = resident(process)
    print(f"resident memory: {before >> 20} MB before, {after >> 20} MB after")
    assert after - before < KEPT
    assert process.process.poll() is None
