"""A folder that one process at a time writes into: who that is stands in its lock, `.run.lock`.

The lock goes with its owner. Where the owner had no time to remove it (`kill -9`, a power cut), the next one
sees that the owner is dead and takes the lock over. Whether a process of this machine lives, the system
knows. Of another machine or container nobody can say, so an owner touches its lock as long as it lives, and
who finds a lock from elsewhere watches it for a while.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import (
    WriteError,
    blaming_the_disk,
    demand_room,
    guarding,
    make_folder,
    remove_scratch,
)

FILE = ".run.lock"
TOUCH_SECONDS = 10.0
WATCH_SECONDS = 60.0
"""Without a touch for so long, an owner elsewhere counts as dead."""
_POLL_SECONDS = 0.5
_held: set[Path] = set()
"""Folders that this process has locked."""


class LockedError(UserError):
    """Another process works in the folder; the message names it."""


@dataclass(frozen=True)
class Owner:
    """A process, as its lock describes it.

    Attributes:
        start: when it started, in whatever unit the system counts; numbers of processes are used again.
        namespace: of its number: containers on one host count for themselves.
        since: when it took the lock, for people.
    """

    host: str
    pid: int
    start: str
    namespace: str
    since: str

    @classmethod
    def this_process(cls) -> Owner:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()) or "", _namespace(), now)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether its number means something to this process."""
        return (self.host, self.namespace) == (socket.gethostname(), _namespace())


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Keeps other processes out of a folder, which is made; inside, the same process may lock it again.

    Raises:
        LockedError: a living process holds it; or inside, whenever something is to be written: it was moved,
            deleted, or taken over by another process.
        WriteError: nothing can be written there.
    """
    is_new = not Path(folder).exists()
    folder = make_folder(folder).resolve()
    if folder in _held:
        yield
        return
    file = folder / FILE
    owner = _take(file)
    _held.add(folder)
    done = threading.Event()
    touching = threading.Thread(target=_touch_until, args=(done, file), daemon=True)
    touching.start()
    try:
        with guarding(folder, lambda: _demand_held(file, owner)):
            yield
    finally:
        done.set()
        touching.join()
        _held.discard(folder)
        with contextlib.suppress(OSError):  # the disk may have gone meanwhile
            if _read(file) == owner:
                file.unlink(missing_ok=True)
            if is_new and not any(folder.iterdir()):  # nothing came of it
                folder.rmdir()


def _demand_held(file: Path, owner: Owner) -> None:
    try:
        if _parse(file.read_bytes()) == owner:
            return
        what = "another process has taken the folder over"
    except FileNotFoundError:
        what = "the folder was moved or deleted"
    except OSError:  # a disk that is away for a moment says so when it is written to
        return
    raise LockedError(
        f"{file.parent}: {what} while this process worked in it; nothing more is written. Resume it where "
        "it is now"
    )


def _take(file: Path) -> Owner:
    with _one_at_a_time(file.parent):
        if file.is_dir() and not file.is_symlink():
            raise WriteError(f"{file}: is a folder, where the lock of {file.parent} belongs; remove it")
        if os.path.lexists(file):
            owner = _read(file)
            if owner is not None and _lives(owner, file):
                raise LockedError(
                    f"{file.parent}: {owner} works here; wait for it, or choose another folder ({file})"
                )
            gone = "a process that left no name" if owner is None else str(owner)
            messages.print(f"{file.parent}: {gone}, is gone; its lock is taken over", soft_wrap=True)
            file.unlink(missing_ok=True)
            remove_scratch(file.parent)
        owner = Owner.this_process()
        _write(file, owner)
        return owner


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two that find a dead owner's lock must not both take it over."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(ImportError, OSError):  # neither Windows nor every network disk has it
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(file: Path, owner: Owner) -> None:
    contents = json.dumps(asdict(owner)) + "\n"
    demand_room(file, len(contents))
    try:
        with blaming_the_disk(file, file), open(file, "x", encoding="utf-8") as lock:
            lock.write(contents)
    except FileExistsError:
        raise LockedError(f"{file.parent}: another process has just begun here ({file})") from None


def _read(file: Path) -> Owner | None:
    """None where it was cut off, as by a power cut."""
    try:
        return _parse(file.read_bytes())
    except OSError:
        return None


def _parse(contents: bytes) -> Owner | None:
    try:
        owner = Owner(**json.loads(contents))
    except (ValueError, TypeError):
        return None
    types = {field.name: int if field.name == "pid" else str for field in fields(Owner)}
    return owner if all(type(getattr(owner, name)) is kind for name, kind in types.items()) else None


def _lives(owner: Owner, file: Path) -> bool:
    if owner.is_here:
        return _start_of(owner.pid) == owner.start
    messages.print(f"{file.parent}: {owner} held this folder; looking whether it lives", soft_wrap=True)
    before, end = _touched(file), time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        if _touched(file) != before:
            return True
    return False


def _touched(file: Path) -> int:
    """When it was touched, or went."""
    try:
        with open(file, "rb") as lock:  # opened, since network disks remember what they said of a file
            return os.fstat(lock.fileno()).st_mtime_ns
    except OSError:
        return 0


def _touch_until(done: threading.Event, file: Path) -> None:
    while not done.wait(TOUCH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(file)


def _start_of(pid: int) -> str | None:
    """None where there is no such process, or only what it left for its parent to read."""
    try:
        # Ticks since the boot: seconds since 1970 change with the clock. The name before may hold anything.
        stat = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return None if stat[0] in "ZX" else f"{boot} {stat[19]}"
    except FileNotFoundError:
        pass
    try:
        process = psutil.Process(pid)  # a system without /proc
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return None


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
