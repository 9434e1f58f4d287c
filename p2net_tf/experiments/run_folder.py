"""The configuration of a run folder; one of an earlier version is refused in words."""

from __future__ import annotations

import re
from pathlib import Path

from p2net_tf.config.loading import AnyExperiment, load_config
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import set_aside
from p2net_tf.utils.yaml_files import ConfigError

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


def read_config(file: Path) -> AnyExperiment | None:
    """The configuration that a run was begun with; None where there is none, or none that can be read."""
    if not file.is_file():
        return None
    try:
        return load_config(file)
    except ConfigError as error:
        set_aside(file, str(error))
        return None
