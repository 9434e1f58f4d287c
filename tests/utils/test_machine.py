"""What a process may use: from folders that look like a system, and from this one."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from p2net_tf.utils.machine import (
    Gpu,
    available_memory,
    cpu_quota,
    list_gpus,
    memory_limit,
    parse_gpus,
    usable_cores,
    usable_cpus,
)

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


@pytest.fixture
def with_memory(system, monkeypatch):
    """`with_memory({...}, MemAvailable=8192)`: that root, and psutil reads a /proc/meminfo with these kB."""

    def write(files: dict[str, str], **kilobytes: int) -> Path:
        sizes = {
            "MemTotal": 16384,
            "MemFree": 1,
            "Buffers": 0,
            "Cached": 8000,
            "Shmem": 0,
            "Active": 4000,
            "Inactive": 4000,
        }
        sizes |= kilobytes
        lines = "".join(f"{name}: {size} kB\n" for name, size in sizes.items())
        root = system({"proc/meminfo": lines, **files})
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
        return root

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


class TestAvailableMemory:
    def test_the_cache_of_files_counts_as_free(self, with_memory):
        """After a pass over the photographs the free pages are few, and the reclaimable ones many."""
        assert available_memory(with_memory({}, MemAvailable=8192)) == 2**23
        assert memory_limit(with_memory({}, MemAvailable=8192)) is None

    @pytest.mark.parametrize(
        ("folder", "files"),
        [
            (
                "sys/fs/cgroup/pods/mine",
                {
                    "memory.max": "1000000",
                    "memory.current": "990000",
                    "memory.stat": "anon 90000\nfile 900000\nactive_file 300000\ninactive_file 600000\n",
                },
            ),
            (
                "sys/fs/cgroup/memory/docker/abc",
                {
                    "memory.limit_in_bytes": "1000000",
                    "memory.usage_in_bytes": "990000",
                    "memory.stat": "active_file 1\ninactive_file 1\n"
                    "total_active_file 300000\ntotal_inactive_file 600000\n",
                },
            ),
        ],
        ids=["version 2", "version 1"],
    )
    def test_so_does_that_of_a_container(self, with_memory, folder, files):
        """Of 1,000,000 bytes the processes hold 90,000, and files that were read 900,000."""
        files = {f"{folder}/{name}": text for name, text in files.items()}
        groups = GROUPS_2 if "pods" in folder else GROUPS_1
        root = with_memory({"proc/self/cgroup": groups, **files}, MemAvailable=8192)
        assert available_memory(root) == 910_000
        assert memory_limit(root) == 1_000_000

    def test_the_tightest_group_bounds(self, with_memory):
        root = with_memory(
            {
                "proc/self/cgroup": GROUPS_2,
                "sys/fs/cgroup/pods/mine/memory.max": "5000000",
                "sys/fs/cgroup/pods/memory.max": "3000000",
                "sys/fs/cgroup/pods/memory.current": "2500000",
            },
            MemAvailable=8192,
        )
        assert available_memory(root) == 500_000

    def test_a_group_beyond_its_limit_has_nothing(self, with_memory):
        files = {"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "2000"}
        root = with_memory({"proc/self/cgroup": GROUPS_2, **files}, MemAvailable=8192)
        assert available_memory(root) == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is of Linux")
def test_cores_are_those_of_the_affinity():
    assert usable_cpus() == len(os.sched_getaffinity(0))
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from p2net_tf.utils.machine import usable_cores, usable_cpus; print(usable_cpus(), usable_cores())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "1"]
    assert 1 <= usable_cores() <= usable_cpus()


def test_gpus_of_the_tool_and_of_the_driver(system, monkeypatch):
    lines = "NVIDIA H100, 80GB, 81559\nTesla T4, [N/A]\n"
    assert parse_gpus(lines) == (Gpu("NVIDIA H100, 80GB", 81559 * 2**20), Gpu("Tesla T4"))
    monkeypatch.setenv("PATH", "")
    root = system({"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": ""})
    assert list_gpus(root) == (Gpu("nvidia0"), Gpu("nvidia1"))
