"""Where files of a run lie; those of earlier versions are refused in words, not by what fails first."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from p2net_tf.utils.exceptions import UserError

_WORDS_OF_0_1 = re.compile(
    r"^\s*(parallel_weight|refine_weight):|^\s*alignment: (pure|legacy)\b", re.MULTILINE
)


class RunError(UserError):
    """A run folder that cannot be used; the message names the remedy."""


def demand_current(config_file: Path) -> None:
    """Raises:
    RunError: p2net_tf 0.1 wrote this configuration of a run.
    """
    text = config_file.read_text(encoding="utf-8", errors="replace") if config_file.is_file() else ""
    if _WORDS_OF_0_1.search(text):
        raise RunError(
            f"{config_file.parent}: this run was begun by p2net_tf 0.1, which had other names for outputs, "
            "losses and alignments; finish it with that version (git checkout 3c16fe4), or start anew in "
            "another folder"
        )


def place_of(folder: Path, name: str, names: Collection[str]) -> Path:
    """Where the files of one source of a part lie: in a folder of its name where there are several."""
    return folder / name if len(names) > 1 else folder


def problems_file(out: Path, run: Path, part: str) -> str:
    """What the file of the problems of a part is called: that of the training lies in the run folder."""
    return f"problems_{part}.json" if out.resolve() == run.resolve() else "problems.json"
