"""Replicas: how many, on what, and that their number changes nothing.

Devices and workers are fixed when TensorFlow starts, so trainings on them have processes of their own, which
run `tests/replicas.py`.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network

from p2net_tf.layers import BatchNormalization
from p2net_tf.layers.compat import sublayers
from p2net_tf.training.strategy import StrategyError, check_batch_size, make_strategy, shard_of

TESTS = Path(__file__).parents[1]
HANGS = 1200
"""Seconds; a busy machine needs minutes for what takes one on an idle one."""
TWO_HOSTS = json.dumps(
    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 1}}
)


class TestChoice:
    @pytest.fixture(autouse=True)
    def alone(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)

    @pytest.mark.parametrize("kind", ["auto", "one_device"])
    def test_one_replica_needs_no_mirrors(self, kind):
        assert make_strategy(1, kind) is tf.distribute.get_strategy()
        assert make_strategy(1, kind).num_replicas_in_sync == 1

    def test_mirrors_for_one_device_where_asked_for(self):
        strategy = make_strategy(1, "mirrored")
        assert isinstance(strategy, tf.distribute.MirroredStrategy)
        assert strategy.num_replicas_in_sync == 1

    def test_too_many_replicas_name_the_number_that_is_possible(self):
        possible = max(len(tf.config.list_logical_devices(kind)) for kind in ("GPU", "CPU"))
        message = rf"training\.replicas=64.*set training\.replicas={possible}$"
        with pytest.raises(StrategyError, match=message):
            make_strategy(64)

    @pytest.mark.parametrize("kind", ["auto", "multi_worker"])
    def test_several_workers(self, kind, monkeypatch):
        monkeypatch.setenv("TF_CONFIG", TWO_HOSTS)
        monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "both")
        assert make_strategy(None, kind) == "both"

    @pytest.mark.parametrize(
        ("tf_config", "options", "message"),
        [
            ("", (2, "one_device"), r"training\.strategy=one_device .* training\.replicas=2; leave one"),
            ("", (None, "multi_worker"), r"training\.strategy=multi_worker needs .* TF_CONFIG"),
            (TWO_HOSTS, (None, "mirrored"), r"TF_CONFIG names 2 workers; take training\.strategy=auto"),
            (TWO_HOSTS, (None, "one_device"), r"TF_CONFIG names 2 workers; take training\.strategy=auto"),
            (TWO_HOSTS, (64, "auto"), r"training\.replicas=64, but worker 1 has \d GPUs; set .*replicas=\d "),
        ],
    )
    def test_settings_that_contradict_each_other(self, tf_config, options, message, monkeypatch):
        monkeypatch.setenv("TF_CONFIG", tf_config)
        with pytest.raises(StrategyError, match=message):
            make_strategy(*options)


class TestTPU:
    def test_is_found_connected_and_initialized_in_this_order(self, monkeypatch):
        """There is none to test on: this is what the TensorFlow guide on TPUs calls, in its order."""
        calls = []

        def note(name):
            return lambda argument: calls.append((name, argument)) or f"{name} of {argument}"

        monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", note("resolver"))
        monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", note("connect"))
        monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", note("initialize"))
        monkeypatch.setattr(tf.distribute, "TPUStrategy", note("strategy"))
        assert make_strategy(None, "tpu", "grpc://10.0.0.2:8470") == (
            "strategy of resolver of grpc://10.0.0.2:8470"
        )
        resolver = "resolver of grpc://10.0.0.2:8470"
        assert calls == [
            ("resolver", "grpc://10.0.0.2:8470"),
            ("connect", resolver),
            ("initialize", resolver),
            ("strategy", resolver),
        ]

    def test_where_there_is_none_the_remedy_is_told(self, monkeypatch):
        def nothing(address):
            raise ValueError("Please provide a TPU Name to connect to.\nmore")

        monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", nothing)
        with pytest.raises(StrategyError, match=r"no TPU at training\.tpu=None \(Please .* to\.\); set"):
            make_strategy(None, "tpu")


@pytest.mark.parametrize(
    ("batch_size", "replicas", "nearest"), [(32, 3, "30 or 33"), (2, 4, "4"), (7, 2, "6 or 8")]
)
def test_a_batch_that_cannot_be_shared_out_names_the_nearest(batch_size, replicas, nearest):
    with pytest.raises(StrategyError, match=rf"training\.batch_size={batch_size} .*batch_size={nearest}$"):
        check_batch_size(batch_size, replicas)
    for size in nearest.split(" or "):
        check_batch_size(int(size), replicas)


@pytest.mark.parametrize(
    ("context", "share"), [((1, 0, 1), (0, 1, 1)), ((1, 0, 4), (0, 1, 4)), ((2, 1, 8), (1, 2, 4))]
)
def test_shares_of_input_pipelines(context, share):
    assert shard_of(tf.distribute.InputContext(*context)) == share


def test_all_batch_statistics_of_a_p2net_are_synchronized():
    layers = sublayers(tiny_network(input_size=(32, 32), synchronized_batch_norm=True))
    norms = [layer for layer in layers if isinstance(layer, BatchNormalization)]
    assert len(norms) > 10
    assert all(norm.synchronized for norm in norms)


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, str(TESTS / "replicas.py"), str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def one_process(rendered, tmp_path_factory):
    """Number of replicas, as logical devices of one process -> what came out."""
    out = tmp_path_factory.mktemp("replicas") / "of"
    process = start(rendered, str(out), "1", "2", "4")
    output, _ = process.communicate(timeout=HANGS)
    assert process.returncode == 0, output[-3000:]
    return {number: dict(np.load(f"{out}_{number}.npz")) for number in (1, 2, 4)}


@pytest.fixture(scope="module")
def two_workers(rendered, tmp_path_factory):
    """What came out on each of two workers on this machine, and their ends: (exit code, output)."""
    out, addresses = tmp_path_factory.mktemp("workers") / "of", free_addresses(2)
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        tf_config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        processes.append(start(rendered, str(out), TF_CONFIG=tf_config))
    outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    ends = [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]
    assert Path(f"{out}_1.npz").exists(), ends
    return {"found": [dict(np.load(f"{out}_{n}.npz")) for n in (0, 1)], "ends": ends, "addresses": addresses}


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return [f"127.0.0.1:{port}" for port in ports]


@pytest.mark.slow
class TestReplicas:
    """The same global batches give the same updates; a loss summed over replicas would double them.

    Measured: no weight differs by more than 5e-7 after five steps of 0.05, no loss by more than 3e-7 of it.
    """

    WEIGHTS = {"loop", "averages", "averaged", "fit"}
    LOSSES = {
        f"{where}_{loss}"
        for where in ("loop", "score", "fit", "fit_val")
        for loss in ("loss", "intermediate_loss", "final_loss", "accuracy")
    }

    @pytest.fixture(
        scope="class", params=["two devices", "four devices", "the chief of two", "the other of two"]
    )
    def found(self, request):
        """`(number of replicas, what came out on them)`."""
        if "devices" in request.param:
            number = {"two devices": 2, "four devices": 4}[request.param]
            return number, request.getfixturevalue("one_process")[number]
        return 2, request.getfixturevalue("two_workers")["found"]["other" in request.param]

    @pytest.fixture(scope="class")
    def expected(self, one_process):
        """On one device."""
        assert one_process[1]["replicas"] == 1
        return one_process[1]

    def test_all_is_compared(self, found, expected):
        """Four devices do without `fit`, which takes them half a minute on two cores."""
        replicas, found = found
        left_out = {name for name in expected if name.startswith("fit")} if replicas == 4 else set()
        assert found.keys() == expected.keys() - left_out
        assert expected.keys() >= self.WEIGHTS | self.LOSSES

    def test_change_no_weight(self, found, expected):
        """Trained in a loop and by `fit`, averaged, and with the statistics measured for the averages."""
        replicas, found = found
        assert found["replicas"] == replicas
        trained = len(expected["start"])
        np.testing.assert_array_equal(found["start"], expected["start"])
        assert np.abs(expected["loop"][:trained] - expected["start"]).max() > 0.1
        for name in found.keys() & self.WEIGHTS:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5, err_msg=name)

    def test_change_no_score(self, found, expected):
        """Logged while training, by `fit`, and on a validation part whose last batch holds one person."""
        _, found = found
        for name in found.keys() & self.LOSSES:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)
        assert expected["score_loss"] > 0.1

    def test_sums_of_metrics_are_kept_apart(self, found, expected):
        """`[variables, R]`; each replica has counted its part of the last set that was scored."""
        replicas, found = found
        assert found["parts"].shape == (len(expected["parts"]), replicas)
        np.testing.assert_allclose(found["parts"].sum(axis=1), expected["parts"].sum(axis=1), rtol=1e-6)


@pytest.mark.slow
class TestTwoWorkers:
    def test_tell_each_other_every_bit(self, two_workers):
        """Also minus zero, NaN and the smallest float, which a sum of floats would not keep."""
        own = [found["own"] for found in two_workers["found"]]
        assert not np.array_equal(*own)
        for found in two_workers["found"]:
            np.testing.assert_array_equal(found["from_chief"], own[0])
            np.testing.assert_array_equal(found["from_all"], own)

    def test_when_one_is_killed_the_other_ends_and_says_so(self, two_workers):
        (code, output), (killed, _) = two_workers["ends"]
        assert killed == -9
        assert code == 1  # of an exception; the command line makes it 76
        last = output.strip().splitlines()[-1]
        assert f"WorkerLostError: worker 1 at {two_workers['addresses'][1]} is gone" in last
        assert "Start the job again on all workers, and resume the run" in last
