"""TF_CONFIG: right ones pass, and what is wrong with others is named."""

import json

import pytest

from p2net_tf.doctor.tf_config import check_tf_config

WORKERS = {"worker": ["a:1234", "b:1234"]}


@pytest.mark.parametrize(
    "config",
    [
        {"cluster": WORKERS, "task": {"type": "worker", "index": 1}},
        {"cluster": {"chief": ["[::1]:80"], **WORKERS}, "task": {"type": "chief", "index": 0}},
    ],
)
def test_right(config):
    assert check_tf_config(json.dumps(config)) is None


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ([], "has no 'cluster' and 'task'"),
        ({"cluster": WORKERS}, "has no 'cluster' and 'task'"),
        ({"cluster": {"worker": "a:1"}, "task": {}}, "cluster.worker is no list of HOST:PORT"),
        ({"cluster": {"worker": ["a"]}, "task": {}}, "cluster.worker is no list of HOST:PORT"),
        (
            {"cluster": WORKERS, "task": {"type": "chief", "index": 0}},
            "task.type 'chief' is not in the cluster",
        ),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 2}}, "task.index 2 is none of the 2"),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": "0"}}, "task.index '0' is none of the 2"),
    ],
)
def test_wrong(config, fault):
    assert fault in check_tf_config(json.dumps(config))


def test_no_json():
    assert "is no JSON" in check_tf_config("{cluster: }")
