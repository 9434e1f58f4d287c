"""Findings are a function of the record: every test writes a machine down and says what is to be found."""

from dataclasses import replace
from pathlib import Path

import pytest

from p2net_tf.doctor.findings import GIB, find
from p2net_tf.doctor.machine import Cpu, Disk, Gpu, Machine, Memory, Package, TensorFlow

HALF = frozenset({"avx512_bf16", "avx512_fp16"})
CPU = Cpu("EPYC", "x86_64", cores=8, usable=8, flags=frozenset({"avx", "avx2"}) | HALF)
TENSORFLOW = TensorFlow("2.21.0", "3.15.1", "tensorflow")
CUDA = replace(TENSORFLOW, cuda="12.5", cudnn="9")
H100 = Gpu("H100", 80 * GIB)
GOOD = Machine(
    python="3.11.7",
    system="Linux 6.1",
    cpu=CPU,
    memory=Memory(64 * GIB, 60 * GIB),
    disk=Disk(Path("/runs"), 500 * GIB, 400 * GIB, speed=1e9),
    tensorflow=TENSORFLOW,
    open_files=65536,
    shared_memory=GIB,
)


def with_cpu(**changes) -> Machine:
    return replace(GOOD, cpu=replace(CPU, **changes))


def with_environment(**variables: str) -> Machine:
    return replace(GOOD, environment=variables)


def with_disk(**changes) -> Machine:
    return replace(GOOD, disk=replace(GOOD.disk, **changes))


def with_package(extra, version, fits) -> Machine:
    return replace(GOOD, packages=(Package("rich", extra, "tables", ">=13", version, fits),))


def test_nothing_is_wrong_with_a_good_machine():
    assert find(GOOD) == []
    assert find(replace(GOOD, gpus=(H100,), tensorflow=replace(CUDA, gpus=(H100,)))) == []


FAULTS = {
    "no tensorflow": (
        replace(GOOD, tensorflow=None, tensorflow_error="ImportError: libcudart"),
        ("error", "does not start: ImportError: libcudart", "virtual environment"),
    ),
    "no avx": (
        replace(
            with_cpu(flags=frozenset({"sse2", "avx2"}) | HALF), tensorflow=None, tensorflow_error="SIGILL"
        ),
        ("error", "SIGILL", "need a CPU with AVX"),
    ),
    "other backend": (
        replace(GOOD, tensorflow=replace(TENSORFLOW, keras_backend="jax")),
        ("error", "Keras runs on jax", "KERAS_BACKEND"),
    ),
    "core package": (with_package(None, None, False), ("error", "rich is missing", "pip install 'rich>=13'")),
    "old package": (with_package("hub", "12.1", False), ("warning", "rich 12.1", "pip install 'rich>=13'")),
    "hidden gpu": (
        replace(with_environment(CUDA_VISIBLE_DEVICES=""), gpus=(H100,), tensorflow=CUDA),
        ("warning", "the system has 1 GPUs (H100), TensorFlow sees 0", "CUDA_VISIBLE_DEVICES='' hides"),
    ),
    "built for cpus": (
        replace(GOOD, gpus=(H100,)),
        ("warning", "TensorFlow sees 0", "built without CUDA; pip install 'tensorflow[and-cuda]'"),
    ),
    "no cudnn": (
        replace(GOOD, gpus=(H100, H100), tensorflow=replace(CUDA, gpus=(H100,))),
        ("warning", "has 2 GPUs (H100, H100), TensorFlow sees 1", "CUDA 12.5 and cuDNN 9"),
    ),
    "quota": (
        with_cpu(quota=1.5),
        ("warning", "8 threads, but the container's quota is 1.5", "TF_NUM_INTRAOP_THREADS=2 "),
    ),
    "too many threads": (
        with_environment(TF_NUM_INTRAOP_THREADS="32"),
        ("warning", "32 threads on 8 cores", "TF_NUM_INTRAOP_THREADS=8 "),
    ),
    "too few threads": (
        replace(GOOD, tensorflow=replace(TENSORFLOW, intra_op=2)),
        ("warning", "may use 2 of 8 cores", "TF_NUM_INTRAOP_THREADS=8 "),
    ),
    "openmp": (with_environment(OMP_NUM_THREADS="1"), ("note", "OMP_NUM_THREADS=1 holds NumPy", "unset")),
    "busy": (with_cpu(load=14.2), ("warning", "14.2 processes want the 8 cores", "top")),
    "no avx2": (with_cpu(flags=frozenset({"avx"}) | HALF), ("warning", "no AVX2", "another CPU")),
    "powersave": (
        with_cpu(governor="powersave", driver="acpi-cpufreq"),
        ("warning", "governor powersave", "cpupower"),
    ),
    "half precision": (
        with_cpu(flags=frozenset({"avx", "avx2", "avx512_bf16"})),
        ("note", "no instructions for mixed_float16: slower", "training.precision=float32"),
    ),
    "onednn": (
        with_environment(TF_ENABLE_ONEDNN_OPTS="0"),
        ("warning", "oneDNN is off", "unset TF_ENABLE_ONEDNN_OPTS"),
    ),
    "deterministic": (
        with_environment(TF_DETERMINISTIC_OPS="1"),
        ("warning", "deterministic", "unset TF_DETERMINISTIC_OPS"),
    ),
    "eager": (
        replace(GOOD, tensorflow=replace(TENSORFLOW, eager_functions=True)),
        ("warning", "tf.function is switched off", "run_functions_eagerly"),
    ),
    "vlog": (
        with_environment(TF_CPP_MIN_VLOG_LEVEL="2"),
        ("warning", "TF_CPP_MIN_VLOG_LEVEL=2 is for debugging", "unset TF_CPP_MIN_VLOG_LEVEL"),
    ),
    "dumps": (
        with_environment(XLA_FLAGS="--xla_dump_to=/tmp/x"),
        ("warning", "XLA_FLAGS=--xla_dump_to=/tmp/x", "unset XLA_FLAGS"),
    ),
    "memory": (
        replace(GOOD, memory=Memory(64 * GIB, GIB)),
        ("warning", "1.0 GiB of memory are available", "training.accumulate"),
    ),
    "shared memory": (
        replace(GOOD, gpus=(H100,) * 2, tensorflow=replace(CUDA, gpus=(H100,) * 2), shared_memory=64 * 2**20),
        ("warning", "/dev/shm has 64 MiB, through which 2 GPUs", "--shm-size"),
    ),
    "full disk": (with_disk(free=2 * GIB), ("warning", "/runs has 2.0 GiB left", "another folder")),
    "slow disk": (with_disk(speed=10e6), ("warning", "10 MB/s: a checkpoint of 0.5 GB", "local disk")),
    "written disk": (
        with_disk(speed=None, error="Read-only file system"),
        ("error", "/runs cannot be written: Read-only file system", "another folder"),
    ),
    "files": (replace(GOOD, open_files=256), ("warning", "may open 256 files", "ulimit -n 4096")),
    "cluster": (with_environment(TF_CONFIG="{"), ("error", "TF_CONFIG: is no JSON", "mend it")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_nothing_else(fault):
    machine, (severity, what, remedy) = FAULTS[fault]
    (found,) = find(machine)
    assert found.severity == severity
    assert what in found.what
    assert remedy in found.remedy


HARMLESS = {
    "a dynamic governor of that name": with_cpu(governor="powersave", driver="intel_pstate"),
    "threads set to the quota": replace(
        with_environment(TF_NUM_INTRAOP_THREADS="2"), cpu=replace(CPU, quota=1.5)
    ),
    "affinity below the cores": with_cpu(usable=4),
    "flags of XLA that dump nothing": with_environment(TF_XLA_FLAGS="--tf_xla_auto_jit=2"),
    "variables that are off": with_environment(TF_CPP_MIN_VLOG_LEVEL="0", TF_DETERMINISTIC_OPS="0"),
    "half precision beside a GPU": replace(
        with_cpu(flags=frozenset({"avx", "avx2"})), gpus=(H100,), tensorflow=replace(CUDA, gpus=(H100,))
    ),
    "an ARM without AVX": with_cpu(architecture="aarch64", flags=frozenset({"asimd"}) | HALF),
    "an extra that is not installed": with_package("hub", None, False),
    "unknown flags and limits": replace(GOOD, open_files=None, shared_memory=None),
}


@pytest.mark.parametrize("machine", HARMLESS.values(), ids=HARMLESS)
def test_nothing_is_made_of(machine):
    assert find(machine) == []


def test_the_gravest_come_first():
    machine = replace(
        with_environment(OMP_NUM_THREADS="1", TF_ENABLE_ONEDNN_OPTS="0"),
        disk=replace(GOOD.disk, error="disk full"),
    )
    assert [finding.severity for finding in find(machine)] == ["error", "warning", "note"]
