"""What `p2net bench serving` and `p2net bench load` measure and write; never how long something took."""

import json

import pytest

pytest.importorskip("tensorflow_serving", reason="serving needs the extra `serving`")

import closed_form
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.serving.server import Server, ServeSettings
from p2net_tf.utils.console import be_quiet

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    closed_form.write_model(folder, 1)
    return folder


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    be_quiet(False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def measured(model_dir, tmp_path_factory):
    """`(what was printed, the file)` of two short rounds."""
    file = tmp_path_factory.mktemp("bench") / "deep/bench_serving.json"
    options = ["--clients", 4, "--seconds", 0.3, "--rounds", 2, "--max-batch", 4, "--out", file, "--json"]
    return json.loads(call("bench", "serving", model_dir, *options)), json.loads(file.read_text())


def test_prints_what_it_writes(measured):
    assert measured[0] == measured[1]


def test_the_overhead_is_a_ratio_of_what_was_measured_in_one_run(measured):
    report = measured[1]
    seconds = report["seconds_per_person"]
    assert seconds.keys() == {"server", "signature crops"}
    assert report["plain"] == "signature crops"
    for values in (*seconds.values(), *report["overhead"].values()):
        assert 0 < values["lower"] <= values["median"] <= values["upper"]
    # With two rounds a median is a mean, and a ratio of rounds lies between its extremes.
    lowest = seconds["server"]["lower"] / seconds["signature crops"]["upper"]
    highest = seconds["server"]["upper"] / seconds["signature crops"]["lower"]
    assert lowest * 0.5 <= report["overhead"]["signature crops"]["median"] <= highest * 2


def test_every_answer_was_right(measured):
    server = measured[1]["server"]
    assert server["answered"] > 0
    assert (server["wrong"], server["refused"], server["failed"]) == (0, 0, {})
    assert server["largest_difference"] == 0
    assert 0 < server["p50_ms"] <= server["p99_ms"]


def test_says_what_was_measured_on_what(measured):
    report = measured[1]
    assert report["limit"] == 1.25
    assert report["load"] == {"clients": 4, "seconds": 0.3, "rounds": 2, "max_batch": 4}
    assert report["title"].endswith(", version 1")
    assert {"tensorflow", "platform"} <= report["environment"].keys()


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_load_checks_a_running_server(model_dir, tmp_path, rest):
    other = tmp_path / "other"
    closed_form.write_model(other, 1, score=5.0)
    options = ["--clients", 2, "--seconds", 0.3, "--json", *(["--rest"] if rest else [])]
    with Server(ServeSettings(model_dir, grpc_port=0, rest_port=0)) as server:
        address = server.rest_address if rest else server.grpc_address
        assert json.loads(call("bench", "load", address, model_dir, *options))["answered"] > 0
        report = json.loads(call("bench", "load", address, other, *options, code=1))
    assert report["answered"] == 0
    assert report["wrong"] > 0
    assert report["largest_difference"] == 4
