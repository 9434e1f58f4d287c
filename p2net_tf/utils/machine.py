"""What this process may use of its machine: memory, CPUs and GPUs, within the limits of its container.

Containers are limited by control groups, of versions 1 and 2. A limit of a group binds all groups below it,
so the tightest one on the way up to the root counts. Inside a container the path may name folders that only
the host sees; its own group is then the root of the mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

_ROOT = Path("/")
_NO_LIMIT = 2**60
"""Version 1 writes a number near 2 ** 63 for "no limit"."""


@dataclass(frozen=True)
class Gpu:
    """`memory` in bytes, None where unknown."""

    name: str
    memory: int | None = None


def available_memory(root: Path = _ROOT) -> int:
    """Bytes that this process can still take: what the system can give, and what its groups leave it.

    The cache of files counts as free, of the system and of a group: the kernel drops it for whoever asks.
    """
    headrooms = (limit - _held(group) for group, limit in _memory_limits(root))
    return max(0, min((psutil.virtual_memory().available, *headrooms)))


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes that the container may use; None: no limit."""
    return min((limit for _, limit in _memory_limits(root)), default=None)


def usable_cpus() -> int:
    """CPUs that this process may run on (its affinity)."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # not on macOS
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of time per second that the container may use; None: no limit."""
    quotas = []
    for group in _groups(root, "cpu"):
        if (words := _words(group / "cpu.max")) and words[0] != "max":
            quotas.append(int(words[0]) / int(words[1]))
        quota, period = _words(group / "cpu.cfs_quota_us"), _words(group / "cpu.cfs_period_us")
        if quota and period and int(quota[0]) > 0:
            quotas.append(int(quota[0]) / int(period[0]))
    return min(quotas, default=None)


def cpu_info(root: Path = _ROOT) -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo; empty where there is none."""
    first = "\n".join(_lines(root / "proc/cpuinfo")).split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def cpu_flags(root: Path = _ROOT) -> frozenset[str]:
    """Instruction sets, as /proc/cpuinfo names them; empty where unknown."""
    return frozenset(cpu_info(root).get("flags", "").split())


def usable_cores() -> int:
    """Whole cores that this process can keep busy, at least 1."""
    usable = usable_cpus()
    return max(1, int(min(usable, cpu_quota() or usable)))


def list_gpus(root: Path = _ROOT) -> tuple[Gpu, ...]:
    """GPUs of the system, by NVIDIA's tool, else by the devices of its driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return parse_gpus(done.stdout)
    except (OSError, subprocess.SubprocessError):
        return tuple(Gpu(path.name) for path in sorted((root / "dev").glob("nvidia[0-9]*")))


def parse_gpus(lines: str) -> tuple[Gpu, ...]:
    """`NAME, MIB` lines of nvidia-smi."""
    rows = (line.rsplit(",", 1) for line in lines.splitlines() if "," in line)
    return tuple(
        Gpu(name.strip(), int(size) * 2**20 if size.strip().isdecimal() else None) for name, size in rows
    )


def _memory_limits(root: Path) -> Iterator[tuple[Path, int]]:
    """`(group, bytes)` of each group with a limit."""
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(group / name)
            if words and words[0] != "max" and int(words[0]) < _NO_LIMIT:
                yield group, int(words[0])


def _held(group: Path) -> int:
    """Bytes that the processes of a group use, without its cache of files, which the kernel takes back."""
    used = _words(group / "memory.current") or _words(group / "memory.usage_in_bytes") or ["0"]
    facts = dict(line.split()[:2] for line in _lines(group / "memory.stat"))
    # Version 1 has its own and, as `total_`, that of all groups below; version 2 has the total alone.
    cached = sum(
        int(facts.get(f"total_{name}", facts.get(name, 0))) for name in ("active_file", "inactive_file")
    )
    return max(0, int(used[0]) - cached)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process' groups that may limit `controller`, up to the root of each mount.

    Lines are `number:controllers:/path`; version 2 has one line, which names no controllers.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = PurePosixPath(path)
        for parent in (group, *group.parents):
            yield mount / parent.relative_to("/")


def _words(path: Path) -> list[str]:
    lines = _lines(path)
    return lines[0].split() if lines else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
