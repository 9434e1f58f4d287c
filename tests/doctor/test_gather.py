"""What is read from a system: from folders that look like one, and from this one."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from p2net_tf.doctor import gather, probe
from p2net_tf.doctor.packages import list_packages


@pytest.fixture
def system(tmp_path):
    """`system({"proc/cpuinfo": "..."})`: the root of a system with these files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        return tmp_path

    return write


def test_cpu(system):
    cores = "model name\t: EPYC 9\nflags\t\t: fpu avx avx2\n\nmodel name\t: other\n"
    frequency = "sys/devices/system/cpu/cpu0/cpufreq"
    cpu = gather.read_cpu(system({"proc/cpuinfo": cores, f"{frequency}/scaling_governor": "powersave\n"}))
    assert (cpu.model, cpu.flags) == ("EPYC 9", {"fpu", "avx", "avx2"})
    assert (cpu.governor, cpu.driver, cpu.quota) == ("powersave", None, None)
    assert cpu.usable == len(os.sched_getaffinity(0))


def test_a_system_that_tells_nothing(tmp_path):
    assert gather.read_cpu(tmp_path).flags == frozenset()


class TestDisk:
    def test_a_folder_that_is_not_there_stays_so(self, tmp_path):
        disk = gather.measure_disk(tmp_path / "runs" / "mine")
        assert disk.folder == tmp_path
        assert 0 < disk.free <= disk.total
        assert disk.speed > 0 and disk.error is None
        assert list(tmp_path.iterdir()) == []

    def test_what_cannot_be_written_is_said(self):
        disk = gather.measure_disk("/proc/self")
        assert disk.speed is None
        assert disk.error


class TestProbe:
    @pytest.fixture(scope="class")
    def facts(self):
        return probe.probe_tensorflow()

    @pytest.mark.slow
    def test_is_what_tensorflow_says_here(self, facts):
        import keras
        import tensorflow as tf

        found, error = facts
        assert error is None
        assert (found.version, found.keras) == (tf.__version__, keras.__version__)
        assert found.keras_backend == "tensorflow"
        assert len(found.gpus) == len(tf.config.list_physical_devices("GPU"))
        assert not found.eager_functions and found.seconds > 0

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


def test_packages_are_those_that_the_installed_project_declares():
    packages = list_packages()
    core = {package.name: package for package in packages if package.extra is None}
    assert {"tensorflow", "keras", "numpy"} <= core.keys()
    assert core["numpy"].version == metadata.version("numpy") and core["numpy"].fits
    assert ("hub", "keras-hub") in {(package.extra, package.name) for package in packages}
    extras = [package.extra or "" for package in packages]
    assert extras == sorted(extras)


def test_the_command_ends_with_1_where_training_is_impossible(tmp_path):
    """And prints the rest, as one JSON document."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no libcudart')", encoding="utf-8")
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TF_NUM_INTRAOP_THREADS": "1"}
    command = [sys.executable, "-m", "p2net_tf", "doctor", "--json", "--run", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 1, run.stderr
    document = json.loads(run.stdout)
    assert document["findings"][0]["severity"] == "error"
    assert "no libcudart" in document["findings"][0]["what"]
    machine = document["machine"]
    assert machine["tensorflow"] is None
    assert machine["disk"]["folder"] == str(tmp_path)
    assert machine["environment"]["TF_NUM_INTRAOP_THREADS"] == "1"
    assert {"model", "cores", "flags"} <= set(machine["cpu"])
