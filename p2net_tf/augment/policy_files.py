"""What the files of policies have in common, sub-policies or schedule: their parts, and how they are read.

Who only lists or checks policies waits for no TensorFlow: what a policy does to crops is in
`augment.policy_draws`, and what a schedule does in `augment.scheduled_draws`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from p2net_tf.augment.operation_cards import LEVELS, OPERATION_NAMES
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.yaml_files import ConfigError, Document, did_you_mean, read_document, validate

SCHEMA_VERSION = 1
"""Of the YAML file; a file of another version is refused."""
BUILTIN_POLICIES = ("none", "hand_crafted", "random", "paper")

_FILE_NAME = "policy.yaml"


def _in_the_table(name: str) -> str:
    if name not in OPERATION_NAMES:
        raise ValueError(f"there is no operation '{name}'{did_you_mean(name, OPERATION_NAMES)}")
    return name


def _plain(provenance: dict) -> dict:
    """As it will be read back: lists for tuples, and nothing that YAML has no plain form for."""
    try:
        return json.loads(json.dumps(provenance))
    except TypeError as error:
        raise ValueError(f"only plain text, numbers, lists and mappings can be kept: {error}") from None


Level = Annotated[float, Field(ge=0, le=LEVELS, allow_inf_nan=False)]
Chance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OperationName = Annotated[str, AfterValidator(_in_the_table)]
Provenance = Annotated[dict[str, Any], AfterValidator(_plain)]

FileContents = TypeVar("FileContents", bound=BaseModel)


class PolicyError(UserError):
    """A policy that cannot be used; the message names file, field and remedy."""


class Record(BaseModel):
    """A part of a policy: frozen, of known fields alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, *values, **named):
        """Takes the fields by place or by name."""
        fields = list(type(self).model_fields)
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, not {len(values)}")
        super().__init__(**dict(zip(fields, values, strict=False)), **named)


class Versioned(BaseModel):
    """The version of a file's form."""

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


def policy_file(source: str | Path) -> Path:
    """The file itself, or the one in a folder.

    Raises:
        PolicyError: there is none.
    """
    path = as_path(source, "policy")
    path = path / _FILE_NAME if path.is_dir() else path
    if not path.is_file():
        known = did_you_mean(str(source), [*BUILTIN_POLICIES, *OPERATION_NAMES])
        raise PolicyError(f"policy '{source}': neither a file nor a built-in policy{known}")
    return path


def read_policy_file(path: Path) -> Document:
    """Raises:
    PolicyError: it cannot be read, or is no YAML.
    """
    try:
        return read_document(path)
    except ConfigError as error:
        raise PolicyError(str(error)) from None


def fill(kind: type[FileContents], document: Document) -> FileContents:
    """The values of a file as a `kind`.

    Raises:
        PolicyError: all faults of the file, one per line.
    """
    try:
        return validate(kind, document)
    except ConfigError as error:
        raise PolicyError(str(error)) from None


def is_schedule(document: Document) -> bool:
    """Told by its form: a schedule has knots, a policy has sub-policies."""
    return "knots" in document.tree and "sub_policies" not in document.tree


def on_one_line(record: Record) -> str:
    """`{operation: Rotate, probability: 0.5, ...}`: as it stands in a file."""
    return f"{{{', '.join(f'{name}: {_scalar(value)}' for name, value in record)}}}"


def _scalar(value) -> str:
    return value if isinstance(value, str) else repr(float(value))
