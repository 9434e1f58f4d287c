"""How predicted keypoints move beside the true ones: jitter, and lag.

Both look at the same keypoints in the same frames: those that are labeled, of people who were found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from p2net_tf.evaluation.tracks.files import Tracks
from p2net_tf.keypoints.visibility import NOT_LABELED

REACH = 10
"""Frames: a lag beyond is not looked for. Truth is needed so far before and behind."""
_COARSE, _FINE = 0.5, 0.01
_NO_NUMBER = -1


@dataclass(frozen=True, eq=False)
class Walk:
    """One true person from the first frame to the last, T in all, and what was predicted of them.

    Attributes:
        truth: `[T, K, 2]`; NaN where not labeled.
        found: `[T, K, 2]`; NaN where nothing was matched.
        numbers: `[T]` int64, the predicted track; -1 for none.
        size: pixels: median over the frames of the root of the area of the true box.
    """

    truth: np.ndarray
    found: np.ndarray
    numbers: np.ndarray
    size: float


def walks_of(truth: Tracks, found: Tracks, matches: np.ndarray) -> list[Walk]:
    """Everybody who counts and was found.

    Args:
        matches: `[n]` row of `found` of each row of `truth`; -1 for none.
    """
    walks = []
    for person in np.unique(truth.ids):
        rows = np.flatnonzero(truth.ids == person)
        if np.any(matches[rows] >= 0):
            walks.append(_walk(truth, found, rows, matches[rows]))
    return walks


def _walk(truth: Tracks, found: Tracks, rows, matches) -> Walk:
    frames = truth.frames[rows]
    count, places = frames.max() - frames.min() + 1, frames - frames.min()
    empty = np.full((count, truth.keypoints.shape[1], 2), np.nan)
    true, predicted, numbers = empty, empty.copy(), np.full(count, _NO_NUMBER)
    keypoints = truth.keypoints[rows]
    true[places] = np.where(keypoints[..., 2:] > NOT_LABELED, keypoints[..., :2], np.nan)
    matched = matches >= 0
    predicted[places[matched]] = found.keypoints[matches[matched], :, :2]
    numbers[places[matched]] = found.ids[matches[matched]]
    sides = truth.boxes[rows, 2:]
    return Walk(true, predicted, numbers, float(np.median(np.sqrt(sides.prod(axis=1)))))


def jitter(walks: Sequence[Walk]) -> tuple[float, float]:
    """`(of the predictions, of the truth)`: mean length of second differences of keypoints.

    In sizes of the person per frame^2, over keypoints that are labeled and found under one number in three
    frames in a row; NaN where there are none. The truth has some, too: people swing their arms.
    """
    predicted, true = [np.zeros(0)], [np.zeros(0)]
    for walk in walks:
        numbers = walk.numbers
        same = (numbers[:-2] >= 0) & (numbers[:-2] == numbers[1:-1]) & (numbers[1:-1] == numbers[2:])
        lengths = [
            np.linalg.norm(np.diff(places, 2, axis=0), axis=-1) / walk.size
            for places in (walk.found, walk.truth)
        ]
        counted = same[:, None] & np.isfinite(lengths).all(axis=0)
        predicted.append(lengths[0][counted])
        true.append(lengths[1][counted])
    return _mean(predicted), _mean(true)


def _mean(parts: list[np.ndarray]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if len(values) else float("nan")


def lag(walks: Sequence[Walk]) -> float:
    """Frames by which the predictions are behind the truth; below 0 where they are ahead.

    It is the shift of the truth, to fractions of a frame by cubic splines, that has the least mean squared
    distance from the predictions, in sizes of the person. NaN where nobody is labeled for `2 REACH` frames,
    or where it is `REACH` or more. An error that always points the way people walk looks like a lag, too: the
    lag of a filter is the difference from that without it.
    """
    pieces = [piece for walk in walks for piece in _pieces(walk)]
    if not pieces:
        return float("nan")
    shifts = np.arange(-REACH, REACH + _COARSE / 2, _COARSE)
    best = int(np.argmin(_misfit(pieces, shifts)))
    if best in (0, len(shifts) - 1):
        return float("nan")
    shifts = shifts[best] + np.arange(-_COARSE, _COARSE + _FINE / 2, _FINE)
    misfit = _misfit(pieces, shifts)
    best = int(np.clip(np.argmin(misfit), 1, len(shifts) - 2))
    before, there, behind = misfit[best - 1 : best + 2]
    bend = before - 2 * there + behind
    # The vertex of the parabola through the three; a person who stands still has none.
    return float(shifts[best] + (_FINE * (before - behind) / (2 * bend) if bend > 0 else 0.0))


def _pieces(walk: Walk) -> Iterator[tuple[CubicSpline, np.ndarray, np.ndarray]]:
    """`(truth over time, frames [t], predictions [t, 2])` of keypoints that are labeled long enough.

    In sizes of the person. The same frames count for every shift.
    """
    for keypoint in range(walk.truth.shape[1]):
        true, found = walk.truth[:, keypoint] / walk.size, walk.found[:, keypoint] / walk.size
        for first, end in _runs(np.isfinite(true).all(axis=-1)):
            frames = np.arange(first + REACH, end - REACH)
            frames = frames[np.isfinite(found[frames]).all(axis=-1)] if len(frames) else frames
            if len(frames):
                yield CubicSpline(np.arange(first, end), true[first:end]), frames, found[frames]


def _runs(flags: np.ndarray) -> np.ndarray:
    """`[n, 2]` first and end of each stretch of set flags."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def _misfit(pieces, shifts: np.ndarray) -> np.ndarray:
    """`[s]` mean squared distances, with the truth so many frames later."""
    total, count = np.zeros(len(shifts)), 0
    for spline, frames, found in pieces:
        apart = found[:, None] - spline(frames[:, None] - shifts)
        total += np.square(apart).sum(axis=(0, 2))
        count += len(frames)
    return total / count
