"""The grid of an ablation: every combination of the values of its axes, each a checked configuration."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.ablation.axes import Axis, Value
from p2net_tf.experiments.cells import ExperimentError, name_policy
from p2net_tf.utils.exceptions import UserError

_LONGEST = 255
"""Bytes of the name of a folder."""
Load = Callable[[list[str]], ExperimentConfig]
"""`overrides -> configuration`; raises a UserError that names all faults, one per line."""


def scored_part(config: ExperimentConfig) -> str | None:
    """What its networks are scored on: the test part, else the validation part, if there are any."""
    return next((part for part in ("test", "validation") if getattr(config.data, part)), None)


@dataclass(frozen=True)
class Setting:
    """One combination.

    Attributes:
        labels: axis -> value, in the order of the axes.
        config: of its trainings, but for the seed.
    """

    labels: dict[str, str]
    config: ExperimentConfig

    @property
    def name(self) -> str:
        return ", ".join(f"{axis}={label}" for axis, label in self.labels.items())

    @property
    def folder(self) -> str:
        """The name as one for a folder, whatever the order of the axes."""
        words = ",".join(f"{axis}={self.labels[axis]}" for axis in sorted(self.labels))
        return re.sub(r"[^\w.,=+-]", "_", re.sub(r"[\[\]{}\"' ]", "", words))

    @property
    def part(self) -> str | None:
        return scored_part(self.config)


@dataclass(frozen=True)
class Grid:
    """All combinations; the first is the baseline."""

    axes: Sequence[Axis]
    settings: Sequence[Setting]

    @property
    def baseline(self) -> Setting:
        return self.settings[0]


def make_grid(load: Load, axes: Sequence[Axis]) -> Grid:
    """Every combination of the values, checked.

    Args:
        load: the configuration that the axes change, with further overrides.

    Raises:
        ExperimentError: all faults of all combinations, one per line.
    """
    if faults := [fault for axis in axes for fault in _faults_of_axis(load, axis)]:
        raise ExperimentError("\n".join(faults))
    settings = []
    for values in itertools.product(*(axis.values for axis in axes)):
        labels = {axis.name: value.label for axis, value in zip(axes, values, strict=True)}
        config, found = _try(load, values)
        faults += [f"{Setting(labels, config).name}: {fault}" for fault in found]
        settings.append(Setting(labels, config))
    if not faults:
        faults = _faults_between(settings)
    if faults:
        raise ExperimentError("\n".join(faults))
    return Grid(axes, settings)


def _faults_of_axis(load: Load, axis: Axis) -> list[str]:
    """Of its values alone, so that they are named once and with their axis."""
    faults, labels = [], {}
    for value in axis.values:
        config, found = _try(load, [value])
        faults += [f"axis {axis.name}: {fault}" for fault in found]
        if config is None:
            continue
        twin = labels.setdefault(config.model_dump_json(), value.label)
        if twin != value.label:
            faults.append(f"axis {axis.name}: '{twin}' and '{value.label}' are the same; give one of them")
    return faults


def _try(load: Load, values: Sequence[Value]) -> tuple[ExperimentConfig | None, list[str]]:
    """The configuration and no faults, or None and its faults."""
    try:
        config = load([override for value in values for override in value.overrides])
        if config.policy is not None:
            name_policy(config.policy)
    except UserError as error:
        return None, str(error).splitlines()
    return config, []


def _faults_between(settings: Sequence[Setting]) -> list[str]:
    faults = [
        f"{setting.name}: neither data.test nor data.validation names a part to score"
        for setting in settings
        if setting.part is None
    ]
    scored = {(setting.part, setting.config.evaluation.metric) for setting in settings if setting.part}
    if len(scored) > 1:
        kinds = " and ".join(f"{metric} on the {part} part" for part, metric in sorted(scored))
        faults.append(f"{kinds} cannot stand in one table; take an axis that leaves the score alone")
    labels = {}
    for setting in settings:
        twin = labels.setdefault(setting.config.model_dump_json(), setting.name)
        if twin != setting.name:
            faults.append(f"'{twin}' and '{setting.name}' are the same; two axes change one key, take one")
            break
    folders = [setting.folder for setting in settings]
    if any(len(os.fsencode(folder)) > _LONGEST for folder in folders):
        faults.append(f"the names of the axes and their values are longer than {_LONGEST} bytes together")
    for folder in sorted({folder for folder in folders if folders.count(folder) > 1}):
        names = " and ".join(f"'{s.name}'" for s in settings if s.folder == folder)
        faults.append(f"{names} would share the folder {folder}; write one of them in another way")
    return faults
