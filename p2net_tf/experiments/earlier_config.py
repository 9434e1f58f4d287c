"""The configuration that a run was begun with."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.config.loading import AnyExperiment, load_config
from p2net_tf.utils.files import set_aside
from p2net_tf.utils.yaml_files import ConfigError


def read_config(file: Path) -> AnyExperiment | None:
    """The configuration in a run folder; None where there is none, or none that can be read."""
    if not file.is_file():
        return None
    try:
        return load_config(file)
    except ConfigError as error:
        set_aside(file, str(error))
        return None
