"""The configurations that are found by their names, described by the comments at their heads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_bytes
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.resources import configs_folder
from p2net_tf.utils.yaml_files import ConfigError, did_you_mean

CONFIG_FOLDERS = (Path("configs"), configs_folder())
"""Where a configuration is looked for by its name: the working folder's own come first."""

_FIELD = re.compile(r"(Expect|Cost|Run|Detector boxes):\s+")


@dataclass(frozen=True)
class CatalogEntry:
    """A configuration and what its head says of it; a field that the head leaves out is empty.

    Attributes:
        name: by which `load_config` finds it.
        file: where it lies.
        summary: what it is.
        expect: which result, after which time.
        command: that runs it.
    """

    name: str
    file: Path
    summary: str
    expect: str
    command: str


def list_configs() -> list[CatalogEntry]:
    """By name; of two with one name the one that `find_config` finds."""
    files = _files()
    return [_entry(files[name]) for name in sorted(files)]


def find_config(path: str | Path) -> Path:
    """The file at `path`, or `<path>.yaml` in the first of `CONFIG_FOLDERS` that holds it.

    Raises:
        ConfigError: no such file; names the nearest configuration, or all there are.
    """
    path = as_path(path, "config")
    names = [path] if path.suffix in (".yaml", ".yml") else [path, path.with_name(f"{path.name}.yaml")]
    for candidate in [*names, *(folder / name for folder in CONFIG_FOLDERS for name in names)]:
        if candidate.is_file():
            return candidate
    raise ConfigError(f"no configuration file '{path}'{did_you_mean(path.stem, sorted(_files()))}")


def copy_config(file: Path, folder: str | Path, overwrite: bool = False) -> Path:
    """Copies a configuration with its comments into `folder`, which is made; returns the new file.

    Raises:
        UserError: a file of its name is there, and `overwrite` is False.
    """
    target = Path(folder) / file.name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: is there already; choose another folder, or overwrite it")
    write_bytes(target, file.read_bytes())
    return target


def _files() -> dict[str, Path]:
    """Name -> file of everything in `CONFIG_FOLDERS`."""
    return {file.stem: file for folder in reversed(CONFIG_FOLDERS) for file in folder.glob("*.yaml")}


def _entry(file: Path) -> CatalogEntry:
    fields = _head_fields(file.read_text(encoding="utf-8"))
    return CatalogEntry(file.stem, file, fields["summary"], fields.get("Expect", ""), fields.get("Run", ""))


def _head_fields(text: str) -> dict[str, str]:
    """Field -> its words on one line; what stands before the first field is the `summary`."""
    fields: dict[str, list[str]] = {"summary": []}
    current = "summary"
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.removeprefix("#").strip()
        if match := _FIELD.match(words):
            current, words = match[1], words[match.end() :]
            fields[current] = []
        fields[current].append(words.removesuffix("\\").strip())
    return {name: " ".join(filter(None, lines)) for name, lines in fields.items()}
