"""A pydantic schema in words: what a configuration key accepts, and what stands there instead."""

from __future__ import annotations

import types
from typing import Annotated, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

_SINGULAR = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}
_PLURAL = {int: "whole numbers", float: "numbers", str: "texts", bool: "true / false values"}


def describe_value(value) -> str:
    """What a user wrote, with its kind: `text 'abc'`, `the number 3`, `a list of 2`, ..."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a section with the keys {', '.join(map(str, value))}" if value else "an empty section"
    return f"text '{value}'"


def describe_expected(schema: type[BaseModel], path: tuple) -> str:
    """What `schema` accepts at `path`, e.g. `one of adam, adamw, sgd` or `a whole number above 0`."""
    annotation = _annotation_at(schema, path)[0]
    return _words(annotation)


def accepted_keys(schema: type[BaseModel], path: tuple) -> list[str]:
    """The keys of the section at `path`; none where `path` is not a section."""
    section = _bare(_annotation_at(schema, path)[0])
    return list(_fields(section)) if _is_section(section) else []


def accepted_tags(schema: type[BaseModel], path: tuple) -> list[str]:
    """The names of the sections that may stand at `path`, which is a union of such."""
    return list(_tagged(_bare(_annotation_at(schema, path)[0])))


def without_tags(schema: type[BaseModel], path: tuple) -> tuple:
    """`path` as it stands in the document: pydantic puts the tag of a chosen section between two keys."""
    keys = []
    for depth, key in enumerate(path):
        if key not in _tagged(_bare(_annotation_at(schema, path[:depth])[0])):
            keys.append(key)
    return tuple(keys)


def schema_prefix(schema: type[BaseModel], path: tuple) -> tuple:
    """`path` without the tags that pydantic appends for members of a union."""
    return path[: _annotation_at(schema, path)[1]]


def _annotation_at(schema, path: tuple) -> tuple[object, int]:
    """The annotation that `path` leads to, and how many of its keys the schema knows."""
    annotation = schema
    for depth, key in enumerate(path):
        bare = _bare(annotation)
        below = _below(bare, key)
        if below is None:
            return annotation, depth
        annotation = below
    return annotation, len(path)


def _below(bare, key):
    """The annotation of the entry `key` of a section, list, tuple or dict; None where there is none."""
    if _is_section(bare):
        field = _fields(bare).get(key)
        return field and Annotated[(field.annotation, *field.metadata, None)]
    if sections := _tagged(bare):
        return sections.get(key)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is list and isinstance(key, int):
        return arguments[0]
    if origin is tuple and isinstance(key, int):
        return arguments[0] if arguments[-1] is Ellipsis else (*arguments, *[None] * key)[key]
    return arguments[1] if origin is dict else None


def _tagged(bare) -> dict[str, object]:
    """The sections of a union that a name chooses from, by their names; empty for anything else."""
    members = get_args(bare) if get_origin(bare) in (Union, types.UnionType) else ()
    notes = [(note, member) for member in members for note in getattr(member, "__metadata__", ())]
    return {note.tag: member for note, member in notes if isinstance(note, Tag)}


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """By the keys that a file has."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _is_section(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation):
    """Without `Annotated` and `| None`; a union of several stays."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _words(annotation, limits: tuple = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], (*_flat(arguments[1:]), *limits))
    if annotation is type(None):
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(_words(member, limits) for member in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)} {_plural(arguments[0])}"
    if origin in (list, tuple):
        return f"a list of {_plural(arguments[0])}"
    if _is_section(annotation):
        return f"a section with keys of {', '.join(_fields(annotation))}"
    return _SINGULAR.get(annotation, getattr(annotation, "__name__", str(annotation))) + _range(limits)


def _plural(annotation) -> str:
    """Like `_words` for the entries of a list: `whole numbers above 0`."""
    if get_origin(annotation) is Annotated:
        arguments = get_args(annotation)
        return _plural(arguments[0]) + _range(_flat(arguments[1:]))
    if _is_section(annotation):
        return f"sections with keys of {', '.join(_fields(annotation))}"
    return _PLURAL.get(annotation, f"entries, each {_words(annotation)}")


def _flat(metadata) -> tuple:
    """Constraints, out of the `Field(...)` that may wrap them."""
    return tuple(
        limit for item in metadata for limit in (item.metadata if isinstance(item, FieldInfo) else [item])
    )


def _range(limits: tuple) -> str:
    words = []
    for limit in limits:
        for kind, name, word in (
            (annotated_types.Ge, "ge", "at least"),
            (annotated_types.Gt, "gt", "above"),
            (annotated_types.Le, "le", "at most"),
            (annotated_types.Lt, "lt", "below"),
        ):
            if isinstance(limit, kind):
                words.append(f"{word} {getattr(limit, name)}")
    return f" {' and '.join(words)}" if words else ""
