"""The one way in which this project writes: files and folders are either whole or not there.

Whatever fails becomes a `WriteError`, one line that names the path and the bytes that are missing.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape

from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.paths import as_path

_SCRATCH = ".partial"
"""In the names of what is being written."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK = (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO)
"""What can befall a writer in the middle of a file."""
_MORE_ROOM = "make room, or choose another disk"


class WriteError(UserError):
    """Something that cannot be written; the message names the path, the bytes missing and the remedy."""


_guards: dict[Path, Callable[[], None]] = {}
"""Folder -> what must hold before anything is written below it."""


@contextmanager
def guarding(folder: Path, demand: Callable[[], None]) -> Iterator[None]:
    """Calls `demand` before this process writes a file below `folder`, a resolved path.

    A folder that somebody moves or takes over meanwhile would be made anew without a word.
    """
    _guards[folder] = demand
    try:
        yield
    finally:
        del _guards[folder]


def _demand_guards(path: Path) -> None:
    place = Path(os.path.realpath(path)) if _guards else path
    for folder, demand in list(_guards.items()):
        if place.is_relative_to(folder):
            demand()


@contextmanager
def replacing(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """A scratch file to write, which becomes `path` when the block ends, and vanishes when it fails.

    So a reader, or a crash, never sees half of a file. Makes missing folders; the scratch file has the suffix
    of `path`, for writers that choose their format by it.

    Args:
        size: bytes that will be written, where they are known; more than are free are refused before any is.

    Raises:
        WriteError: it cannot be written; what was there before stays.
    """
    path = as_path(path)
    _demand_guards(path)
    with _naming(path):
        demand_room(path, size or 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The scratch file lies beside its goal, because a rename is atomic only within one file system.
        handle, scratch = tempfile.mkstemp(f"{_SCRATCH}{path.suffix}", f".{path.name}.", path.parent)
        os.close(handle)
    try:
        with _naming(path, scratch, size, of_others=True):
            yield Path(scratch)
        with _naming(path, scratch, size):
            os.chmod(scratch, 0o666 & ~_umask())
            _write_through(scratch)
            os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


@contextmanager
def next_version(folder: str | Path) -> Iterator[Path]:
    """A scratch folder to fill, which becomes `folder/N` when the block ends, and vanishes when it fails.

    N counts up from 1 and is above every version that is there. Who watches `folder` for versions, as
    TF-Serving does, finds whole ones only: before its rename a version has a name that is no number. A killed
    process leaves such a scratch folder behind.

    Raises:
        WriteError: it cannot be written.
    """
    folder = make_folder(folder)
    with _naming(folder):
        scratch = Path(tempfile.mkdtemp(_SCRATCH, ".version.", folder))
    try:
        with _naming(folder, scratch, of_others=True):
            yield scratch
        with _naming(folder, scratch):
            os.chmod(scratch, 0o777 & ~_umask())
            for file in scratch.rglob("*"):
                if file.is_file():
                    _write_through(file)
            _rename_to_next(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def newest_version(folder: str | Path) -> Path | None:
    """The version folder with the highest number; None where there is none."""
    versions = [path for path in Path(folder).glob("*") if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=None)


def make_folder(folder: str | Path) -> Path:
    """Makes a folder, with those above it, where it is missing; returns it.

    Raises:
        WriteError: it cannot be made.
    """
    folder = as_path(folder, "folder")
    _demand_guards(folder)
    with _naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_bytes(path: str | Path, contents: bytes) -> None:
    """Writes a file atomically; makes missing folders.

    Raises:
        WriteError: it cannot be written; what was there before stays.
    """
    with replacing(path, len(contents)) as scratch, open(scratch, "wb") as file:
        file.write(contents)


def write_text(path: str | Path, text: str) -> None:
    r"""Writes a UTF-8 text file atomically; makes missing folders.

    File names that are no UTF-8 are written escaped, `\udce9`, which JSON and YAML read back as they were.

    Raises:
        WriteError: it cannot be written; what was there before stays.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def demand_writable(path: str | Path, is_folder: bool = True) -> None:
    """Refuses a place that cannot be written, before any work is done for it; makes nothing.

    Args:
        path: a folder to write into, whether it is there yet or not; or a file.

    Raises:
        WriteError: it lies under a file, on a read-only disk, or where nothing may be written.
    """
    path = as_path(path)
    with _naming(path):
        if os.path.lexists(path) and path.is_dir() != is_folder:
            code = errno.ENOTDIR if is_folder else errno.EISDIR
            raise OSError(code, os.strerror(code), str(path))
        place = path if is_folder else path.parent
        place = next(p for p in (place, *place.absolute().parents) if os.path.lexists(p))
        # Tried, not asked for: `os.access` knows neither the quotas nor the users of network storage.
        with tempfile.TemporaryFile(dir=place, prefix=".p2net."):
            pass


def demand_utf8(path: str | Path) -> None:
    """Refuses a place whose name TensorFlow's own writers cannot take.

    Raises:
        WriteError: a part of the name is no UTF-8.
    """
    try:
        str(Path(path).absolute()).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise WriteError(f"{shown}: is no UTF-8, which TensorFlow wants of a name; choose another") from None


def demand_room(path: str | Path, size: int) -> None:
    """Refuses what is known to be larger than the disk of `path` has free.

    Raises:
        WriteError: names the bytes that are missing.
    """
    free = _free(Path(path))
    if free is not None and size > free:
        raise WriteError(f"{path}: cannot be written: {_missing(size, free)}; {_MORE_ROOM}")


def remove_scratch(folder: str | Path) -> None:
    """Removes what killed processes left in `folder` of files that they were writing.

    Only for a folder that nobody else is writing into.
    """
    for scratch in Path(folder).glob(f".*.*{_SCRATCH}*"):
        if scratch.is_file():
            scratch.unlink(missing_ok=True)


def set_aside(path: str | Path, why: str) -> Path:
    """Renames a damaged file to `*.damaged`, says so, and returns its new path."""
    path = Path(path)
    aside = path.with_name(f"{path.name}.damaged")
    with _naming(path):
        path.replace(aside)
    messages.print(
        f"[yellow]damaged[/yellow] {escape(f'{path} ({why})')}; it is now {aside.name}", soft_wrap=True
    )
    return aside


@contextmanager
def blaming_the_disk(path: str | Path, scratch: str | Path) -> Iterator[None]:
    """Turns what the disk is to blame for into a `WriteError`, for writers that fill a folder of their own.

    Args:
        path: what it is going to be, for the message.
        scratch: where it is written.
    """
    with _naming(Path(path), scratch, of_others=True):
        yield


@contextmanager
def _naming(
    path: Path, scratch: str | Path | None = None, size: int | None = None, of_others: bool = False
) -> Iterator[None]:
    """Turns what fails into a `WriteError`.

    Args:
        scratch: what is being written.
        size: bytes that it should get, where they are known.
        of_others: the block is not ours, and some of what fails in it is no fault of the disk.
    """
    try:
        yield
    except WriteError as error:  # of a file in a folder that has another name soon
        raise WriteError(str(error).replace(str(scratch or path), str(path))) from error
    except Exception as error:
        code = _fault_of_the_disk(error, scratch) if of_others else getattr(error, "errno", None)
        if code is None:
            raise
        raise WriteError(f"{path}: cannot be written: {_why(path, error, code, scratch, size)}") from error


def _fault_of_the_disk(error: Exception, scratch: str | Path | None) -> int | None:
    """The `errno` of an error; None where something else than the disk is to blame."""
    if isinstance(error, OSError):
        ours = error.filename is not None and os.fsdecode(error.filename).startswith(os.fsdecode(scratch))
        if error.errno in _DISK or (ours and error.errno is not None):
            return error.errno
    # HDF5 and TensorFlow have errors of their own, which quote the system's words.
    return next((code for code in _FULL if os.strerror(code) in str(error)), None)


def _why(path: Path, error: Exception, code: int, scratch: str | Path | None, size: int | None) -> str:
    why = os.strerror(code)
    if code not in _FULL:
        place = getattr(error, "filename", None)
        where = f": {os.fsdecode(place)}" if place and scratch is None and Path(place) != path else ""
        return f"{why}{where}; choose another place, or change what is there"
    room = (_free(path) or 0) + (_bytes_in(scratch) if scratch is not None else 0)
    if size is None:
        # Who writes it does not say how much it will be.
        why += f": more than the {room:,} bytes that were free are needed"
    elif size > room:
        why += f": {_missing(size, room)}"
    else:
        why += f" for {size:,} bytes, though {room:,} are free: out of inodes, or of your quota"
    return f"{why}; {_MORE_ROOM}"


def _missing(size: int, free: int) -> str:
    return f"{size:,} bytes are needed, {free:,} are free, {size - free:,} are missing"


def _free(path: Path) -> int | None:
    """Bytes that are free on the disk of `path`, which need not exist; None where nobody knows."""
    for place in (path, *path.absolute().parents):
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            continue
        return usage.free if usage.total else None  # some network storage has no size
    return None


def _bytes_in(path: str | Path) -> int:
    files = Path(path).rglob("*") if os.path.isdir(path) else [Path(path)]
    return sum(file.stat().st_size for file in files if file.is_file())


def _write_through(path: str | Path) -> None:
    """The bytes must lie on the disk before the name does: a power cut would leave an empty file."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename_to_next(scratch: Path, folder: Path) -> None:
    while True:
        newest = newest_version(folder)
        target = folder / str(int(newest.name) + 1 if newest else 1)
        try:
            return os.rename(scratch, target)
        except OSError as error:
            # Another process took the number in between.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def _umask() -> int:
    """The permissions that new files lose; the system only tells them by setting them."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
