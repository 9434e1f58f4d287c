"""The lines of a YOLO label file: `class cx cy w h`, and what else tools write into such lines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.data.annotations.boxes import as_form
from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.annotations.values import key, number

_SEPARATORS = re.compile(r"[\s,;]+")
_BOX, _SCORED, _TRIANGLE = 4, 5, 6
"""Values behind the class: of a box, of one with a confidence, and of the smallest polygon."""
_FLAGS = (0.0, 1.0, 2.0)


class LineFault(ValueError):
    """Why a line or a file cannot be read: `(detail, remedy)`."""


@dataclass(frozen=True, slots=True)
class YoloLine:
    """`kind` is the key of a class, `box` `[4]` in the form that was asked for, `number` counts from 1."""

    kind: str
    box: np.ndarray
    number: int


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1 on, text) of the lines that are not empty.

    Raises:
        LineFault: it is no text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LineFault(f"cannot be read ({error.strerror})", "bring it there") from None
    except UnicodeDecodeError:
        raise LineFault("is no text", "write a line `class cx cy w h` for each box") from None
    return [(place, line) for place, line in enumerate(text.splitlines(), 1) if line.strip()]


def parse_line(
    text: str, place: int, form: BoxForm, keypoints: tuple[int, int] | None, rules: Counter
) -> YoloLine:
    """One line.

    Args:
        form: of the four numbers, also of the box that a polygon gives.
        keypoints: (K, 2 or 3) that stand behind boxes, where the set says so.
        rules: counts what was read in another form.

    Raises:
        LineFault: it has no sensible reading.
    """
    words = [word for word in _SEPARATORS.split(text) if word]
    first, words = (words or [""])[0], words[1:]
    values = [number(word) for word in words]
    if None in values:
        detail = f"line {place}: {words[values.index(None)]!r:.30} is not a finite number"
        raise LineFault(detail, "write `class cx cy w h`")
    box = _box(np.asarray(values, np.float64), place, form, keypoints, rules)
    return YoloLine(key(first) or first, box, place)


def _box(values: np.ndarray, place: int, form: BoxForm, keypoints, rules: Counter) -> np.ndarray:
    count = len(values)
    if count == _BOX:
        return values
    if count == _SCORED:
        rules["a fifth number behind the box, a confidence or a track, is not read"] += 1
        return values[:_BOX]
    if _is_pose(values, keypoints):
        rules["the keypoints behind the box are not read"] += 1
        return values[:_BOX]
    if count >= _TRIANGLE and count % 2 == 0:
        rules["a polygon: the box around it"] += 1
        points = values.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        return as_form(np.concatenate([low, high - low]), form)
    raise LineFault(
        f"line {place}: holds {count} numbers behind the class", "write `class cx cy w h`, or a polygon"
    )


def _is_pose(values: np.ndarray, keypoints: tuple[int, int] | None) -> bool:
    """A box and its keypoints: by the set's word, else where every third number is a flag."""
    behind = len(values) - _BOX
    if keypoints is not None:
        return behind == keypoints[0] * keypoints[1]
    if behind < 3 or behind % 3:
        return False
    return bool(np.isin(values[_BOX + 2 :: 3], _FLAGS).all())
