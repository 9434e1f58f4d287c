"""Where boxes move to: a Kalman filter of constant speed, of all tracks at once."""

from __future__ import annotations

import numpy as np

POSITION_NOISE = 1 / 20
"""Standard deviation of a box's place and size, in heights of the box; as in SORT's descendants."""
SPEED_NOISE = 1 / 160
"""The same of their change in a step."""
_SIZE = 4
_STEP = np.eye(2 * _SIZE) + np.eye(2 * _SIZE, k=_SIZE)
"""One frame on: place and size change by their speeds."""


class BoxMotion:
    """T boxes that move: middle, size, and their speeds, in pixels and pixels per frame.

    Attributes:
        means: `[T, 8]` x and y of the middle, width, height, and the four speeds.
        covariances: `[T, 8, 8]`.
    """

    def __init__(self):
        self.means = np.zeros((0, 2 * _SIZE))
        self.covariances = np.zeros((0, 2 * _SIZE, 2 * _SIZE))

    def __len__(self) -> int:
        return len(self.means)

    @property
    def windows(self) -> np.ndarray:
        """`[T, 4]` xywh; sides of at least one pixel."""
        return _windows(self.means)

    def ahead(self) -> np.ndarray:
        """`[T, 4]` xywh a frame later, as far as is known now."""
        return _windows(self.means @ _STEP.T)

    def begin(self, windows) -> None:
        """New boxes behind the others, xywh, that stand still as far as is known."""
        measured = _measured(windows)
        heights = measured[:, 3:]
        spread = np.repeat([2 * POSITION_NOISE, 10 * SPEED_NOISE], _SIZE) * heights
        self.means = np.concatenate([self.means, np.pad(measured, ((0, 0), (0, _SIZE)))])
        self.covariances = np.concatenate([self.covariances, _diagonal(spread)])

    def keep(self, rows) -> None:
        """These boxes alone."""
        self.means, self.covariances = self.means[rows], self.covariances[rows]

    def hold_size(self, rows) -> None:
        """These boxes no longer grow or shrink: an error of that speed would soon be all that is left of them
        (so do ByteTrack and its descendants)."""
        self.means[rows, _SIZE + 2 :] = 0

    def predict(self) -> None:
        """One frame on."""
        noise = np.repeat([POSITION_NOISE, SPEED_NOISE], _SIZE) * np.maximum(self.means[:, 3:4], 1.0)
        self.means = self.means @ _STEP.T
        self.covariances = _STEP @ self.covariances @ _STEP.T + _diagonal(noise)

    def distances(self, rows, windows) -> np.ndarray:
        """`[n, r]` squared Mahalanobis distances of `[n, 4]` xywh to the boxes `rows`, in place and size."""
        apart = _measured(windows)[:, None] - self.means[rows, :_SIZE]
        noise = _diagonal(np.repeat([POSITION_NOISE], _SIZE) * np.maximum(self.means[rows, 3:4], 1.0))
        inverse = np.linalg.inv(self.covariances[rows][:, :_SIZE, :_SIZE] + noise)
        return np.einsum("nri,rij,nrj->nr", apart, inverse, apart)

    def correct(self, rows, windows) -> None:
        """By what was seen of the boxes `rows`: `[n, 4]` xywh."""
        measured = _measured(windows)
        noise = _diagonal(np.repeat([POSITION_NOISE], _SIZE) * np.maximum(self.means[rows, 3:4], 1.0))
        covariances = self.covariances[rows]
        # K = P H' (H P H' + R)^-1, where H takes the first four numbers.
        gains = np.linalg.solve(covariances[:, :_SIZE, :_SIZE] + noise, covariances[:, :_SIZE, :]).transpose(
            0, 2, 1
        )
        innovations = measured - self.means[rows, :_SIZE]
        self.means[rows] += np.einsum("tij,tj->ti", gains, innovations)
        self.covariances[rows] = covariances - gains @ covariances[:, :_SIZE, :]


def _windows(means: np.ndarray) -> np.ndarray:
    """`[T, 8]` to xywh."""
    sides = np.maximum(means[:, 2:4], 1.0)
    return np.concatenate([means[:, :2] - sides / 2, sides], axis=1)


def _measured(windows) -> np.ndarray:
    """`[n, 4]` xywh to middle and size."""
    windows = np.asarray(windows, np.float64).reshape(-1, 4)
    return np.concatenate([windows[:, :2] + windows[:, 2:] / 2, windows[:, 2:]], axis=1)


def _diagonal(spread: np.ndarray) -> np.ndarray:
    """`[T, n]` standard deviations to `[T, n, n]` covariances."""
    return spread[:, :, None] ** 2 * np.eye(spread.shape[1])
