"""Where workers write, and what is said of one that is gone."""

import json

import pytest
import tensorflow as tf

from p2net_tf.training.cluster import WorkerLostError, naming_lost_workers, work_folder
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.tf_config import ALONE, Worker, read_cluster

HOSTS = ["host0:2222", "host1:2223", "10.0.0.7:65535"]


def tf_config(cluster, job="worker", index=0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})}


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
        assert "Start the job again on all workers, and resume the run" in message

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
