"""A machine and its findings, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from p2net_tf.doctor.findings import GIB, Finding
from p2net_tf.doctor.machine import Machine, Package, TensorFlow
from p2net_tf.utils.machine import Gpu

_COLORS = {"error": "bold red", "warning": "yellow"}


def print_report(machine: Machine, findings: list[Finding], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _rows(machine):
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    console.print(table)
    for finding in findings:
        color = _COLORS[finding.severity]
        console.print(f"[{color}]{finding.severity}[/{color}] {escape(finding.what)}", soft_wrap=True)
        console.print(f"  -> {escape(finding.remedy)}", soft_wrap=True)
    if not findings:
        console.print("nothing found that would make training slow")


def _rows(machine: Machine) -> Iterator[tuple[str, str]]:
    cpu, memory, disk = machine.cpu, machine.memory, machine.disk
    yield "system", f"{machine.system}, Python {machine.python}"
    yield from _tensorflow_rows(machine.tensorflow, machine.tensorflow_error)
    quota = f", quota {cpu.quota:g}" if cpu.quota else ""
    yield "CPU", f"{cpu.model}: {cpu.cores} cores, {cpu.usable} usable{quota}, load {cpu.load:.1f}"
    limit = f", limit {_size(memory.limit)}" if memory.limit else ""
    yield "memory", f"{_size(memory.total)}, {_size(memory.available)} available{limit}"
    yield "GPUs", ", ".join(map(_gpu, machine.gpus)) or "none"
    speed = f", writes {disk.speed / 1e6:.0f} MB/s" if disk.speed else ""
    yield "disk", f"{disk.folder}: {_size(disk.free)} of {_size(disk.total)} free{speed}"
    yield from _extra_rows(machine.packages)
    yield from machine.environment.items()


def _tensorflow_rows(facts: TensorFlow | None, error: str | None) -> Iterator[tuple[str, str]]:
    if facts is None:
        yield "TensorFlow", f"does not start: {error}"
        return
    build = f"CUDA {facts.cuda}, cuDNN {facts.cudnn}" if facts.cuda else "without CUDA"
    yield "TensorFlow", f"{facts.version} ({build}), imported in {facts.seconds:.1f} s"
    yield "Keras", f"{facts.keras} on {facts.keras_backend}"
    yield "TensorFlow's GPUs", ", ".join(map(_gpu, facts.gpus)) or "none"
    threads = (facts.intra_op or "one per core", facts.inter_op or "one per core")
    yield "threads", f"{threads[0]} within an operation, {threads[1]} between operations"


def _extra_rows(packages: Iterable[Package]) -> Iterator[tuple[str, str]]:
    """The extras, and by which command those come that lack something."""
    for extra, group in groupby((package for package in packages if package.extra), lambda of: of.extra):
        missing = [package.name for package in group if package.version is None]
        words = f"without {', '.join(missing)}; pip install 'p2net_tf[{extra}]'" if missing else "installed"
        yield f"extra {extra}", words


def _gpu(gpu: Gpu) -> str:
    return f"{gpu.name} ({_size(gpu.memory)})" if gpu.memory else gpu.name


def _size(bytes_: int) -> str:
    return f"{bytes_ / GIB:.1f} GiB"
