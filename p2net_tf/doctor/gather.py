"""Reads the record of this machine. What the system does not tell is None; nothing here fails."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path

import psutil

from p2net_tf.doctor.machine import Cpu, Disk, Machine, Memory
from p2net_tf.doctor.packages import list_packages
from p2net_tf.doctor.probe import probe_tensorflow
from p2net_tf.utils.machine import (
    available_memory,
    cpu_flags,
    cpu_info,
    cpu_quota,
    list_gpus,
    memory_limit,
    usable_cpus,
)

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "KERAS_BACKEND",
    "TF_CONFIG",
    "TF_CPP_MAX_VLOG_LEVEL",
    "TF_CPP_MIN_VLOG_LEVEL",
    "TF_CPP_VMODULE",
    "TF_DETERMINISTIC_OPS",
    "TF_DUMP_GRAPH_PREFIX",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Of the environment, what changes how fast a training is, or whether it is the same twice."""

_WRITTEN_SECONDS, _WRITTEN_BYTES, _CHUNK = 0.5, 256 * 2**20, 4 * 2**20


def gather_machine(folder: str | Path) -> Machine:
    """The record of this machine.

    Args:
        folder: where runs are to lie; its disk is measured. It need not exist, and is not made.
    """
    tensorflow, error = probe_tensorflow()
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        cpu=read_cpu(),
        memory=Memory(psutil.virtual_memory().total, available_memory(), memory_limit()),
        disk=measure_disk(folder),
        packages=list_packages(),
        gpus=list_gpus(),
        tensorflow=tensorflow,
        tensorflow_error=error,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        open_files=_open_files(),
        shared_memory=psutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None,
    )


def read_cpu(root: Path = Path("/")) -> Cpu:
    frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return Cpu(
        model=cpu_info(root).get("model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=psutil.cpu_count() or 1,
        usable=usable_cpus(),
        quota=cpu_quota(root),
        flags=cpu_flags(root),
        governor=_text(frequency / "scaling_governor"),
        driver=_text(frequency / "scaling_driver"),
        load=psutil.getloadavg()[0],
    )


def measure_disk(folder: str | Path) -> Disk:
    """Writes, for at most half a second, a file that is gone afterwards."""
    place = _existing(Path(folder).absolute())
    usage = psutil.disk_usage(str(place))
    try:
        return Disk(place, usage.total, usage.free, _write_speed(place, usage.free // 4))
    except OSError as error:
        return Disk(place, usage.total, usage.free, None, str(error))


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.is_dir())


def _write_speed(folder: Path, most: int) -> float:
    """Bytes per second, on the disk and not in the system's cache."""
    chunk, written, start = os.urandom(_CHUNK), 0, time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".p2net_doctor.") as file:
        while written < min(_WRITTEN_BYTES, most) and time.perf_counter() - start < _WRITTEN_SECONDS:
            written += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    return written / (time.perf_counter() - start)


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
