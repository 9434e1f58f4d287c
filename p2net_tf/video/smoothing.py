"""Smooth joints: the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) of many values at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_FORGOTTEN = 1.0
"""Seconds without somebody, after which their joints begin anew."""


@dataclass(frozen=True)
class SmoothingSettings:
    """Of `OneEuroFilter`, in sizes of a person, the root of the area of their first box.

    The defaults are a compromise that `docs/video.md` shows in numbers.

    Attributes:
        min_cutoff: Hz; less smooths more, and lags more, while a joint is slow.
        beta: Hz per size of the person and second; more lags less while it is fast.
    """

    min_cutoff: float = 1.0
    beta: float = 5.0


class PoseSmoother:
    """A One-Euro filter for every joint of everybody.

    ```python
    smoother = PoseSmoother()
    for frame in frames:
        keypoints = smoother(frame.ids, frame.poses.keypoints, frame.poses.boxes, frame.time)
    ```
    """

    def __init__(self, settings: SmoothingSettings | None = None):
        self.settings = settings or SmoothingSettings()
        self._filters: dict[int, _PersonFilter] = {}

    def __call__(self, ids, keypoints, boxes, time: float) -> np.ndarray:
        """The smoothed keypoints of a frame.

        Args:
            ids: `[n]`, who they are of.
            keypoints: `[n, K, 2]` in pixels.
            boxes: `[n, 4]` xywh, for the size of who is new.
            time: seconds, later than that of the frame before.

        Returns:
            `[n, K, 2]` float32.
        """
        known = {n: one for n, one in self._filters.items() if time - one.time <= _FORGOTTEN}
        smoothed = np.array(keypoints, np.float32)
        for row, number in enumerate(np.asarray(ids).tolist()):
            if number not in known:
                known[number] = _PersonFilter(self.settings, math.sqrt(boxes[row][2] * boxes[row][3]))
            smoothed[row] = known[number](keypoints[row], time)
        self._filters = known
        return smoothed


class _PersonFilter:
    def __init__(self, settings: SmoothingSettings, size: float):
        self._filter = OneEuroFilter(settings.min_cutoff, settings.beta)
        self._size, self.time = size, -math.inf

    def __call__(self, keypoints: np.ndarray, time: float) -> np.ndarray:
        self.time = time
        return self._filter(keypoints / self._size, time) * self._size


class OneEuroFilter:
    """A low-pass filter whose cutoff rises with speed: still joints do not tremble, fast ones lag little.

    >>> smooth = OneEuroFilter(min_cutoff=1.0, beta=0.0)
    >>> for time, x in enumerate([0.0, 1.0, 0.0, 1.0]):  # or `[..., 2]`, the same joints every time
    ...     print(smooth(np.array(x), time / 25).round(3))
    0.0
    0.201
    0.161
    0.329

    Every number is filtered by itself. Where one is not finite, a joint that was not found, it stays so, and
    its filter waits.

    Args:
        min_cutoff: Hz; less smooths more, and lags more, while a joint is slow.
        beta: Hz per unit of speed; more lags less while it is fast.
        derivative_cutoff: Hz, of the speed.
        rate: values per second where no time is given.

    Raises:
        ValueError: a frequency that is not above 0, or `beta` below 0.
    """

    def __init__(
        self, min_cutoff: float = 1.0, beta: float = 0.0, derivative_cutoff: float = 1.0, rate: float = 30.0
    ):
        frequencies = {"min_cutoff": min_cutoff, "derivative_cutoff": derivative_cutoff, "rate": rate}
        for name, value in frequencies.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; give Hz above 0")
        if not beta >= 0:
            raise ValueError(f"beta is {beta}; give 0 or more")
        self.min_cutoff, self.beta, self.derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self.rate = rate
        self._values = self._speeds = self._times = None

    def __call__(self, values, time: float | None = None) -> np.ndarray:
        """The filtered values.

        Args:
            values: `[...]`, of the same shape every time.
            time: seconds; later than the last one, else the rate stays what it was.

        Raises:
            ValueError: another shape than before.
        """
        values = np.asarray(values, np.float64)
        if self._values is None:
            self._values = np.full(values.shape, np.nan)
            self._speeds = np.zeros(values.shape)
            self._rates = np.full(values.shape, float(self.rate))
            self._times = np.full(values.shape, np.nan)
        if values.shape != self._values.shape:
            raise ValueError(f"values {values.shape} after values {self._values.shape}; begin another filter")
        seen, known = np.isfinite(values), np.isfinite(self._values)
        rates = self._rates_at(time, seen)
        speeds = np.where(known, (values - self._values) * rates, 0.0)
        smoothed = _blend(speeds, self._speeds, _weight(self.derivative_cutoff, rates), known)
        cutoffs = self.min_cutoff + self.beta * np.abs(smoothed)
        filtered = _blend(values, self._values, _weight(cutoffs, rates), known)
        self._speeds = np.where(seen, smoothed, self._speeds)
        self._values = np.where(seen, filtered, self._values)
        return np.where(seen, filtered, np.nan)

    def _rates_at(self, time: float | None, seen: np.ndarray) -> np.ndarray:
        """Values per second, of each number since it was last seen."""
        if time is None:
            return self._rates
        gaps = time - self._times
        with np.errstate(divide="ignore", invalid="ignore"):
            self._rates = np.where(seen & (gaps > 0), 1 / gaps, self._rates)
        self._times = np.where(seen, time, self._times)
        return self._rates


def _weight(cutoffs, rates):
    """Of a new value, in a low-pass filter of these cutoff frequencies."""
    return 1 / (1 + rates / (2 * math.pi * cutoffs))


def _blend(new, old, weights, known):
    """`new` where nothing is known yet."""
    return np.where(known, weights * new + (1 - weights) * np.where(known, old, 0.0), new)
