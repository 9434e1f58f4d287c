"""Pages of the reference that are written anew at every build: commands, configuration, public names."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Union, get_args, get_origin

import typer.cli
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx

PACKAGES = (
    "p2net_tf",
    "p2net_tf.layers",
    "p2net_tf.losses",
    "p2net_tf.models",
    "p2net_tf.detection.networks",
)
"""Those that hand on names in their `__all__`; what else there is, is found in its module."""


def write_pages(app: Sphinx) -> None:
    """A handler of `builder-inited`."""
    folder = Path(app.srcdir) / "docs/reference"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"commands": commands_page(), "configuration": configuration_page(), "names": names_page()}
    for name, text in pages.items():
        page = folder / f"{name}.md"
        # Sphinx reads a page again where its time has changed.
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Every verb of `p2net`, by typer's own documentation."""
    from p2net_tf.cli import app

    command = typer.main.get_command(app)
    text = typer.cli.get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="p2net", title="The command line"
    )
    # `\[` keeps rich from reading a style; here nothing does. Nor is there a highlighter of such a console.
    return text.replace("\\[", "[").replace("```console", "```text")


def configuration_page() -> str:
    """A table of every section of an experiment, and of a detector's."""
    from p2net_tf.config.detector import DetectorExperimentConfig
    from p2net_tf.config.experiment import ExperimentConfig

    seen = set()
    parts = [
        "# The configuration",
        "An experiment is one YAML file. `p2net config list` names those that ship, and `p2net config show "
        "NAME --resolved` prints every setting of one. On the command line any is changed by its path: "
        "`training.epochs=3`, `data.train.0.root=people`. A key that is not known is refused.",
        "## An experiment",
        *_tables(ExperimentConfig, "", seen),
        "## The training of a detector: `task: detect`",
        *_tables(DetectorExperimentConfig, "", seen),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(section: type[BaseModel], path: str, seen: set) -> Iterator[str]:
    """What `section` is, its settings, and the same of each section below it, outer ones first.

    Those in `seen` have been described already, where the links lead.
    """
    from p2net_tf.utils.schema_words import describe_expected

    meanings, rows, below = _meanings(section), [], []
    for name, field in section.model_fields.items():
        key = field.alias or name
        inner = _sections_in(field.annotation)
        place = f"{path}.{key}".lstrip(".")
        below += [(each, f"`{place}`" + _named(each)) for each in inner]
        takes = ", ".join(f"[{each.__name__}](#{_anchor(each)})" for each in inner)
        takes = takes or _cell(describe_expected(section, (key,)))
        rows.append(f"| `{key}` | {takes} | {_default(field, inner)} | {_cell(meanings.get(name, ''))} |")
    if section.__doc__:
        yield inspect.cleandoc(section.__doc__)
    yield "\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *rows])
    new = {each: title for each, title in below if each not in seen}
    seen.update(new)
    for each, title in new.items():
        yield f"({_anchor(each)})=\n### {title}"
        yield from _tables(each, title.split("`")[1], seen)


def _meanings(section: type[BaseModel]) -> dict[str, str]:
    """Setting -> the string that stands behind it, of this class and of those that it extends."""
    found = {}
    for base in reversed(section.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            found |= {
                statement.target.id: ast.literal_eval(behind.value)
                for statement, behind in zip(definition.body, definition.body[1:], strict=False)
                if isinstance(statement, ast.AnnAssign) and isinstance(behind, ast.Expr)
                if isinstance(behind.value, ast.Constant)
            }
    return found


def _sections_in(annotation) -> list[type[BaseModel]]:
    """Of a section, a list of sections, or a union of which a name picks one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _sections_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType, list, tuple):
        return [section for part in get_args(annotation) for section in _sections_in(part)]
    return []


def _named(section: type[BaseModel]) -> str:
    name = section.model_fields.get("name")
    choices = get_args(name.annotation) if name else ()
    return f" with `name: {choices[0]}`" if choices else ""


def _anchor(section: type[BaseModel]) -> str:
    return f"section-{section.__name__.lower()}"


def _default(field: FieldInfo, inner: list) -> str:
    if field.is_required():
        return "**required**"
    default = field.get_default(call_default_factory=True)
    if inner:
        return "" if default is not None and not isinstance(default, list) else "none"
    return f"`{_cell(str(list(default) if isinstance(default, tuple) else default))}`"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def names_page() -> str:
    """The names that packages hand on, each with the first sentence about it."""
    parts = ["# Public names"]
    for package in PACKAGES:
        module = import_module(package)
        parts += [f"## `{package}`", _first_words(module)]
        rows = [_name_row(package, name, getattr(module, name)) for name in sorted(module.__all__)]
        parts.append("\n".join(["| name | what it is |", "|---|---|", *filter(None, rows)]))
    return "\n\n".join(parts) + "\n"


def _name_row(package: str, name: str, value) -> str | None:
    if not hasattr(value, "__qualname__"):  # `__version__`, and the tables of networks
        return None
    return f"| {{py:obj}}`{name} <{value.__module__}.{value.__qualname__}>` | {_first_words(value)} |"


def _first_words(documented) -> str:
    return _cell((inspect.getdoc(documented) or "").partition("\n\n")[0])


def setup(app: Sphinx):
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
