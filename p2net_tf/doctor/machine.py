"""The record of a machine: what `gather` reads, `findings` judges and `report` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from p2net_tf.utils.machine import Gpu


@dataclass(frozen=True)
class Package:
    """A distribution that p2net_tf can use.

    Attributes:
        extra: of which it is a part; None: needed always.
        required: version specifier, e.g. `>=2.20,<2.22`.
        version: installed; None: missing.
        fits: the installed version is one of those required.
    """

    name: str
    extra: str | None
    required: str
    version: str | None
    fits: bool


@dataclass(frozen=True)
class Cpu:
    """
    Attributes:
        cores: that the system has.
        usable: of these, for this process (affinity); what TensorFlow makes threads for.
        quota: cores' worth of time that the container may use; None: no limit.
        flags: instruction sets, as /proc/cpuinfo names them; empty where unknown.
        governor, driver: of the frequency; None where the system does not tell.
        load: mean number of running processes of the last minute.
    """

    model: str
    architecture: str
    cores: int
    usable: int
    quota: float | None = None
    flags: frozenset[str] = frozenset()
    governor: str | None = None
    driver: str | None = None
    load: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes. `limit` is that of the container, None without one."""

    total: int
    available: int
    limit: int | None = None


@dataclass(frozen=True)
class TensorFlow:
    """What TensorFlow says of itself, in a process of its own.

    Attributes:
        cuda, cudnn: versions that it was built for; None: built without CUDA.
        gpus: that it sees.
        intra_op, inter_op: threads; 0: one per usable core.
        eager_functions: `tf.function` is switched off.
        seconds: that importing it took.
    """

    version: str
    keras: str
    keras_backend: str
    cuda: str | None = None
    cudnn: str | None = None
    gpus: tuple[Gpu, ...] = ()
    intra_op: int = 0
    inter_op: int = 0
    eager_functions: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Disk:
    """Bytes, and bytes per second of a synchronized write; `error`: why nothing could be written."""

    folder: Path
    total: int
    free: int
    speed: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Machine:
    """
    Attributes:
        gpus: that the system has, whether or not TensorFlow sees them.
        tensorflow: None where it does not start; `tensorflow_error` then says why.
        environment: the variables that are set of those that matter.
        open_files: limit of file descriptors of this process; None: none.
        shared_memory: size of /dev/shm in bytes; None where there is none.
    """

    python: str
    system: str
    cpu: Cpu
    memory: Memory
    disk: Disk
    packages: tuple[Package, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    tensorflow: TensorFlow | None = None
    tensorflow_error: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    open_files: int | None = None
    shared_memory: int | None = None

    @property
    def cores(self) -> float:
        """Cores' worth of time that a training here can have."""
        return min(self.cpu.usable, self.cpu.quota or self.cpu.usable)
