"""Finding people in rendered scenes: by a detector, or by the truth with errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from p2net_tf.data.annotations.boxes import overlaps
from p2net_tf.data.synthetic.walks import HIDDEN, WalkFrame
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.evaluation.tracks.numbers import LEAST_IOU

_WELL_SEEN = 0.6
"""Part of a person from which on `DisturbedTruth` is sure."""
_SURE, _DOUBTFUL = 0.9, 0.35


@dataclass(frozen=True)
class Disturbance:
    """Errors of boxes.

    Attributes:
        noise: standard deviation of all four sides, in heights of the box.
        lost: share of the boxes that are not found.
        invented: boxes of nobody in a frame, on average; each as large as a person, with a likely score.
    """

    noise: float = 0.03
    lost: float = 0.05
    invented: float = 0.05


class DisturbedTruth:
    """The true boxes of rendered people, as a middling detector would give them.

    Who is hidden is not found, who is half hidden is doubtful. A real detector errs for longer: here the
    errors of a frame have nothing to do with those of the last one. And it sees less: here boxes go around
    all of a person, hidden parts included.
    """

    def __init__(self, seed: int, disturbance: Disturbance | None = None):
        self._random = np.random.default_rng(seed)
        self._disturbance = disturbance or Disturbance()

    def __call__(self, frame: WalkFrame) -> Boxes:
        random, errors = self._random, self._disturbance
        seen = np.flatnonzero(frame.visible > HIDDEN)
        seen = seen[random.random(len(seen)) >= errors.lost]
        boxes = _boxes(frame)[seen]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        corners += random.normal(size=corners.shape) * errors.noise * boxes[:, 3:]
        size = frame.picture.shape[:2]
        others = self._nobody(size)
        sure = np.where(frame.visible[seen] > _WELL_SEEN, _SURE, _DOUBTFUL) * random.uniform(
            0.85, 1, len(seen)
        )
        scores = np.concatenate([sure, random.uniform(0.5, _SURE, len(others))])
        return Boxes.of_corners(np.concatenate([corners, others]), scores, size)

    def _nobody(self, size: tuple[int, int]) -> np.ndarray:
        """`[n, 4]` xyxy."""
        count = self._random.poisson(self._disturbance.invented)
        sides = self._random.uniform(0.4, 0.7, (count, 1)) * size[0] * [0.4, 1.0]
        corner = self._random.uniform(0, 1, (count, 2)) * (np.array(size[::-1]) - sides)
        return np.concatenate([corner, corner + sides], axis=1)


class SceneDetector(PersonDetector):
    """Finds people in the frame that was taken last, and counts how well.

    Args:
        find: boxes of a frame.
        likely_score: as of `PersonDetector`.

    Attributes:
        there: people who could be seen, over all frames that it looked at.
        found: those of them in a likely box.
        invented: likely boxes of nobody.
    """

    def __init__(self, find: Callable[[WalkFrame], Boxes], likely_score: float = PersonDetector.likely_score):
        self._find, self.likely_score = find, likely_score
        self.there = self.found = self.invented = 0
        self._frame: WalkFrame | None = None

    def watch(self, frames: Iterable[WalkFrame]) -> Iterator[np.ndarray]:
        """The pictures of the frames."""
        for self._frame in frames:
            yield self._frame.picture

    def detect_in(self, picture: np.ndarray) -> Boxes:
        boxes, frame = self._find(self._frame), self._frame
        likely = self.likely(boxes).windows.astype(np.float64)
        alike = overlaps(likely[:, None], _boxes(frame)[None]) >= LEAST_IOU
        seen = frame.visible > HIDDEN
        self.there += int(seen.sum())
        self.found += int((alike.any(axis=0) & seen).sum())
        self.invented += int((~alike.any(axis=1)).sum())
        return boxes


def _boxes(frame: WalkFrame) -> np.ndarray:
    """`[n, 4]` xywh."""
    return np.reshape([person["bbox"] for person in frame.people], (-1, 4)).astype(np.float64)
