"""From a YAML file, environment variables and `key=value` overrides to a validated pydantic model.

Every value remembers where it stands (`file:line` or the override that set it), so that an error
names the place, the key, what was found there and what belongs there.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.schema_words import (
    accepted_keys,
    accepted_tags,
    describe_expected,
    describe_value,
    schema_prefix,
    without_tags,
)

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]
Probability = Annotated[float, Field(ge=0, le=1)]
"""Of a setting: 0..1, both included."""

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class ConfigError(UserError):
    """A configuration that cannot be used; the message names file, key and remedy."""


class Section(BaseModel):
    """A part of a configuration: unknown keys are faults, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load_model(schema: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """Reads the YAML file at `path` as `read_document` does, and validates it against `schema`.

    Raises:
        ConfigError: naming all faults at once, one per line.
    """
    return validate(schema, read_document(path, overrides))


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Reads the YAML file at `path`, applies the overrides and expands variables.

    A missing `name` becomes the stem of the file.

    Raises:
        ConfigError: it cannot be read, or an override does not fit.
    """
    document = Document.read(path)
    for override in overrides:
        document.override(override)
    document.expand_variables()
    document.tree.setdefault("name", path.stem)
    return document


def validate(schema: type[Model], document: Document) -> Model:
    """The values of `document` as a `schema`, whose validators find the whole document in their context.

    Raises:
        ConfigError: naming all faults at once, one per line.
    """
    try:
        return schema.model_validate(document.tree, context=document.tree)
    except ValidationError as error:
        faults = dict.fromkeys(_explain(schema, document, fault) for fault in error.errors())
        raise ConfigError("\n".join(faults)) from None


def dump_model(model: BaseModel, path: str | Path) -> None:
    """Writes `model` as YAML that `load_model` reads back equal. Makes missing folders; never half a file."""
    write_text(path, dump_text(model.model_dump(mode="json", by_alias=True)))


def dump_text(tree: dict) -> str:
    """Plain values as YAML that `load_model` reads back equal, keys in their order."""
    return yaml.dump(_escape_variables(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def did_you_mean(word: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(word), candidates, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(candidates)}" if candidates else ""


def dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


class Document:
    """The plain values of a YAML file with the place of each.

    Attributes:
        tree: nested dicts, lists and scalars; the root is a dict.
        places: `file:line` or the override, by key path; without an entry a value stands where
            its parent does.
    """

    def __init__(self, text: str, source: str):
        self.source = source
        self.places: dict[KeyPath, str] = {(): f"{source}:1"}
        try:
            root = _compose(text, source)
            self.tree = {} if root is None else self._plain(root, ())
        except RecursionError:
            raise ConfigError(
                f"{source}:1: an alias stands within its own anchor, without an end; write the value out"
            ) from None
        if not isinstance(self.tree, dict):
            raise ConfigError(
                f"{source}:1: a configuration is a mapping of keys, not {describe_value(self.tree)}"
            )

    @classmethod
    def read(cls, path: Path) -> Document:
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None

    @classmethod
    def of_tree(cls, tree: dict, source: str) -> Document:
        """Plain values that have no lines, such as those of a JSON file."""
        document = cls("", source)
        document.tree, document.places = tree, {(): source}
        return document

    def place(self, path: KeyPath) -> str:
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def value(self, path: KeyPath):
        """The value at `path`, which exists."""
        value = self.tree
        for key in path:
            value = value[key]
        return value

    def override(self, text: str) -> None:
        """Applies one `dotted.key=value`; numbers in the key index lists, the value is YAML.

        Raises:
            ConfigError: no `=`, an index outside of its list, a key below a plain value, or broken YAML.
        """
        place = f"override '{text}'"
        key, equals, raw = text.partition("=")
        parts = tuple(int(part) if part.isdigit() else part for part in key.strip().split("."))
        if not equals or "" in parts:
            raise ConfigError(f"{place}: write key=value, for example training.epochs=3")
        node = _compose(raw, place)
        value = None if node is None else _construct(node, place)
        parent = self._parent_for_override(parts, place)
        parent[parts[-1]] = value
        self.places = {path: at for path, at in self.places.items() if path[: len(parts)] != parts}
        self.places[parts] = place

    def expand_variables(self) -> None:
        """Replaces `${VARIABLE}` and `${VARIABLE:-default}` in strings; `$${` stands for a literal `${`."""
        for path, value in list(_leaves(self.tree)):
            if isinstance(value, str) and "${" in value:
                self.value(path[:-1])[path[-1]] = self._expanded(value, path)

    def _expanded(self, text: str, path: KeyPath) -> str:
        def substitute(match: re.Match) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return escaped
            value = os.environ.get(name)
            if value or (value is not None and default is None):
                return value
            if default is None:
                raise ConfigError(
                    f"{self.place(path)}: {dotted(path)}: environment variable {name} is not set; "
                    f"set it, or write ${{{name}:-default}}"
                )
            return default

        return _VARIABLE.sub(substitute, text)

    def _parent_for_override(self, parts: KeyPath, place: str) -> dict | list:
        """The container that holds `parts[-1]`; sections that the file leaves out are made on the way."""
        container = self.tree
        for depth, part in enumerate(parts):
            above = dotted(parts[:depth])
            if isinstance(container, list):
                if not isinstance(part, int) or part >= len(container):
                    raise ConfigError(
                        f"{place}: {above} is a list of {len(container)}, it has no entry '{part}'"
                    )
            elif not isinstance(container, dict):
                raise ConfigError(f"{place}: {above} is {describe_value(container)}, it has no key '{part}'")
            elif isinstance(part, int):
                raise ConfigError(f"{place}: the file has no list '{above}' to index; give the whole value")
            if depth == len(parts) - 1:
                return container
            container = self._section(container, part, parts[: depth + 1], parts[depth + 1], place)
        raise AssertionError("an override has at least one key")

    def _section(self, container, part, path: KeyPath, following: str | int, place: str):
        missing = isinstance(container, dict) and container.get(part) is None
        if missing and not isinstance(following, int):
            container[part] = {}
            self.places[path] = place
        return container.get(part, {}) if isinstance(container, dict) else container[part]

    def _plain(self, node: yaml.Node, path: KeyPath):
        """The value of a node; notes the lines of everything below it."""
        self.places.setdefault(path, f"{self.source}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return _construct(node, self.place(path))
        self._check_keys(node)
        try:
            _Loader("").flatten_mapping(node)  # resolves `<<: *anchor`
        except yaml.constructor.ConstructorError as error:
            line = (error.problem_mark or node.start_mark).line + 1
            raise ConfigError(
                f"{self.source}:{line}: `<<` takes a section or a list of sections; name an anchor of one"
            ) from None
        values = {}
        for key, value in node.value:
            name = str(key.value)
            self.places[(*path, name)] = f"{self.source}:{key.start_mark.line + 1}"
            values[name] = self._plain(value, (*path, name))
        return values

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.source}:{line}: a list or section stands as a key; a key is a word")
            if key.value in seen:
                raise ConfigError(
                    f"{self.source}:{line}: key '{key.value}' stands twice, "
                    f"first in line {seen[key.value]}; keep one"
                )
            seen[key.value] = line


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of version 1.2: `1e-3` is a number, `on` and `2024-01-01` are text."""

    yaml_implicit_resolvers: dict = {}


class _Dumper(yaml.SafeDumper):
    """Short lists on one line; quotes whatever YAML 1.1 or `_Loader` would not read back as text."""

    def ignore_aliases(self, data):
        return True

    def represent_list(self, data):
        flow = not any(isinstance(item, dict | list) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_NUMERALS = "-+.0123456789"
_FLOAT = r"[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9]\d*)|0x[\da-fA-F]+", _NUMERALS),
    "float": (_FLOAT, _NUMERALS),
    "merge": (r"<<", "<"),
}
for _tag, (_pattern, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), list(_starts))
_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^({_FLOAT})$"), list(_NUMERALS))


def _construct(node: yaml.Node, place: str):
    try:
        return _Loader("").construct_document(node)
    except (yaml.constructor.ConstructorError, ValueError) as error:
        why = getattr(error, "problem", None) or error
        raise ConfigError(f"{place}: not a plain YAML value ({why})") from None


def _compose(text: str, place: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{place}:{mark.line + 1}" if mark and not place.startswith("override") else place
        raise ConfigError(f"{where}: not valid YAML ({error.problem or error.context})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: not valid YAML ({error})") from None
    except RecursionError:
        raise ConfigError(f"{place}: nested too deeply; a value is a few lists deep") from None


def _leaves(value, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _escape_variables(value):
    if isinstance(value, dict):
        return {key: _escape_variables(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape_variables(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _explain(schema: type[BaseModel], document: Document, fault: dict) -> str:
    """One pydantic fault as a sentence with its place, key and remedy."""
    loc, kind = tuple(fault["loc"]), fault["type"]
    path = without_tags(schema, loc)
    if kind == "missing" and isinstance(path[-1], str):
        return f"{document.place(path[:-1])}: required key '{dotted(path)}' is missing"
    if kind == "extra_forbidden":
        known = did_you_mean(path[-1], accepted_keys(schema, loc[:-1]))
        return f"{document.place(path)}: unknown key '{dotted(path)}'{known}"
    if kind == "union_tag_invalid":
        path = (*path, "name")
        known = did_you_mean(document.value(path), accepted_tags(schema, loc))
        return f"{document.place(path)}: {dotted(path)}: found '{document.value(path)}'{known}"
    loc = schema_prefix(schema, loc)
    path = without_tags(schema, loc)
    missing = len(path) - len(_present_prefix(document.tree, path))
    loc, path = loc[: len(loc) - missing], path[: len(path) - missing]
    where = f"{document.place(path)}: {dotted(path) or 'configuration'}"
    if kind == "value_error":
        return f"{where}: {fault['ctx']['error']}"
    return f"{where}: found {describe_value(document.value(path))}, expected {describe_expected(schema, loc)}"


def _present_prefix(tree, path: KeyPath) -> KeyPath:
    """The part of `path` that leads to a value: a list that is too short is the fault of the list."""
    value = tree
    for depth, key in enumerate(path):
        inside = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not inside and not (isinstance(value, dict) and key in value):
            return path[:depth]
        value = value[key]
    return path
