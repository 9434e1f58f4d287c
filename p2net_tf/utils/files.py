"""Files and folders that are either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A scratch file to write, which becomes `path` when the block ends, and vanishes when it fails.

    So a reader, or a crash, never sees half of a file. Makes missing folders; the scratch file has the suffix
    of `path`, for writers that choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The scratch file lies beside its goal, because a rename is atomic only within one file system.
    handle, scratch = tempfile.mkstemp(f".partial{path.suffix}", f".{path.name}.", path.parent)
    os.close(handle)
    try:
        yield Path(scratch)
        os.chmod(scratch, 0o666 & ~_umask())
        _write_through(scratch)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


@contextmanager
def next_version(folder: str | Path) -> Iterator[Path]:
    """A scratch folder to fill, which becomes `folder/N` when the block ends, and vanishes when it fails.

    N counts up from 1 and is above every version that is there. Who watches `folder` for versions, as
    TF-Serving does, finds whole ones only: before its rename a version has a name that is no number. A killed
    process leaves such a scratch folder behind.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(".partial", ".version.", folder))
    try:
        yield scratch
        os.chmod(scratch, 0o777 & ~_umask())
        _rename_to_next(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def newest_version(folder: str | Path) -> Path | None:
    """The version folder with the highest number; None where there is none."""
    versions = [path for path in Path(folder).glob("*") if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=None)


def write_bytes(path: str | Path, contents: bytes) -> None:
    """Writes a file atomically; makes missing folders."""
    with replacing(path) as scratch:
        scratch.write_bytes(contents)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically; makes missing folders."""
    write_bytes(path, text.encode("utf-8"))


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
