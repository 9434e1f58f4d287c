"""Augmentation policies as YAML files: what search, tuner and people write, read and checked.

What they do to crops is in `augment.policies`; who only lists or checks them waits for no TensorFlow.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from p2net_tf.augment.operation_cards import LEVELS, OPERATION_CARDS, OPERATION_NAMES
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.yaml_files import ConfigError, did_you_mean, dump_text, load_model

SCHEMA_VERSION = 1
"""Of the YAML file; a file of another version is refused."""
BUILTIN_POLICIES = ("none", "hand_crafted", "random", "paper")

_FOLDER = Path(__file__).parent / "builtin"
_FILE_NAME = "policy.yaml"
_WITHOUT_LEVEL = {row.name for row in OPERATION_CARDS if row.low == "-"}

Level = Annotated[float, Field(ge=0, le=LEVELS, allow_inf_nan=False)]


class PolicyError(UserError):
    """A policy that cannot be used; the message names file, field and remedy."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, *values, **named):
        """Takes the fields by place or by name."""
        fields = list(type(self).model_fields)
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, not {len(values)}")
        super().__init__(**dict(zip(fields, values, strict=False)), **named)


class Stage(_Record):
    """One operation of a sub-policy.

    Attributes:
        operation: a name of `OPERATION_NAMES`.
        probability: with which the operation is applied, 0..1; else the stage does nothing.
        magnitude: level 0..10, which each operation maps to its own range.
        spread: the level is drawn uniformly from `magnitude` +- `spread`, then clipped to 0..10.
    """

    operation: str
    probability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    magnitude: Level
    spread: Level = 0.0

    @field_validator("operation")
    @classmethod
    def _in_the_table(cls, name: str) -> str:
        if name not in OPERATION_NAMES:
            raise ValueError(f"there is no operation '{name}'{did_you_mean(name, OPERATION_NAMES)}")
        return name

    def __str__(self) -> str:
        low, high = (
            max(0.0, self.magnitude - self.spread),
            min(LEVELS, self.magnitude + self.spread),
        )
        words = with_level(self.operation, f"{low:.3g}..{high:.3g}" if self.spread else f"{low:.3g}")
        return words if self.probability == 1 else f"{words}, p {self.probability:.3g}"


class PolicyFile(_Record):
    """A policy as its file has it: K sub-policies, one of which every sample draws with equal chances.

    Attributes:
        sub_policies: K tuples of at least one `Stage` each.
        name: for tables and captions.
        provenance: plain YAML values that say how the policy was made. Left without a date, so that the same
            seed writes the same file.
    """

    sub_policies: tuple[tuple[Stage, ...], ...]
    name: str = "policy"
    provenance: dict[str, Any] = {}

    @field_validator("sub_policies")
    @classmethod
    def _not_empty(cls, sub_policies):
        empty = [row for row, stages in enumerate(sub_policies) if not stages]
        if not sub_policies or empty:
            where = f"sub-policy {empty[0]}" if empty else "the policy"
            raise ValueError(f"{where} is empty; 'Identity' is the operation that does nothing")
        return sub_policies

    @field_validator("provenance")
    @classmethod
    def _plain(cls, provenance: dict) -> dict:
        """As it will be read back: lists for tuples, and nothing that YAML has no plain form for."""
        try:
            return json.loads(json.dumps(provenance))
        except TypeError as error:
            raise ValueError(f"only plain text, numbers, lists and mappings can be kept: {error}") from None

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Reads a policy.

        Args:
            source: a YAML file, a folder that holds a `policy.yaml`, or a name of `BUILTIN_POLICIES` (a name
                wins over a file of that name; write `./random` for the file).

        Raises:
            PolicyError: no such policy, or all faults of the file, one per line.
        """
        if str(source) in BUILTIN_POLICIES:
            return cls.at_random() if source == "random" else cls._read(_FOLDER / f"{source}.yaml")
        path = Path(source)
        path = path / _FILE_NAME if path.is_dir() else path
        if not path.is_file():
            known = did_you_mean(str(source), BUILTIN_POLICIES)
            raise PolicyError(f"policy '{source}': neither a file nor a built-in policy{known}")
        return cls._read(path)

    @classmethod
    def at_random(
        cls,
        stages: int = 2,
        magnitude: float = 5.0,
        spread: float = 5.0,
        operations: Sequence[str] = OPERATION_NAMES,
    ) -> Self:
        """RandAugment (Cubuk et al., 2020): every stage one of O operations with equal chances, and applied.

        Written out as all O ** N sequences, a uniform choice of which is just that.

        Args:
            stages: N.
            magnitude, spread: level of every stage; the default is uniform in 0..10.
        """
        rows = itertools.product([Stage(name, 1.0, magnitude, spread) for name in operations], repeat=stages)
        provenance = {
            "summary": f"RandAugment: {stages} of {len(operations)} operations at random",
            "made_by": "p2net_tf.augment.policies.random_policy",
            "stages": stages,
            "magnitude": magnitude,
            "spread": spread,
            "operations": list(operations),
        }
        return cls(sub_policies=tuple(rows), name="random", provenance=provenance)

    def save(self, path: str | Path) -> None:
        """Writes the YAML that `load` reads back equal; the same policy gives the same bytes."""
        write_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The contents of the file: a head, then each sub-policy with one stage per line."""
        head = {"schema_version": SCHEMA_VERSION, "name": self.name, "provenance": self.provenance}
        lines = ["sub_policies:"]
        for sub_policy in self.sub_policies:
            for number, stage in enumerate(sub_policy):
                values = ", ".join(f"{name}: {_scalar(value)}" for name, value in stage)
                lines.append(f"{'  - - ' if number == 0 else '    - '}{{{values}}}")
        return dump_text(head) + "\n".join(lines) + "\n"

    @property
    def stages(self) -> int:
        """N, of the longest sub-policy."""
        return max(map(len, self.sub_policies))

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            file = load_model(_Versioned, path)
        except ConfigError as error:
            raise PolicyError(str(error)) from None
        return cls(sub_policies=file.sub_policies, name=file.name, provenance=file.provenance)


def with_level(operation: str, level: str) -> str:
    """`Rotate 3`, but only `Equalize`: some operations have no magnitude."""
    return operation if operation in _WITHOUT_LEVEL else f"{operation} {level}"


class _Versioned(PolicyFile):
    """What a file holds: the policy and the version of its form."""

    schema_version: Literal[1]

    @field_validator("schema_version", mode="before")
    @classmethod
    def _known(cls, version):
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ValueError(
                f"version {version!r} is not {SCHEMA_VERSION}, the one that this p2net_tf reads; "
                "update p2net_tf, or make the policy anew"
            )
        return version


def _scalar(value) -> str:
    return value if isinstance(value, str) else repr(float(value))
