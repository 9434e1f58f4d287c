"""Pictures in folders, by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from p2net_tf.data.image_kinds import PICTURE_SUFFIXES


def files_of(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files of a folder with one of the suffixes, in the order of their names; none where it is none."""
    wanted = frozenset(suffixes)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if os.path.splitext(name)[1].lower() in wanted]


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their names."""
    return files_of(folder, PICTURE_SUFFIXES)
