"""Reads the record of this machine. What the system does not tell is None; nothing here fails."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from p2net_tf.doctor.cgroups import cpu_quota, memory_limit
from p2net_tf.doctor.machine import Cpu, Disk, Gpu, Machine, Memory
from p2net_tf.doctor.packages import list_packages
from p2net_tf.doctor.probe import probe_tensorflow

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "KERAS_BACKEND",
    "OMP_NUM_THREADS",
    "TF_CONFIG",
    "TF_CPP_MAX_VLOG_LEVEL",
    "TF_CPP_MIN_VLOG_LEVEL",
    "TF_CPP_VMODULE",
    "TF_DETERMINISTIC_OPS",
    "TF_DUMP_GRAPH_PREFIX",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Of the environment, what changes how fast a training is, or whether it is the same twice."""

_WRITTEN_SECONDS, _WRITTEN_BYTES, _CHUNK = 0.5, 256 * 2**20, 4 * 2**20


def gather_machine(folder: str | Path, measure: bool = True) -> Machine:
    """The record of this machine.

    Args:
        folder: where runs are to lie; its disk is tested. It need not exist, and is not made.
        measure: also how fast TensorFlow computes.
    """
    tensorflow, error = probe_tensorflow(measure)
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        cpu=read_cpu(),
        memory=read_memory(),
        disk=test_disk(folder),
        packages=list_packages(),
        gpus=list_gpus(),
        tensorflow=tensorflow,
        tensorflow_error=error,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        open_files=_open_files(),
        shared_memory=shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None,
    )


def read_cpu(root: Path = Path("/")) -> Cpu:
    info = read_cpuinfo(root)
    cores = os.cpu_count() or 1
    frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return Cpu(
        model=info.get("model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=cores,
        usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
        quota=cpu_quota(root),
        flags=frozenset(info.get("flags", "").split()),
        governor=_text(frequency / "scaling_governor"),
        driver=_text(frequency / "scaling_driver"),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def read_cpuinfo(root: Path = Path("/")) -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo."""
    first = (_text(root / "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def read_memory(root: Path = Path("/")) -> Memory:
    """In a container the limit bounds what is available, too."""
    lines = (_text(root / "proc/meminfo") or "").splitlines()
    sizes = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":", 1) for line in lines)}
    total, limit = sizes.get("MemTotal", 0), memory_limit(root)
    available = sizes.get("MemAvailable", total)
    return Memory(total, min(available, limit) if limit else available, limit)


def list_gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
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


def test_disk(folder: str | Path) -> Disk:
    """Writes, for at most half a second, a file that is gone afterwards."""
    place = _existing(Path(folder).absolute())
    usage = shutil.disk_usage(place)
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
