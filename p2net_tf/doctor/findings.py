"""What makes training on a machine impossible (error) or slow (warning), and what is worth knowing (note)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from p2net_tf.doctor.machine import Machine
from p2net_tf.doctor.tf_config import check_tf_config

GIB = 2**30
LOW_MEMORY = 4 * GIB
"""Training P2Net-ResNet-50 at 256x192 in batches of 8 on a CPU took 3.3 GiB, without any photographs."""
LOW_DISK = 5 * GIB
"""A checkpoint of P2Net-ResNet-101 holds its 47.5 M weights four times: 0.76 GB, and some are kept."""
SLOW_DISK = 50 * 10**6
FEW_FILES = 1024

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """`what` is the case, and the `remedy`."""

    severity: Severity
    what: str
    remedy: str


def find(machine: Machine) -> list[Finding]:
    """All findings, the gravest first."""
    found = [finding for check in _CHECKS for finding in check(machine)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _tensorflow(machine: Machine) -> Iterator[Finding]:
    facts = machine.tensorflow
    if facts is None:
        x86_without_avx = machine.cpu.flags and "avx" not in machine.cpu.flags and _is_x86(machine)
        remedy = (
            "TensorFlow's wheels need a CPU with AVX, which this one lacks; take another machine"
            if x86_without_avx
            else "install p2net_tf into a fresh virtual environment, which brings TensorFlow"
        )
        yield Finding("error", f"TensorFlow does not start: {machine.tensorflow_error}", remedy)
    elif facts.keras_backend != "tensorflow":
        yield Finding(
            "error",
            f"Keras runs on {facts.keras_backend}; training needs TensorFlow",
            "unset KERAS_BACKEND, and look into ~/.keras/keras.json",
        )


def _packages(machine: Machine) -> Iterator[Finding]:
    for package in machine.packages:
        wanted = f"{package.name}{package.required}"
        if package.extra is None and package.version is None:
            yield Finding(
                "error", f"{package.name} is missing ({package.purpose})", f"pip install '{wanted}'"
            )
        elif package.version is not None and not package.fits:
            yield Finding(
                "warning",
                f"{package.name} {package.version} is not a version that p2net_tf is tested with",
                f"pip install '{wanted}'",
            )


def _gpus(machine: Machine) -> Iterator[Finding]:
    facts = machine.tensorflow
    if facts is None or len(machine.gpus) <= len(facts.gpus):
        return
    names = ", ".join(gpu.name for gpu in machine.gpus)
    visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        remedy = f"CUDA_VISIBLE_DEVICES={visible!r} hides GPUs; unset it if that is not meant"
    elif facts.cuda is None:
        remedy = "this TensorFlow is built without CUDA; pip install 'tensorflow[and-cuda]'"
    else:
        remedy = (
            f"it needs the libraries of CUDA {facts.cuda} and cuDNN {facts.cudnn}: pip install "
            "'tensorflow[and-cuda]', and a driver for them; P2NET_TF_NOTICES=1 shows which one is missing"
        )
    yield Finding(
        "warning",
        f"the system has {len(machine.gpus)} GPUs ({names}), TensorFlow sees {len(facts.gpus)}",
        remedy,
    )


def _threads(machine: Machine) -> Iterator[Finding]:
    cpu, environment = machine.cpu, machine.environment
    wanted = max(1, math.ceil(machine.cores))
    setting = f"TF_NUM_INTRAOP_THREADS={wanted} TF_NUM_INTEROP_THREADS={wanted}"
    threads = _threads_of(machine)
    if threads > wanted and cpu.quota is not None:
        yield Finding(
            "warning",
            f"TensorFlow makes {threads} threads, but the container's quota is {cpu.quota:g} cores: they are "
            "stopped in turns",
            f"set {setting}, or raise the quota",
        )
    elif threads > wanted:
        yield Finding(
            "warning", f"{threads} threads on {wanted} cores get in each other's way", f"set {setting}"
        )
    elif threads < wanted:
        yield Finding("warning", f"TensorFlow may use {threads} of {wanted} cores", f"set {setting}")
    if environment.get("OMP_NUM_THREADS") == "1" and wanted > 1:
        yield Finding(
            "note",
            "OMP_NUM_THREADS=1 holds NumPy, and a TensorFlow built with OpenMP, to one core; the wheels of "
            "TensorFlow do not read it",
            "unset it if that is not meant",
        )


def _threads_of(machine: Machine) -> int:
    """Within an operation."""
    named = machine.environment.get("TF_NUM_INTRAOP_THREADS", "")
    asked = machine.tensorflow.intra_op if machine.tensorflow else 0
    return asked or (int(named) if named.isdecimal() else 0) or machine.cpu.usable


def _busy(machine: Machine) -> Iterator[Finding]:
    # The doctor's own measurement counts among the running processes.
    if machine.cpu.load > machine.cpu.cores + 1:
        yield Finding(
            "warning",
            f"{machine.cpu.load:.1f} processes want the {machine.cpu.cores} cores",
            "see with `top` who else computes here",
        )


def _cpu(machine: Machine) -> Iterator[Finding]:
    cpu = machine.cpu
    if _is_x86(machine) and cpu.flags and "avx2" not in cpu.flags:
        yield Finding("warning", "the CPU has no AVX2, which convolutions are made for", "another CPU")
    # These drivers call their usual, dynamic mode `powersave`.
    dynamic = (cpu.driver or "").startswith(("intel_pstate", "amd-pstate"))
    if cpu.governor == "powersave" and not dynamic:
        yield Finding(
            "warning",
            "the CPU is held to its lowest frequency (governor powersave)",
            "sudo cpupower frequency-set --governor performance",
        )


def _half_precision(machine: Machine) -> Iterator[Finding]:
    # Measured on an EPYC with AVX512_BF16 alone, the gradient of a convolution: bfloat16 takes 0.6 of the
    # time of float32, float16 6.4 times as long.
    if machine.tensorflow is None or machine.tensorflow.gpus:
        return
    needs = {"mixed_bfloat16": {"avx512_bf16", "amx_bf16"}, "mixed_float16": {"avx512_fp16", "amx_fp16"}}
    slow = [name for name, any_of in needs.items() if not any_of & machine.cpu.flags]
    if slow:
        yield Finding(
            "note",
            f"there is no GPU, and the CPU has no instructions for {' and '.join(slow)}: slower than float32",
            "keep training.precision=float32 here",
        )


def _settings(machine: Machine) -> Iterator[Finding]:
    environment, facts = machine.environment, machine.tensorflow
    if _is_x86(machine) and environment.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() in ("0", "false"):
        yield Finding(
            "warning",
            "oneDNN is off: convolutions on the CPU take some three times as long",
            "unset TF_ENABLE_ONEDNN_OPTS",
        )
    if _is_on(environment.get("TF_DETERMINISTIC_OPS")):
        yield Finding(
            "warning",
            "operations are deterministic: slower kernels on a GPU, and a stricter input pipeline",
            "unset TF_DETERMINISTIC_OPS unless two runs must be equal bit for bit",
        )
    if facts and facts.eager_functions:
        yield Finding(
            "warning",
            "tf.function is switched off: every operation is called from Python",
            "take tf.config.run_functions_eagerly(True) out of sitecustomize",
        )


def _debugging(machine: Machine) -> Iterator[Finding]:
    environment = machine.environment
    chatty = ("TF_CPP_MIN_VLOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "CUDA_LAUNCH_BLOCKING")
    set_ones = [name for name in chatty if _is_on(environment.get(name))]
    set_ones += [name for name in ("TF_CPP_VMODULE", "TF_DUMP_GRAPH_PREFIX") if environment.get(name)]
    set_ones += [name for name in ("TF_XLA_FLAGS", "XLA_FLAGS") if "dump" in environment.get(name, "")]
    for name in set_ones:
        yield Finding(
            "warning",
            f"{name}={environment[name]} is for debugging, and slows every step",
            f"unset {name}",
        )


def _is_on(value: str | None) -> bool:
    return value is not None and value.lower() not in ("", "0", "false")


def _memory(machine: Machine) -> Iterator[Finding]:
    if 0 < machine.memory.available < LOW_MEMORY:
        yield Finding(
            "warning",
            f"{machine.memory.available / GIB:.1f} GiB of memory are available",
            "a smaller training.batch_size, with training.accumulate for the rest",
        )
    gpus = machine.tensorflow.gpus if machine.tensorflow else ()
    if len(gpus) > 1 and machine.shared_memory is not None and machine.shared_memory < GIB:
        yield Finding(
            "warning",
            f"/dev/shm has {machine.shared_memory / 2**20:.0f} MiB, through which {len(gpus)} GPUs exchange "
            "their gradients",
            "docker run --shm-size=1g, or an emptyDir with medium Memory in Kubernetes",
        )


def _disk(machine: Machine) -> Iterator[Finding]:
    disk = machine.disk
    if disk.error:
        yield Finding(
            "error",
            f"{disk.folder} cannot be written: {disk.error}",
            "free some space, or name another folder",
        )
        return
    if disk.free < LOW_DISK:
        yield Finding(
            "warning",
            f"{disk.folder} has {disk.free / GIB:.1f} GiB left",
            "make room for checkpoints, or name another folder",
        )
    if disk.speed is not None and disk.speed < SLOW_DISK:
        yield Finding(
            "warning",
            f"{disk.folder} takes {disk.speed / 1e6:.0f} MB/s: a checkpoint of 0.5 GB holds the training up "
            f"for {5e8 / disk.speed:.0f} s",
            "a local disk for runs, or fewer checkpoints",
        )
    if machine.open_files is not None and machine.open_files < FEW_FILES:
        yield Finding(
            "warning",
            f"this process may open {machine.open_files} files",
            f"ulimit -n {4 * FEW_FILES}",
        )


def _cluster(machine: Machine) -> Iterator[Finding]:
    text = machine.environment.get("TF_CONFIG")
    if text is not None and (fault := check_tf_config(text)):
        yield Finding("error", f"TF_CONFIG: {fault}", "mend it, or unset it to train on this machine alone")


def _is_x86(machine: Machine) -> bool:
    return machine.cpu.architecture.lower() in ("x86_64", "amd64")


_CHECKS = (
    _tensorflow,
    _packages,
    _cluster,
    _gpus,
    _threads,
    _busy,
    _cpu,
    _half_precision,
    _settings,
    _debugging,
    _memory,
    _disk,
)
