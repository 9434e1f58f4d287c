"""The axes of an ablation, `NAME=V1,V2,...`, and what each value changes in the configuration.

| NAME | values | changes |
|---|---|---|
| a key such as `training.batch_size` | YAML | that key |
| `apm` | `on`, `off` | `model.apm` |
| `augmentation` | `hand_crafted`, a built-in policy, the file or folder of one | `policy`, to null or it |
| `model` | configurations | the `model` section, for the one of theirs; the size of the crops stays |
| `detector` | see `detectors` | nothing that is trained: the boxes of the part that is scored |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_pose_config
from p2net_tf.experiments.cells import ExperimentError, name_policy
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import did_you_mean

_BOOLEANS = {"on": "true", "off": "false"}


@dataclass(frozen=True)
class Value:
    """One value of an axis.

    Attributes:
        label: how tables name it.
        overrides: `key=value` for `load_pose_config`.
    """

    label: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """A choice; the first of its values is the baseline."""

    name: str
    values: tuple[Value, ...]

    @property
    def labels(self) -> list[str]:
        return [value.label for value in self.values]


def parse_axes(texts: Sequence[str], config: ExperimentConfig) -> list[Axis]:
    """Reads `NAME=V1,V2,...`; commas inside of brackets and quotes do not count.

    Args:
        config: what the axes change.

    Raises:
        ExperimentError: all faults of all axes, one per line.
    """
    axes, faults = [], []
    for text in texts:
        try:
            axes.append(_parse_axis(text, config))
        except UserError as error:
            faults += [f"axis {text}: {line}" for line in str(error).splitlines()]
    names = [axis.name for axis in axes]
    faults += [
        f"axis {name}: stands twice; give all its values in one"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if not texts:
        faults = ["axes: name at least one, such as apm=on,off"]
    if faults:
        raise ExperimentError("\n".join(faults))
    return axes


def choose_baseline(axes: Sequence[Axis], texts: Sequence[str]) -> list[Axis]:
    """The axes with the values that `NAME=VALUE` name as their first ones.

    Raises:
        ExperimentError: no such axis or value.
    """
    chosen = {axis.name: axis for axis in axes}
    for text in texts:
        name, _, label = text.partition("=")
        axis = chosen.get(name)
        if axis is None:
            raise ExperimentError(f"baseline {text}: no axis '{name}'{did_you_mean(name, list(chosen))}")
        if label not in axis.labels:
            known = did_you_mean(label, axis.labels)
            raise ExperimentError(f"baseline {text}: no value '{label}' of {name}{known}")
        first = axis.values[axis.labels.index(label)]
        chosen[name] = replace(axis, values=(first, *(value for value in axis.values if value != first)))
    return list(chosen.values())


def _parse_axis(text: str, config: ExperimentConfig) -> Axis:
    name, equals, words = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise ExperimentError("write NAME=V1,V2, for example apm=on,off or training.batch_size=16,32")
    if name in ("seed", "name"):
        raise ExperimentError(f"{name} is no axis; seeds are given on their own")
    keys = list(type(config).model_fields)
    if name not in _SHORT and "." not in name and name not in keys:
        raise ExperimentError(f"no axis '{name}'{did_you_mean(name, [*_SHORT, *keys])}")
    read = _SHORT.get(name, lambda word, _: Value(word, (f"{name}={word}",)))
    values = _read_values(_split(words), read, config)
    labels = [value.label for value in values]
    if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        raise ExperimentError(f"two values are called '{twice[0]}'; give each once")
    if len(values) < 2:
        raise ExperimentError("one value is no axis; give at least two, or set it as KEY=VALUE")
    return Axis(name, tuple(values))


def _split(words: str) -> list[str]:
    """As the entries of a YAML list, each as it was written."""
    try:
        # `on` and such stay text here, so it does not matter what kind of YAML this is.
        entries = yaml.compose(f"[{words}]", Loader=yaml.BaseLoader).value
    except yaml.YAMLError as error:
        raise ExperimentError(f"not a list of YAML values ({getattr(error, 'problem', error)})") from None
    return [words[entry.start_mark.index - 1 : entry.end_mark.index - 1].strip() for entry in entries]


def _read_values(words: Sequence[str], read: Callable, config: ExperimentConfig) -> list[Value]:
    values, faults = [], []
    for word in words:
        try:
            values.append(read(word, config))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise ExperimentError("\n".join(faults))
    return values


def _apm(word: str, _) -> Value:
    if word not in _BOOLEANS:
        raise ExperimentError(f"no value '{word}'; give on and off")
    return Value(word, (f"model.apm={_BOOLEANS[word]}",))


def _augmentation(word: str, _) -> Value:
    label, policy = name_policy(word)
    return Value(label, (f"policy={json.dumps(policy)}",))


def _model(word: str, config: ExperimentConfig) -> Value:
    section = load_pose_config(word).model.model_dump(mode="json")
    section["input_size"] = list(config.model.input_size)
    return Value(Path(word).stem, (f"model={json.dumps(section)}",))


def _detector(word: str, _) -> Value:
    # It knows this module, and of detectors most ablations know nothing.
    from p2net_tf.experiments.ablation.detectors import Source

    return Source.of(word)


_SHORT: dict[str, Callable[[str, ExperimentConfig], Value]] = {
    "apm": _apm,
    "augmentation": _augmentation,
    "detector": _detector,
    "model": _model,
}
