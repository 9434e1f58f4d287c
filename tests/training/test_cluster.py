"""TF_CONFIG: what is read from it, what is said of a broken one, and of a worker that is gone."""

import json

import pytest
import tensorflow as tf

from p2net_tf.training.cluster import (
    ALONE,
    ClusterError,
    Worker,
    WorkerLostError,
    naming_lost_workers,
    read_cluster,
    work_folder,
)
from p2net_tf.utils.exceptions import UserError

HOSTS = ["host0:2222", "host1:2223", "10.0.0.7:65535"]


def tf_config(cluster, job="worker", index=0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})}


class TestReading:
    @pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}])
    def test_a_process_by_itself(self, environment):
        worker = read_cluster(environment)
        assert worker is ALONE
        assert (worker.index, worker.count, worker.is_chief) == (0, 1, True)

    @pytest.mark.parametrize("index", [0, 1, 2, "1"])
    def test_workers(self, index):
        worker = read_cluster(tf_config({"worker": HOSTS}, index=index))
        assert (worker.index, worker.count) == (int(index), 3)
        assert worker.is_chief == (int(index) == 0)
        assert [address for _, _, address in worker.tasks] == HOSTS

    @pytest.mark.parametrize(("job", "place"), [("chief", 0), ("worker", 1)])
    def test_a_chief_of_its_own_comes_first(self, job, place):
        cluster = {"worker": HOSTS[1:], "chief": HOSTS[:1], "evaluator": ["elsewhere"]}
        worker = read_cluster(tf_config(cluster, job))
        assert (worker.index, worker.count) == (place, 3)
        assert [address for _, _, address in worker.tasks] == HOSTS

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("{cluster: ...}", "TF_CONFIG is not JSON .*line 1 column 2"),
            ("[]", "TF_CONFIG: cluster is missing"),
            ({}, "TF_CONFIG: cluster is missing"),
            ({"cluster": {}}, "TF_CONFIG: cluster has neither workers nor a chief"),
            ({"cluster": {"worker": "host0:2222"}}, "cluster.worker is not a list"),
            ({"cluster": {"worker": ["host0"]}}, 'cluster.worker.0 is "host0", not host:port'),
            ({"cluster": {"worker": HOSTS + ["host3:0"]}}, 'cluster.worker.3 is "host3:0", not host:port'),
            ({"cluster": {"worker": ["host0:65536"]}}, "a port from 1 to 65535"),
            ({"cluster": {"worker": [None]}}, "cluster.worker.0 is null, not host:port"),
            ({"cluster": {"worker": HOSTS}}, "task is missing"),
            ({"cluster": {"worker": HOSTS}, "task": {"index": 0}}, "task.type is null, but .* has worker;"),
            ({"cluster": {"worker": HOSTS}, "task": {"type": "ps", "index": 0}}, 'task.type is "ps"'),
            ({"cluster": {"worker": HOSTS}, "task": {"type": "worker"}}, "task.index is null"),
            ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 3}},
             "task.index is 3, but cluster.worker goes from 0 to 2"),
            ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": -1}}, "task.index is -1"),
        ],
    )  # fmt: skip
    def test_a_broken_one_is_told_with_field_and_remedy(self, config, message):
        text = config if isinstance(config, str) else json.dumps(config)
        with pytest.raises(ClusterError, match=message) as error:
            read_cluster({"TF_CONFIG": text})
        example = str(error.value).split("write it like ")[1]
        assert read_cluster({"TF_CONFIG": example}).count == 2


class TestWorkFolder:
    def test_only_the_chief_leaves_anything_behind(self, tmp_path):
        two = Worker(tasks=read_cluster(tf_config({"worker": HOSTS[:2]})).tasks)
        for worker in (two, Worker(1, two.tasks)):
            with work_folder(tmp_path, worker) as folder:
                (folder / f"{worker.index}.txt").touch()
            assert folder.exists() == worker.is_chief
        assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]


class TestLostWorkers:
    """The texts are those of TensorFlow 2.21 when a worker was killed, and when one was stopped."""

    RESET = (
        "Collective ops is aborted by: sendmsg: Connection reset by peer (104)\nAdditional GRPC error "
        "information from remote target /job:worker/replica:0/task:1 while calling /tensorflow.WorkerService"
    )
    UNHEALTHY = (
        "Collective ops is aborted by: Error reported from /job:worker/task:2: The following tasks are "
        "unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2"
    )
    SILENT_LEADER = (
        "Collective ops is aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"
    )

    def worker(self, index=0, hosts=HOSTS):
        return read_cluster(tf_config({"worker": hosts}, index=index))

    def message(self, error, worker):
        with pytest.raises(WorkerLostError) as lost, naming_lost_workers(worker):
            raise error
        assert lost.value.__cause__ is error
        return str(lost.value)

    @pytest.mark.parametrize(
        ("index", "kind", "text", "gone"),
        [
            (0, tf.errors.UnavailableError, RESET, "worker 1 at host1:2223 is gone"),
            (0, tf.errors.UnavailableError, UNHEALTHY, "worker 2 at 10.0.0.7:65535 is gone"),
            (1, tf.errors.DeadlineExceededError, SILENT_LEADER, "worker 0 at host0:2222 is gone"),
            (1, tf.errors.UnavailableError, RESET, "one of the 3 workers is gone"),
        ],
    )
    def test_are_named_with_the_remedy(self, index, kind, text, gone):
        message = self.message(kind(None, None, text), self.worker(index))
        assert gone in message
        assert "--resume" in message

    def test_of_two_it_is_the_other_one(self):
        error = tf.errors.AbortedError(None, None, "Collective ops is aborted")
        assert "worker 0 at host0:2222" in self.message(error, self.worker(1, HOSTS[:2]))

    def test_a_process_by_itself_has_nobody_to_lose(self):
        error = tf.errors.UnavailableError(None, None, "a server elsewhere")
        with pytest.raises(tf.errors.UnavailableError), naming_lost_workers(ALONE):
            raise error

    def test_other_errors_stay_what_they_are(self):
        with pytest.raises(UserError, match="mine"), naming_lost_workers(self.worker()):
            raise UserError("mine")
