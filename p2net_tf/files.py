"""Files that are either whole or not there."""

from __future__ import annotations

import os
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
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def write_bytes(path: str | Path, contents: bytes) -> None:
    """Writes a file atomically; makes missing folders."""
    with replacing(path) as scratch:
        scratch.write_bytes(contents)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically; makes missing folders."""
    write_bytes(path, text.encode("utf-8"))


def _umask() -> int:
    """The permissions that new files lose; the system only tells them by setting them."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
