"""Checkpoint files: whole or not there, checked when they are read, the newest few kept.

A checkpoint is one `.npz` file with the SHA-256 of all its bytes behind them, so a file that was cut off or
damaged anywhere cannot be taken for a good one.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import WriteError, replacing, set_aside

_PATTERN = "step_*.npz"
_DIGEST = hashlib.sha256
_DIGEST_BYTES = _DIGEST().digest_size
_MEMBER_BYTES = 300
"""Heads of NumPy and ZIP around an array."""


class CheckpointError(UserError):
    """A checkpoint that cannot be written or used; the message names file and remedy."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are; made when the first one is saved.
        keep: how many of the newest to keep.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self._folder, self._keep = Path(folder), keep

    def save(self, step: int, arrays: dict[str, np.ndarray]) -> Path:
        """Writes the checkpoint of a step and removes the oldest ones beyond `keep`.

        Raises:
            CheckpointError: it cannot be written, say because the disk is full. Those before it stay.
        """
        path = self._folder / f"step_{step:09d}.npz"
        try:
            with replacing(path, checkpoint_size(arrays)) as scratch, open(scratch, "w+b") as file:
                np.savez(file, **arrays)
                file.seek(0)
                file.write(hashlib.file_digest(file, _DIGEST).digest())
        except WriteError as error:
            last = max(self._files(), default=None)
            # Where this very step was saved before, its file stays as it was.
            left = f"; what was saved at step {int(last.stem[5:])} is whole ({last})" if last else ""
            raise CheckpointError(f"{error}, and resume the run{left}") from error
        for old in sorted(self._files())[: -self._keep]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> tuple[Path, dict[str, np.ndarray]] | None:
        """The newest checkpoint that is whole; None where there is none.

        A damaged one is named in a warning, renamed to `*.damaged`, and the one before it taken.
        """
        self._clean_up()
        for path in sorted(self._files(), reverse=True):
            try:
                return path, _read(path)
            except (OSError, ValueError) as error:
                set_aside(path, f"{error}; the checkpoint before it is taken")
        return None

    def exist(self) -> bool:
        """Whether there is any, damaged or not."""
        return bool(self._files())

    def _files(self) -> list[Path]:
        return list(self._folder.glob(_PATTERN))

    def _clean_up(self) -> None:
        """Removes what a killed process left of a checkpoint that it was writing."""
        for scratch in self._folder.glob(f".{_PATTERN}.*.partial.npz"):
            scratch.unlink(missing_ok=True)


def checkpoint_size(arrays: dict[str, np.ndarray]) -> int:
    """Bytes of the file that holds `arrays`: a ZIP, which has the name of every member twice."""
    members = sum(np.asarray(value).nbytes + 2 * len(name) for name, value in arrays.items())
    return members + _MEMBER_BYTES * len(arrays) + _DIGEST_BYTES


def _read(path: Path) -> dict[str, np.ndarray]:
    """Raises:
    ValueError: these are not the bytes that were written, or there are pickles among them.
    """
    contents = path.read_bytes()
    body, digest = contents[:-_DIGEST_BYTES], contents[-_DIGEST_BYTES:]
    if _DIGEST(body).digest() != digest:
        raise ValueError("its checksum does not match")
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
