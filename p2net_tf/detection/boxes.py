"""What every detector gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """The persons of one picture, any number of them, 0 too.

    Attributes:
        windows: `[n, 4]` float32 xywh in pixels of the picture.
        scores: `[n]` float32, best first.
    """

    windows: np.ndarray
    scores: np.ndarray

    def __post_init__(self):
        windows = np.asarray(self.windows, np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        if len(windows) != len(scores):
            raise ValueError(f"{len(windows)} boxes, but {len(scores)} scores")
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "windows", windows[order])
        object.__setattr__(self, "scores", scores[order])

    @classmethod
    def of_corners(cls, corners, scores, size: tuple[int, int]) -> Boxes:
        """From `[n, 4]` xyxy, cut off at the borders; what has no area within the picture is left out.

        Args:
            size: `(height, width)` of the picture.
        """
        corners = np.asarray(corners, np.float32).reshape(-1, 4)
        height, width = size
        corners = np.clip(corners, 0, np.float32([width, height, width, height]))
        sides = corners[:, 2:] - corners[:, :2]
        inside = (sides > 0).all(axis=1)
        return cls(np.concatenate([corners[:, :2], sides], axis=1)[inside], np.asarray(scores)[inside])

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Boxes:
        """Those that score above `score`."""
        kept = self.scores > score
        return Boxes(self.windows[kept], self.scores[kept])
