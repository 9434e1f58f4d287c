"""The keypoints of one person, in whatever form a file has them.

| in the file | read as |
|---|---|
| `[x, y, v, ...]`, `[x, y, ...]`, both nested, objects `{x, y, v}` in order or by name | `[K, 3]` |
| a coordinate that is null or NaN, both of them -1, or 0 of several, a negative visibility | not labeled |
| no visibility | visible, where x, y lie inside of the image and are not both 0 |
| true, false | visible, not labeled |
| a fraction | a confidence: from 0.5 on visible (so is 1 beside fractions), below occluded, 0 not labeled |
| 3 | occluded (self-occluded in some sets) |
| words such as `occluded` | what they say |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from p2net_tf.data.annotations.keypoint_names import match_names
from p2net_tf.data.annotations.values import are_plain, as_list, number
from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED, VISIBLE

CONFIDENT = 0.5
_SELF_OCCLUDED = 3
_NOWHERE = -1.0
"""What x and y both are of placeholders; 0, too, where more than one of a person is there."""
_WORDS = {
    "visible": VISIBLE, "occluded": OCCLUDED, "hidden": OCCLUDED, "invisible": OCCLUDED,
    "not visible": OCCLUDED,
    "true": VISIBLE, "false": NOT_LABELED, "absent": NOT_LABELED, "missing": NOT_LABELED, "none": NOT_LABELED,
    "not labeled": NOT_LABELED, "unlabeled": NOT_LABELED, "outside": NOT_LABELED, "": np.nan,
}  # fmt: skip
_VISIBILITY_FIELDS = ("v", "visibility", "visible", "vis", "flag", "confidence", "conf", "score")

Fault = tuple[str, str, str]
"""Kind, detail and remedy of a problem."""


class KeypointFault(ValueError):
    """Keypoints that have no sensible reading; `args` is a `Fault`."""


def is_standard(values: Any, count: int) -> bool:
    """Whether they are `count` triples of plain numbers, the common case, which is then read in bulk."""
    return are_plain(values, 3 * count)


def are_placeholders(xy: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """`[..., n]` bool: `[..., n, 2]` x and y of keypoints that nobody has labeled, whatever the flag says.

    One joint of a person may lie in the corner of a picture, two cannot.
    """
    nowhere, corner = (np.all(xy == value, axis=-1) for value in (_NOWHERE, 0.0))
    corner &= visibility > NOT_LABELED
    return nowhere | (corner & (corner.sum(axis=-1, keepdims=True) > 1))


def read_keypoints(values: Any, names: Sequence[str], size: Sequence[float], rules: Counter) -> np.ndarray:
    """`[n, 3]` x, y, visibility 0, 1, 2 of the `n` keypoints of a file, in the file's pixels.

    Args:
        values: the field `keypoints` of an annotation.
        names: of the file's keypoints.
        size: (width, height) of the image; zeros where it is not known.
        rules: counts how often each rule of this module's table was used.

    Raises:
        KeypointFault: there is no sensible reading.
    """
    form, rows = _rows(as_list(values), names)
    if form is not None:
        rules[form] += 1
    xy = np.asarray([[_coordinate(value) for value in row[:2]] for row in rows], np.float64)
    flags = [row[2] for row in rows]
    visibility = np.asarray([_flag(flag) for flag in flags], np.float64)
    given = np.asarray([flag is not None for flag in flags]) & ~np.isnan(visibility)
    if any(isinstance(flag, bool) for flag in flags):
        rules["visibility true and false"] += 1
    return _settle(xy, visibility, given, size, rules)


def _settle(xy, visibility, given, size, rules: Counter) -> np.ndarray:
    """`[n, 3]` of coordinates `[n, 2]` and flags `[n]`, NaN where null, by the rules of this module.

    Raises:
        KeypointFault: an infinite coordinate, or a flag without a meaning.
    """
    if np.isinf(xy).any():
        raise KeypointFault("keypoint_not_finite", "'keypoints' holds infinity", "correct the values")
    nowhere = np.isnan(xy).any(axis=1) | are_placeholders(xy, visibility) | (visibility < 0)
    if np.any(nowhere & given & (visibility > NOT_LABELED)):
        rules["unlabeled as null, NaN, -1 or 0, 0"] += 1
    visibility = np.where(nowhere, NOT_LABELED, visibility)
    if not np.all(given | nowhere):
        visibility = np.where(given | nowhere, visibility, _inside(xy, size) * VISIBLE)
        rules["no visibility: visible where inside of the image"] += 1
    visibility = _confidences(visibility, rules)
    if np.any(visibility == _SELF_OCCLUDED):
        rules["visibility 3: occluded"] += 1
        visibility = np.where(visibility == _SELF_OCCLUDED, OCCLUDED, visibility)
    odd = visibility[~np.isin(visibility, (NOT_LABELED, OCCLUDED, VISIBLE))]
    if odd.size:
        detail = f"a visibility flag is {odd[0]:g}, not 0, 1 or 2"
        raise KeypointFault("visibility", detail, "write 0, 1 or 2 as every third value")
    labeled = visibility[:, None] > NOT_LABELED
    return np.concatenate([np.where(labeled, xy, 0), visibility[:, None]], axis=1)


def _confidences(visibility: np.ndarray, rules: Counter) -> np.ndarray:
    fractions = (visibility > 0) & (visibility < 1)
    if not fractions.any() or np.any(visibility > 1):
        return visibility
    rules["fractions: a confidence, occluded below 0.5"] += 1
    return np.select([visibility >= CONFIDENT, visibility > 0], [VISIBLE, OCCLUDED], NOT_LABELED)


def _inside(xy: np.ndarray, size: Sequence[float]) -> np.ndarray:
    """Whether points lie in the image and are no placeholder in its corner."""
    limit = np.where(np.asarray(size) > 0, size, np.inf)
    with np.errstate(invalid="ignore"):
        return np.all((xy >= 0) & (xy <= limit), axis=1) & np.any(xy != 0, axis=1)


def _rows(values: Any, names: Sequence[str]) -> tuple[str | None, list[tuple[Any, Any, Any]]]:
    """The form of the field, None where it is COCO's own, and (x, y, flag) of each keypoint."""
    count = len(names)
    if values is None or (isinstance(values, list | dict | str) and not values):
        raise KeypointFault(
            "no_keypoints", "'keypoints' is missing or empty", "label it or set num_keypoints to 0"
        )
    if isinstance(values, dict):
        return "keypoints by name", _by_name(values, names)
    if not isinstance(values, list):
        raise _wrong_count(type(values).__name__, count)
    if all(isinstance(value, dict) for value in values):
        if all("name" in value or "label" in value for value in values):
            return "keypoints as objects by name", _by_name(_named(values), names)
        values, form = [_of_object(value) for value in values], "keypoints as objects"
    elif all(isinstance(value, list) or value is None for value in values):
        form = "keypoints nested"
    else:
        return _flat(values, count)
    if len(values) != count:
        raise _wrong_count(f"{len(values)} points", count)
    return form, [_point(value) for value in values]


def _named(values: list[dict]) -> dict[str, dict]:
    """Objects by their names."""
    named: dict[str, dict] = {}
    for value in values:
        name = str(value.get("name", value.get("label")))
        if name in named:
            detail = f"'keypoints' holds {name!r} twice"
            raise KeypointFault("keypoint_name", detail, "keep one of the two")
        named[name] = value
    return named


def _flat(values: list, count: int) -> tuple[str | None, list[tuple[Any, Any, Any]]]:
    if len(values) == 3 * count:
        texts = "numbers as text" if any(isinstance(value, str) for value in values) else None
        return texts, list(zip(values[0::3], values[1::3], values[2::3], strict=True))
    if len(values) == 2 * count:
        pairs = zip(values[0::2], values[1::2], strict=True)
        return "x, y pairs", [(x, y, None) for x, y in pairs]
    raise _wrong_count(len(values), count)


def _wrong_count(found: Any, count: int) -> KeypointFault:
    detail = f"'keypoints' holds {found}, not {3 * count} values"
    return KeypointFault("keypoint_count", detail, "give x, y, v of each")


def _by_name(values: dict, names: Sequence[str]) -> list[tuple[Any, Any, Any]]:
    given = list(values)
    places = match_names(given, names)
    known = {place for place in places if place is not None}
    stray = [name for place, name in enumerate(given) if place not in known]
    if not known or stray:
        detail = f"'keypoints' names {stray[0]!r}, which is none of {', '.join(names)}"
        raise KeypointFault("keypoint_name", detail, "use the keypoint names of the category")
    return [_point(None if place is None else values[given[place]]) for place in places]


def _of_object(value: dict) -> list:
    flag = next((value[name] for name in _VISIBILITY_FIELDS if name in value), None)
    if "x" in value and "y" in value:
        return [value["x"], value["y"], flag]
    raise KeypointFault("keypoint_form", "an object of 'keypoints' has no x and y", "give x, y and v of each")


def _point(value: Any) -> tuple[Any, Any, Any]:
    if value is None:
        return None, None, NOT_LABELED
    if isinstance(value, dict):
        value = _of_object(value)
    value = as_list(value)
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise KeypointFault("keypoint_form", f"a keypoint is {value!r:.40}", "give x, y, v of each")
    return value[0], value[1], value[2] if len(value) == 3 else None


def _coordinate(value: Any) -> float:
    """NaN for null."""
    if value is None or value == "":
        return np.nan
    if isinstance(value, float) and not np.isfinite(value):
        return value
    found = number(value)
    if found is None:
        if isinstance(value, str) and value.strip().lower() == "nan":
            return np.nan
        raise KeypointFault(
            "keypoint_not_finite",
            f"'keypoints' holds {value!r:.40}",
            "write numbers, 0, 0, 0 where unlabeled",
        )
    return found


def _flag(value: Any) -> float:
    """NaN for null."""
    if isinstance(value, bool):
        return VISIBLE if value else NOT_LABELED
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return np.nan
    found = number(value)
    if found is None and isinstance(value, str):
        found = _WORDS.get(value.strip().lower().replace("_", " "))
    if found is None:
        detail = f"a visibility flag is {value!r:.40}, not 0, 1 or 2"
        raise KeypointFault("visibility", detail, "write 0, 1 or 2 as every third value")
    return found
