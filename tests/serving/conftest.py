"""One model and one running server that the tests of serving share."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow_serving", reason="serving needs the extra `serving`")

import closed_form

from p2net_tf.serving.client import GrpcClient, RestClient
from p2net_tf.serving.server import Server, ServeSettings


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A folder with version 1 of the closed-form model; nobody changes it."""
    folder = tmp_path_factory.mktemp("model")
    closed_form.write_model(folder, 1)
    return folder


@pytest.fixture(scope="session")
def server(model_dir):
    """A server of `model_dir` in this process, on free ports."""
    with Server(ServeSettings(model_dir, grpc_port=0, rest_port=0, poll_seconds=60)) as running:
        yield running


@pytest.fixture
def grpc_client(server):
    client = GrpcClient(server.grpc_address)
    yield client
    client.close()


@pytest.fixture
def rest_client(server):
    return RestClient(server.rest_address)
