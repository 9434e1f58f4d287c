"""Boxes and their scores as users hand them over, checked: for one picture, or for several."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.data.samples import DataError


def per_picture(given, count: int, name: str, columns: int | None) -> list:
    """A checked array for each picture, or None where it has none.

    Args:
        given: an array for each of `count` pictures, or that of the only one; None for none at all.
        name: of the argument, for messages.
        columns: of an array; None: it has one dimension.

    Raises:
        DataError: not as many arrays as pictures, or one of another shape, or a box without an area.
    """
    if given is None:
        return [None] * count
    # One picture's own array may stand alone.
    depth = 2 if columns else 1
    alone = (
        count == 1 and _depth(given) <= depth and not (isinstance(given, list | tuple) and given == [None])
    )
    parts = [given] if alone else list(given)
    if len(parts) != count:
        raise DataError(f"{name}: {len(parts)} entries for {count} pictures; give an array for each, or None")
    return [
        None if part is None else _checked(part, f"{name}[{number}]", columns)
        for number, part in enumerate(parts)
    ]


def _depth(value) -> int:
    if isinstance(value, np.ndarray | tf.Tensor):
        return len(value.shape)
    if isinstance(value, list | tuple):
        return 1 + max(map(_depth, value), default=1)
    return 0


def _checked(part, name: str, columns: int | None) -> np.ndarray:
    try:
        array = np.asarray(part, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: not numbers ({error})") from None
    if columns is None:
        return array.reshape(-1)
    if array.size == 0:
        return np.zeros((0, columns), np.float32)
    if array.ndim != 2 or array.shape[1] != columns:
        raise DataError(f"{name}: has the shape {list(array.shape)}; boxes are [n, 4], x, y, width, height")
    wrong = ~np.all(np.isfinite(array), axis=1) | np.any(array[:, 2:] <= 0, axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{name}: box {row} is {array[row].tolist()}; width and height must be above 0, in pixels"
        )
    return array


def certainty_of(scores: np.ndarray | None, count: int, number: int) -> np.ndarray:
    """The scores `[count]` of the boxes of picture `number`; 1 where nobody scored them.

    Raises:
        DataError: there are not as many.
    """
    if scores is None:
        return np.ones(count, np.float32)
    if len(scores) != count:
        raise DataError(f"box_scores[{number}]: {len(scores)} scores for {count} boxes")
    return scores
