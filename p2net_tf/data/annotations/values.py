"""Single values of annotation files. What has one sensible reading is read; everything else is None."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_SEPARATORS = re.compile(r"[\s,;]+")
_WHOLE = re.compile(r"^(-?\d+)\.0+$")
_NO = frozenset({"", "0", "0.0", "false", "f", "no", "n", "none", "null", "nan"})


def number(value: Any) -> float | None:
    """A finite number, also as text; None for anything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def numbers(values: Any, count: int) -> np.ndarray | None:
    """`[count]` float64 of a list of finite numbers, also as text; None where it is no such list."""
    values = as_list(values)
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    found = [number(value) for value in values]
    return None if None in found else np.asarray(found, np.float64)


def are_plain(values: Any, count: int) -> bool:
    """Whether they are a list of `count` numbers, the common case, which may be read in bulk."""
    return isinstance(values, list) and len(values) == count and set(map(type, values)) <= {int, float}


def bulk_numbers(lists: Sequence[list]) -> np.ndarray | None:
    """`[n, count]` float64 of lists that are plain; None where a whole number among them fits no float."""
    try:
        return np.asarray(lists, np.float64)
    except OverflowError:
        return None


def as_list(value: Any) -> Any:
    """The list (or object) that a text holds, as JSON or between separators: `"[1, 2]"`, `"1 2"`, `"1,2"`."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return value
    parts = [part for part in _SEPARATORS.split(text) if part]
    return parts if len(parts) > 1 else value


def is_set(value: Any) -> bool:
    """A flag such as `iscrowd`, also as text: `"0"` and `"false"` are not set."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO
    return bool(value) and value == value  # NaN is no flag


def key(value: Any) -> str | None:
    """What an id is compared by: 7, 7.0, "7" and " 7 " are one id. None where it is no id."""
    if type(value) is int:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    text = str(value).strip()
    return _WHOLE.sub(r"\1", text) or None


def same_id(value: Any) -> int | str | None:
    """What an id is: a whole number, also as text, or a text; None where it is no id."""
    found = key(value)
    number_ = whole(found)
    return found if number_ is None else number_


def whole(text: str | None) -> int | None:
    """The whole number that an id is, leading zeros allowed (`000004`); None where it is another text."""
    if text is None or not re.fullmatch(r"-?\d{1,19}", text):
        return None
    found = int(text)
    return found if abs(found) < 2**63 else None
