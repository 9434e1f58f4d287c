"""What is read from a system: from folders that look like one, and from this one."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from p2net_tf.doctor import gather, probe
from p2net_tf.doctor.cgroups import cpu_quota, memory_limit
from p2net_tf.doctor.machine import Gpu
from p2net_tf.doctor.packages import PURPOSES

GROUPS_1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n"
GROUPS_2 = "0::/pods/mine\n"


@pytest.fixture
def system(tmp_path):
    """`system({"proc/meminfo": "..."})`: the root of a system with these files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        return tmp_path

    return write


class TestControlGroups:
    def test_no_groups_no_limits(self, tmp_path):
        assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (None, None)

    def test_version_2_takes_the_lowest_up_to_the_root(self, system):
        root = system(
            {
                "proc/self/cgroup": GROUPS_2,
                "sys/fs/cgroup/pods/mine/cpu.max": "max 100000\n",
                "sys/fs/cgroup/pods/cpu.max": "250000 100000\n",
                "sys/fs/cgroup/pods/mine/memory.max": "4294967296\n",
                "sys/fs/cgroup/pods/memory.max": "max\n",
            }
        )
        assert (cpu_quota(root), memory_limit(root)) == (2.5, 2**32)

    def test_version_2_in_a_container_that_sees_its_own_group_as_the_root(self, system):
        root = system({"proc/self/cgroup": GROUPS_2, "sys/fs/cgroup/cpu.max": "150000 100000\n"})
        assert (cpu_quota(root), memory_limit(root)) == (1.5, None)

    def test_version_1(self, system):
        folder = "sys/fs/cgroup"
        root = system(
            {
                "proc/self/cgroup": GROUPS_1,
                f"{folder}/cpu/docker/abc/cpu.cfs_quota_us": "300000\n",
                f"{folder}/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
                f"{folder}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{folder}/cpu/cpu.cfs_period_us": "100000\n",
                f"{folder}/memory/docker/abc/memory.limit_in_bytes": "1073741824\n",
                f"{folder}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            }
        )
        assert (cpu_quota(root), memory_limit(root)) == (3.0, 2**30)


def test_cpu(system):
    cores = "model name\t: EPYC 9\nflags\t\t: fpu avx avx2\n\nmodel name\t: other\n"
    frequency = "sys/devices/system/cpu/cpu0/cpufreq"
    cpu = gather.read_cpu(system({"proc/cpuinfo": cores, f"{frequency}/scaling_governor": "powersave\n"}))
    assert (cpu.model, cpu.flags) == ("EPYC 9", {"fpu", "avx", "avx2"})
    assert (cpu.governor, cpu.driver, cpu.quota) == ("powersave", None, None)
    assert cpu.usable == len(os.sched_getaffinity(0))


def test_a_limit_bounds_the_memory_that_is_available(system):
    files = {"proc/meminfo": "MemTotal:  16384 kB\nMemFree: 1 kB\nMemAvailable:  8192 kB\n"}
    memory = gather.read_memory(system(files))
    assert (memory.total, memory.available, memory.limit) == (2**24, 2**23, None)
    files |= {"proc/self/cgroup": GROUPS_2, "sys/fs/cgroup/memory.max": "1048576"}
    memory = gather.read_memory(system(files))
    assert (memory.available, memory.limit) == (2**20, 2**20)


def test_a_system_that_tells_nothing(tmp_path):
    assert gather.read_memory(tmp_path).available == 0
    assert gather.read_cpu(tmp_path).flags == frozenset()


def test_gpus_of_the_tool_and_of_the_driver(system, monkeypatch):
    lines = "NVIDIA H100, 80GB, 81559\nTesla T4, [N/A]\n"
    assert gather.parse_gpus(lines) == (Gpu("NVIDIA H100, 80GB", 81559 * 2**20), Gpu("Tesla T4"))
    monkeypatch.setenv("PATH", "")
    root = system({"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": ""})
    assert gather.list_gpus(root) == (Gpu("nvidia0"), Gpu("nvidia1"))


class TestDisk:
    def test_a_folder_that_is_not_there_stays_so(self, tmp_path):
        disk = gather.test_disk(tmp_path / "runs" / "mine")
        assert disk.folder == tmp_path
        assert 0 < disk.free <= disk.total
        assert disk.speed > 0 and disk.error is None
        assert list(tmp_path.iterdir()) == []

    def test_what_cannot_be_written_is_said(self):
        disk = gather.test_disk("/proc/self")
        assert disk.speed is None
        assert disk.error


class TestProbe:
    @pytest.fixture(scope="class")
    def facts(self):
        return probe.probe_tensorflow(measure=False)

    def test_is_what_tensorflow_says_here(self, facts):
        import keras
        import tensorflow as tf

        found, error = facts
        assert error is None
        assert (found.version, found.keras) == (tf.__version__, keras.__version__)
        assert found.keras_backend == "tensorflow"
        assert len(found.gpus) == len(tf.config.list_physical_devices("GPU"))
        assert not found.eager_functions and found.speed == {} and found.seconds > 0

    def test_a_process_that_fails_says_why(self, monkeypatch, tmp_path):
        """A TensorFlow that cannot be imported stands before the real one."""
        (tmp_path / "tensorflow.py").write_text("raise ImportError('no libcudart')", encoding="utf-8")
        path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        assert probe.probe_tensorflow() == (None, "ImportError: no libcudart")

    def test_a_process_that_dies_says_of_what(self, monkeypatch, tmp_path):
        """As a wheel with instructions that the CPU lacks does."""
        fatal = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)"
        (tmp_path / "tensorflow.py").write_text(fatal, encoding="utf-8")
        path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        assert probe.probe_tensorflow() == (None, "it ended its process (SIGILL)")


def test_every_package_of_the_project_has_a_purpose():
    setup = configparser.ConfigParser()
    setup.read(Path(gather.__file__).parents[2] / "setup.cfg")
    groups = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    names = {Requirement(line).name for group in groups for line in group.split("\n") if line.strip()}
    assert names == set(PURPOSES)


def test_the_command_ends_with_1_where_training_is_impossible(tmp_path):
    """And prints the rest, as one JSON document."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no libcudart')", encoding="utf-8")
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "p2net_tf", "doctor", "--json", "--run", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 1, run.stderr
    document = json.loads(run.stdout)
    assert document["findings"][0]["severity"] == "error"
    assert "no libcudart" in document["findings"][0]["what"]
    machine = document["machine"]
    assert machine["tensorflow"] is None
    assert machine["disk"]["folder"] == str(tmp_path)
    assert machine["environment"]["OMP_NUM_THREADS"] == "1"
    assert {"model", "cores", "flags"} <= set(machine["cpu"])
