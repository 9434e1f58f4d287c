"""What a container may use: the limits of its control groups, versions 1 and 2.

A limit of a group binds all groups below it, so the lowest one on the way up to the root counts. Inside a
container the path may name folders that only the host sees; its own group is then the root of the mount.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_NO_LIMIT = 2**60
"""Version 1 writes a number near 2 ** 63 for "no limit"."""


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time per second; None: no limit."""
    quotas = []
    for folder in _groups(root, "cpu"):
        if (words := _words(folder / "cpu.max")) and words[0] != "max":
            quotas.append(int(words[0]) / int(words[1]))
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        if quota and period and int(quota[0]) > 0:
            quotas.append(int(quota[0]) / int(period[0]))
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes; None: no limit."""
    limits = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(folder / name)
            if words and words[0] != "max" and int(words[0]) < _NO_LIMIT:
                limits.append(int(words[0]))
    return min(limits, default=None)


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
