"""Experiments from their YAML files, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2net_tf.config.catalog import find_config
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.utils.yaml_files import dump_model, load_model


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Reads an experiment and applies `key=value` overrides such as `training.epochs=3`.

    Args:
        path: a YAML file, or the name of one in `configs/` of the working folder or of this package.
        overrides: `key=value` with dotted keys; numbers index lists (`data.train.0.root=/x`), and the
            value is YAML (`model.input_size=[128,96]`).

    Raises:
        ConfigError: no such file, or all its faults, one per line, with place, key and remedy.
    """
    return load_model(ExperimentConfig, find_config(path), overrides)


def dump_config(config: ExperimentConfig, path: str | Path) -> None:
    """Writes the resolved configuration as YAML; `load_config` reads it back equal."""
    dump_model(config, path)
