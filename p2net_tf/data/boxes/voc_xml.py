"""One annotation file of Pascal VOC's form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from p2net_tf.data.annotations.values import is_set, number

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocFault(ValueError):
    """Why a file cannot be read: `(detail, remedy)`."""


@dataclass(frozen=True, slots=True)
class VocObject:
    """One object.

    Attributes:
        corners: `[4]` xmin, ymin, xmax, ymax as they stand; NaN where one is missing.
        polygon: whether they are the extent of one.
        fault: which corner is no number, and what stands there; "" where all are.
    """

    name: str | None
    corners: np.ndarray
    difficult: bool
    polygon: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class VocFile:
    """What the file `path` says of a picture: its name, its size (zeros where it does not), its objects."""

    path: Path
    filename: str | None
    size: tuple[float, float]
    objects: tuple[VocObject, ...]


def read_voc_file(path: Path) -> VocFile:
    """Parses one file.

    Raises:
        VocFault: it is no such file.
    """
    root = _parsed(path)
    if root.tag.lower() != "annotation":
        raise VocFault(f"its root is <{root.tag[:40]}>, not <annotation>", "give Pascal VOC's form")
    size = _child(root, "size")
    width, height = (_number(_child(size, name)) for name in ("width", "height"))
    return VocFile(
        path,
        _text(_child(root, "filename")) or None,
        (width, height) if width > 0 and height > 0 else (0.0, 0.0),
        tuple(_object(node) for node in _children(root, "object")),
    )


def _parsed(path: Path) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    # Entities can grow to gigabytes, and no annotation needs them.
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise VocFault(f"cannot be read ({error.strerror})", "bring it there") from None
    except expat.ExpatError as error:
        words = expat.ErrorString(error.code)
        where = f"line {error.lineno}, column {error.offset + 1}"
        raise VocFault(f"no XML at {where}: {words}", "was the file cut off?") from None
    except VocFault:
        raise
    except (ValueError, LookupError) as error:  # of encodings that Python does not know
        raise VocFault(f"cannot be decoded ({error})", "save it as UTF-8") from None
    return builder.close()


def _refuse_entities(name: str, *_: Any) -> None:
    raise VocFault(f"declares an entity '{name[:40]}'", "write the text itself in its place")


def _object(node: Element) -> VocObject:
    box, polygon = _child(node, "bndbox"), _child(node, "polygon")
    corners = np.asarray([_number(_child(box, name)) for name in _CORNERS])
    drawn = box is None and polygon is not None
    values = {name: _text(_child(box, name)) for name in _CORNERS}
    return VocObject(
        _text(_child(node, "name")) or None,
        _extent(polygon) if drawn else corners,
        is_set(_text(_child(node, "difficult"))),
        drawn,
        "" if drawn or not np.isnan(corners).any() else _fault(box, values),
    )


def _fault(box: Element | None, values: dict[str, str]) -> str:
    if box is None:
        return "has no bndbox"
    name, text = next((name, text) for name, text in values.items() if number(text) is None)
    return f"{name} is {text!r:.30}, no finite number" if text else f"has no {name}"


def _extent(polygon: Element) -> np.ndarray:
    """Around points `<x1>, <y1>, <x2> ...`, or `<pt><x>, <y></pt> ...`."""
    values: dict[str, list[float]] = {"x": [], "y": []}
    for node in polygon.iter():
        axis = node.tag[:1].lower()
        if axis in values and (node.tag[1:].isdigit() or len(node.tag) == 1):
            values[axis].append(_number(node))
    if not values["x"] or not values["y"]:
        return np.full(4, np.nan)
    ends = [function(values[axis]) for function in (np.min, np.max) for axis in ("x", "y")]
    return np.asarray(ends)


def _children(node: Element, name: str) -> Iterator[Element]:
    return (child for child in node if child.tag.lower() == name)


def _child(node: Element | None, name: str) -> Element | None:
    return None if node is None else next(_children(node, name), None)


def _text(node: Element | None) -> str:
    return "" if node is None else (node.text or "").strip()


def _number(node: Element | None) -> float:
    """NaN where there is none."""
    found = number(_text(node))
    return np.nan if found is None else found
