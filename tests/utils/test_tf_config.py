"""`TF_CONFIG`: what is read from it, and what is said of a broken one."""

import json

import pytest

from p2net_tf.utils.tf_config import ALONE, ClusterError, read_cluster

HOSTS = ["host0:2222", "host1:2223", "10.0.0.7:65535"]


def tf_config(cluster, job="worker", index=0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})}


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}])
def test_a_process_by_itself(environment):
    worker = read_cluster(environment)
    assert worker is ALONE
    assert (worker.index, worker.count, worker.is_chief) == (0, 1, True)


@pytest.mark.parametrize(
    ("cluster", "job", "index", "place"),
    [
        ({"worker": HOSTS}, "worker", 0, 0),
        ({"worker": HOSTS}, "worker", 2, 2),
        ({"worker": HOSTS}, "worker", "1", 1),  # of a shell script
        ({"worker": HOSTS[1:], "chief": HOSTS[:1]}, "chief", 0, 0),
        ({"worker": HOSTS[1:], "chief": HOSTS[:1]}, "worker", 0, 1),
        ({"worker": HOSTS, "ps": ["elsewhere:1"], "evaluator": ["elsewhere"]}, "worker", 1, 1),
    ],
)
def test_right(cluster, job, index, place):
    worker = read_cluster(tf_config(cluster, job, index))
    assert (worker.index, worker.count, worker.is_chief) == (place, 3, place == 0)
    assert [address for _, _, address in worker.tasks] == HOSTS


def test_an_address_of_ipv6():
    assert read_cluster(tf_config({"worker": ["[::1]:80"]})).tasks == (("worker", 0, "[::1]:80"),)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{cluster: ...}", "TF_CONFIG is not JSON .*line 1 column 2"),
        (" ", "TF_CONFIG is not JSON"),
        ("[]", "TF_CONFIG: cluster is missing"),
        ({}, "TF_CONFIG: cluster is missing"),
        ({"cluster": {}}, "TF_CONFIG: cluster has neither workers nor a chief"),
        ({"cluster": {"worker": []}}, "cluster has neither workers nor a chief"),
        ({"cluster": {"ps": HOSTS}}, "cluster has neither workers nor a chief"),
        ({"cluster": {"worker": "host0:2222"}}, "cluster.worker is not a list"),
        ({"cluster": {"worker": ["host0"]}}, 'cluster.worker.0 is "host0", not host:port'),
        ({"cluster": {"worker": HOSTS + ["host3:0"]}}, 'cluster.worker.3 is "host3:0", not host:port'),
        ({"cluster": {"worker": ["host0:65536"]}}, "a port from 1 to 65535"),
        ({"cluster": {"worker": [None]}}, "cluster.worker.0 is null, not host:port"),
        ({"cluster": {"worker": HOSTS}}, "task is missing"),
        ({"cluster": {"worker": HOSTS}, "task": {"index": 0}}, "task.type is null, but .* has worker;"),
        ({"cluster": {"worker": HOSTS, "ps": []}, "task": {"type": "ps", "index": 0}}, 'task.type is "ps"'),
        ({"cluster": {"worker": HOSTS}, "task": {"type": ["worker"], "index": 0}}, "task.type is .* but"),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker"}}, "task.index is null"),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": True}}, "task.index is true"),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 3}},
         "task.index is 3, but cluster.worker goes from 0 to 2"),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": "3"}}, "task.index is 3, but"),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": -1}}, "task.index is -1"),
    ],
)  # fmt: skip
def test_a_broken_one_is_told_with_field_and_remedy(config, message):
    text = config if isinstance(config, str) else json.dumps(config)
    with pytest.raises(ClusterError, match=message) as error:
        read_cluster({"TF_CONFIG": text})
    example = str(error.value).split("write it like ")[1]
    assert read_cluster({"TF_CONFIG": example}).count == 2


@pytest.mark.parametrize(
    "cluster, fields",
    [
        ({"worker": [HOSTS[0], HOSTS[1], HOSTS[0]]}, ("cluster.worker.2", "cluster.worker.0")),
        ({"chief": HOSTS[:1], "worker": HOSTS[:1]}, ("cluster.worker.0", "cluster.chief.0")),
    ],
)
def test_two_processes_have_two_addresses(cluster, fields):
    job = next(iter(cluster))
    with pytest.raises(ClusterError, match=f"{fields[0]} is host0:2222, as {fields[1]} is"):
        read_cluster(tf_config(cluster, job))
