"""The files of `docs/scaling/`: the schemas they must fit, and the workers they start.

A `p2net` that only writes down what it was started with stands in for the real one.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from p2net_tf.config.loading import load_config
from p2net_tf.training.cluster import WorkerLostError
from p2net_tf.utils.tf_config import Worker, read_cluster

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "scaling"

P2NET = """#!/usr/bin/env bash
index=$(sed 's/.*"index": //; s/}.*//' <<< "$TF_CONFIG")
printf '%s\\n' "$@" > "$OUT/$index.arguments"
trap 'exit 75' TERM
printf '%s' "$TF_CONFIG" > "$OUT/$index.partial"
mv "$OUT/$index.partial" "$OUT/$index.json"
while [[ -v WAIT ]]; do sleep 0.05; done
exit "$(cut -d, -f$((index + 1)) <<< "$CODES")"
"""
SRUN = """#!/usr/bin/env bash
shift
SLURM_PROCID=0 "$@" & first=$!
SLURM_PROCID=1 "$@" & second=$!
trap 'kill -TERM $first $second' TERM
for task in $first $second; do
    wait $task || code=$?
    while kill -0 $task 2> /dev/null; do wait $task || code=$?; done
done
exit "${code:-0}"
"""
SCONTROL = """#!/usr/bin/env bash
case $1 in
    show) printf 'node1\\nnode7\\n' ;;
    requeue) echo "$2" > "$OUT/requeued" ;;
esac
"""


@pytest.fixture
def start(tmp_path):
    """Starts a command where `p2net` and Slurm's programs are the ones above; they write to `tmp_path`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"p2net": P2NET, "srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)

    def run(*command, **environment) -> subprocess.Popen:
        changes = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "OUT": str(tmp_path),
            "CODES": "0,0",
            "SLURM_JOB_ID": "123",
            "SLURM_JOB_NODELIST": "node[1,7]",
        }
        return subprocess.Popen(command, env={**os.environ, **changes, **environment}, cwd=tmp_path)

    return run


def workers_in(folder: Path, count: int = 2) -> list[Worker]:
    """What the project reads from the `TF_CONFIG` that each worker was started with."""
    texts = [(folder / f"{index}.json").read_text(encoding="utf-8") for index in range(count)]
    return [read_cluster({"TF_CONFIG": text}) for text in texts]


def arguments_in(folder: Path, index: int) -> list[str]:
    return (folder / f"{index}.arguments").read_text(encoding="utf-8").splitlines()


def await_file(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize("script", ["two_processes.sh", "slurm.sh"])
class TestScripts:
    def test_bash_reads_it(self, script):
        assert subprocess.run(["bash", "-n", FOLDER / script], timeout=30).returncode == 0

    def test_workers_find_each_other(self, script, start, tmp_path):
        """Two of them, who agree on the addresses; a space in an argument stays in it."""
        arguments = ["some config.yaml", "training.epochs=3", "--out", "runs/x"]
        assert start(FOLDER / script, *arguments).wait(30) == 0
        workers = workers_in(tmp_path)
        assert [worker.index for worker in workers] == [0, 1]
        assert workers[0].tasks == workers[1].tasks
        assert len({address for _, _, address in workers[0].tasks}) == workers[0].count == 2
        for index in range(2):
            assert arguments_in(tmp_path, index)[:5] == ["train", *arguments]

    @pytest.mark.parametrize(("codes", "expected"), [("0,2", 2), ("75,75", 75), ("76,76", 76)])
    def test_the_exit_code_is_that_of_the_workers(self, script, codes, expected, start):
        assert start(FOLDER / script, "config.yaml", CODES=codes).wait(30) == expected

    def test_sigterm_reaches_all_workers(self, script, start, tmp_path):
        process = start(FOLDER / script, "config.yaml", WAIT="1")
        for index in range(2):
            await_file(tmp_path / f"{index}.json", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 75


class TestTwoProcesses:
    @pytest.mark.parametrize(("codes", "expected"), [("76,137", 76), ("2,76", 2)])
    def test_who_knows_more_gives_the_exit_code(self, codes, expected, start):
        assert start(FOLDER / "two_processes.sh", "config.yaml", CODES=codes).wait(30) == expected

    def test_ports_can_be_chosen(self, start, tmp_path):
        start(FOLDER / "two_processes.sh", "config.yaml", P2NET_PORT="31000").wait(30)
        addresses = [address for _, _, address in workers_in(tmp_path)[0].tasks]
        assert addresses == ["127.0.0.1:31000", "127.0.0.1:31001"]


class TestSlurm:
    def test_one_worker_on_each_node(self, start, tmp_path):
        start(FOLDER / "slurm.sh", "config.yaml").wait(30)
        addresses = [address for _, _, address in workers_in(tmp_path)[0].tasks]
        assert addresses == ["node1:20123", "node7:20123"]
        assert arguments_in(tmp_path, 1) == ["train", "config.yaml", "--resume"]

    @pytest.mark.parametrize(("code", "goes_on"), [(0, False), (2, False), (75, True), (76, True)])
    def test_goes_back_into_the_queue_where_it_can_go_on(self, code, goes_on, start, tmp_path):
        start(FOLDER / "slurm.sh", "config.yaml", CODES=f"{code},{code}").wait(30)
        assert (tmp_path / "requeued").exists() == goes_on

    def test_options(self):
        text = (FOLDER / "slurm.sh").read_text(encoding="utf-8")
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
        assert options["ntasks-per-node"] == "1"
        assert options["signal"] == "B:TERM@120"
        assert "requeue" in options


class TestKubernetes:
    @pytest.fixture(scope="class")
    def documents(self):
        """Kind -> document."""
        text = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
        return {document["kind"]: document for document in yaml.safe_load_all(text)}

    @pytest.fixture(scope="class")
    def pod(self, documents):
        return documents["Job"]["spec"]["template"]["spec"]

    def test_the_api_of_kubernetes(self, documents):
        validate = pytest.importorskip("kubernetes_validate", reason="schemas need the extra `test`")
        for document in documents.values():
            for version in ("1.31", validate.latest_version()):
                validate.validate(document, version, strict=True)
        job = documents["Job"]
        with pytest.raises(validate.ValidationError):
            validate.validate({**job, "spec": {**job["spec"], "completion": 2}}, "1.31", strict=True)

    def test_pods_have_the_names_that_the_workers_look_for(self, documents, pod, start, tmp_path):
        """A pod of an Indexed Job is called JOB-INDEX, and is found under SUBDOMAIN, the headless service."""
        job, service = documents["Job"], documents["Service"]
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"]
        assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        assert pod["subdomain"] == service["metadata"]["name"]
        (container,) = pod["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        for index in range(2):
            process = start(
                *container["command"], *container["args"], **environment, JOB_COMPLETION_INDEX=str(index)
            )
            assert process.wait(30) == 0
        workers = workers_in(tmp_path)
        assert [worker.index for worker in workers] == [0, 1]
        port = container["ports"][0]["containerPort"]
        hosts = [f"{job['metadata']['name']}-{index}.{pod['subdomain']}" for index in range(2)]
        assert [address for _, _, address in workers[1].tasks] == [f"{host}:{port}" for host in hosts]

    def test_as_many_pods_as_workers(self, documents, pod):
        spec = documents["Job"]["spec"]
        (workers,) = [v["value"] for v in pod["containers"][0]["env"] if v["name"] == "WORKERS"]
        assert spec["completionMode"] == "Indexed"
        assert spec["completions"] == spec["parallelism"] == int(workers)

    def test_what_can_go_on_is_started_again_and_a_mistake_is_not(self, documents, pod):
        policy = documents["Job"]["spec"]["podFailurePolicy"]["rules"]
        actions = {
            code: rule["action"] for rule in policy for code in rule.get("onExitCodes", {}).get("values", [])
        }
        assert actions == {75: "Ignore", WorkerLostError.EXIT_CODE: "Ignore", 2: "FailJob"}
        assert pod["restartPolicy"] == "Never"

    def test_the_command_trains_a_configuration_that_exists_and_resumes(self, pod):
        (script,) = pod["containers"][0]["args"]
        last = script.strip().splitlines()[-1].split()
        assert last[:3] == ["exec", "p2net", "train"]
        assert last[-1] == "--resume"
        assert load_config(last[3]).training.batch_size % 8 == 0
        mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        assert f"/{last[5].split('/')[1]}" in mounts
