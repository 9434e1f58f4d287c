"""Experiments from their YAML files, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2net_tf.config.catalog import find_config
from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.utils.yaml_files import ConfigError, Document, did_you_mean, dump_model, read_document, validate

SCHEMAS = {"pose": ExperimentConfig, "detect": DetectorExperimentConfig}
"""By the key `task`, which configurations of poses leave out."""
AnyExperiment = ExperimentConfig | DetectorExperimentConfig
"""What a configuration file holds."""


def load_pose_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Reads an experiment of poses and applies `key=value` overrides such as `training.epochs=3`.

    Args:
        path: a YAML file, or the name of one in `configs/` of the working folder or of this package.
        overrides: `key=value` with dotted keys; numbers index lists (`data.train.0.root=/x`), and the
            value is YAML (`model.input_size=[128,96]`).

    Raises:
        ConfigError: no such file, one of a detector, or all its faults, one per line, with place, key and
            remedy.
    """
    config = load_config(path, overrides)
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"{find_config(path)}: is a detector's (task: detect), and one of poses is needed here; only "
            "`p2net train` and `p2net evaluate` take both"
        )
    return config


def load_config(path: str | Path, *overrides: str | Sequence[str]) -> AnyExperiment:
    """`load_pose_config` of any task: the key `task: detect` makes an experiment one of a detector.

    >>> config = load_config("p2net_small_lsp_128x128", "training.epochs=5", "seed=1")
    >>> config.training.epochs, config.seed, config.model.input_size
    (5, 1, (128, 128))

    Args:
        path: of the YAML file, or the name of one that ships.
        overrides: `key=value` each, or lists of such.

    Raises:
        ConfigError: no such file, or all its faults, one per line, with place, key and remedy.
    """
    changes = [[given] if isinstance(given, str) else given for given in overrides]
    document = read_document(find_config(path), [change for some in changes for change in some])
    return validate(_schema_of(document), document)


def dump_config(config: AnyExperiment, path: str | Path) -> None:
    """Writes the resolved configuration as YAML; `load_config` reads it back equal."""
    dump_model(config, path)


def _schema_of(document: Document) -> type[AnyExperiment]:
    task = document.tree.get("task", "pose")
    if not isinstance(task, str) or task not in SCHEMAS:
        raise ConfigError(
            f"{document.place(('task',))}: task: found '{task}'{did_you_mean(task, list(SCHEMAS))}"
        )
    if task == "pose":  # which is not written
        document.tree.pop("task", None)
    return SCHEMAS[task]
