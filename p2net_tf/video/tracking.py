"""People that keep their number from frame to frame.

As ByteTrack (Zhang et al., ECCV 2022): boxes of high scores are matched first, then what is left of the
tracks with boxes of low scores, which are people half hidden rather than people new. Alike are two whose
boxes overlap (IoU) and whose keypoints lie alike (OKS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask
from scipy.optimize import linear_sum_assignment

from p2net_tf.data.annotations.reading import AREA_OF_BOX
from p2net_tf.evaluation.oks import oks_matrix
from p2net_tf.video.kalman import BoxMotion

UNKNOWN = -1
"""The number of who has none yet."""
_CHI_SQUARED = 9.49
"""Of 4 degrees of freedom, the 95 % quantile: further from where they are expected is somebody else (as in
DeepSORT)."""
_FAR = 0.6
"""And so is who is further than this part of their height, however little is known of their speed."""


@dataclass(frozen=True)
class TrackerSettings:
    """When a box is the person of a track.

    Attributes:
        high_score: boxes above it may begin tracks and are matched first.
        low_score: boxes above it may continue tracks.
        likeness: least mean of IoU and OKS of a box of a high score with its track.
        low_likeness: the same of a box of a low score.
        frames_to_begin: a track has a number once it was seen in so many frames in a row; in the first frame
            at once.
        frames_to_end: a track that was not seen in so many frames is over.
        keypoint_score: keypoints above it count.
    """

    high_score: float = 0.5
    low_score: float = 0.1
    likeness: float = 0.2
    low_likeness: float = 0.4
    frames_to_begin: int = 2
    frames_to_end: int = 30
    keypoint_score: float = 0.2


class Tracker:
    """Frames in, the number of every person out.

    ```python
    tracker = Tracker(skeleton.sigmas)
    for poses in frames:
        ids = tracker(poses.boxes, poses.box_scores, poses.keypoints, poses.keypoint_scores)
    ```

    Args:
        sigmas: `[K]` of OKS.
        settings: when a box is the person of a track.

    Attributes:
        ids: `[T]` of the tracks that are not over; `UNKNOWN` of those that only begin.
    """

    def __init__(self, sigmas, settings: TrackerSettings | None = None):
        self.settings = settings or TrackerSettings()
        self._sigmas = np.asarray(sigmas, np.float64)
        self._motion = BoxMotion()
        self._keypoints = np.zeros((0, len(self._sigmas), 3))
        self._seen = np.zeros(0, np.int64)
        self._missed = np.zeros(0, np.int64)
        self.ids = np.zeros(0, np.int64)
        self._next, self._first = 1, True

    @property
    def windows(self) -> np.ndarray:
        """`[T, 4]` xywh: where the tracks are, or would be, in the last frame."""
        return self._motion.windows

    def expected(self, ids) -> np.ndarray:
        """`[n, 4]` xywh: where those of `[n]` numbers are expected in the next frame; NaN of `UNKNOWN`."""
        ahead = self._motion.ahead()
        rows = {number: row for row, number in enumerate(self.ids.tolist()) if number != UNKNOWN}
        nowhere = np.full(4, np.nan)
        found = [ahead[rows[number]] if number in rows else nowhere for number in np.asarray(ids).tolist()]
        return np.reshape(found, (-1, 4))

    def overlaps(self, windows) -> np.ndarray:
        """`[n]` greatest intersection over union of each of `[n, 4]` xywh with a track; 0 without tracks."""
        windows = np.asarray(windows, np.float64).reshape(-1, 4)
        if not len(windows) or not len(self.ids):
            return np.zeros(len(windows))
        return mask.iou(windows, self.windows, np.zeros(len(self.ids), np.uint8)).max(axis=1)

    def __call__(self, windows, scores, keypoints, keypoint_scores) -> np.ndarray:
        """The next frame.

        Args:
            windows: `[n, 4]` xywh of the boxes.
            scores: `[n]` of the boxes, 0..1.
            keypoints: `[n, K, 2]`.
            keypoint_scores: `[n, K]`.

        Returns:
            `[n]` int64: numbers of the people, from 1 on, none of them given twice; `UNKNOWN` of boxes whose
            track only begins, or that are none.
        """
        settings = self.settings
        found = _People.of(windows, scores, keypoints, keypoint_scores, len(self._sigmas), settings)
        self._move_on()
        tracks = np.full(len(found), UNKNOWN)
        high = np.flatnonzero(found.scores > settings.high_score)
        low = np.flatnonzero((found.scores > settings.low_score) & (found.scores <= settings.high_score))
        everyone = np.arange(len(self.ids))
        lost = self._missed > 1
        # Where somebody is lost, the next best box may be of nobody: it must be more alike.
        likeness = np.where(lost, settings.low_likeness, settings.likeness)
        self._match(found, high, everyone, likeness, tracks)
        # Who was lost some time ago is not found again by a doubtful box.
        left = np.setdiff1d(everyone[~lost], tracks)
        self._match(found, low, left, settings.low_likeness, tracks)
        self._correct(found, tracks)
        self._begin(found, high[tracks[high] == UNKNOWN], tracks)
        self._name()
        ids = np.where(tracks == UNKNOWN, UNKNOWN, self.ids[tracks] if len(self.ids) else UNKNOWN)
        self._end()
        self._first = False
        return ids

    def _move_on(self) -> None:
        before = self._motion.windows
        self._motion.hold_size(self._missed > 0)
        self._motion.predict()
        self._keypoints = _moved(self._keypoints, before, self._motion.windows)
        self._missed += 1

    def _match(self, found: _People, boxes, rows, likeness, tracks: np.ndarray) -> None:
        """Fills `tracks` for `boxes`, rows of `found`, with the best of `rows`, each at most once.

        Args:
            likeness: least one, for all or `[rows]`.
        """
        if not len(boxes) or not len(rows):
            return
        alike = self._likeness(found, boxes, rows)
        # Those too unlike must not take part in the bargain.
        chosen, partners = linear_sum_assignment(np.where(alike >= likeness, alike, 0.0), maximize=True)
        good = (alike >= likeness)[chosen, partners]
        tracks[boxes[chosen[good]]] = rows[partners[good]]

    def _likeness(self, found: _People, boxes, rows) -> np.ndarray:
        """`[boxes, rows]` mean of IoU and OKS; IoU alone where no keypoint is known of both."""
        windows = self._motion.windows[rows]
        overlap = mask.iou(found.windows[boxes], windows, np.zeros(len(rows), np.uint8))
        mine, theirs = found.keypoints[boxes], self._keypoints[rows].copy()
        both = (mine[:, None, :, 2] > 0) & (theirs[None, :, :, 2] > 0)
        areas = windows[:, 2] * windows[:, 3] * AREA_OF_BOX
        similar = oks_matrix(np.where(mine[..., 2:] > 0, mine[..., :2], np.nan), theirs, areas, self._sigmas)
        labels = (theirs[..., 2] > 0).sum(-1)
        # Of what both show: who is half hidden is not less alike.
        shared = both.sum(-1)
        similar = similar * labels / np.maximum(shared, 1)
        return np.where(shared > 0, (overlap + similar) / 2, overlap)

    def _correct(self, found: _People, tracks: np.ndarray) -> None:
        boxes = np.flatnonzero(tracks != UNKNOWN)
        rows = tracks[boxes]
        self._motion.correct(rows, found.windows[boxes])
        new = found.keypoints[boxes]
        self._keypoints[rows] = np.where(new[..., 2:] > 0, new, self._keypoints[rows])
        self._seen[rows] += 1
        self._missed[rows] = 0

    def _begin(self, found: _People, boxes, tracks: np.ndarray) -> None:
        tracks[boxes] = len(self.ids) + np.arange(len(boxes))
        self._motion.begin(found.windows[boxes])
        self._keypoints = np.concatenate([self._keypoints, found.keypoints[boxes]])
        self._seen = np.concatenate([self._seen, np.ones(len(boxes), np.int64)])
        self._missed = np.concatenate([self._missed, np.zeros(len(boxes), np.int64)])
        self.ids = np.concatenate([self.ids, np.full(len(boxes), UNKNOWN)])

    def _name(self) -> None:
        """Gives numbers to tracks that have been seen long enough."""
        enough = 1 if self._first else self.settings.frames_to_begin
        ready = np.flatnonzero((self.ids == UNKNOWN) & (self._seen >= enough))
        self._find_again(ready)
        ready = ready[self.ids[ready] == UNKNOWN]
        self.ids[ready] = self._next + np.arange(len(ready))
        self._next += len(ready)

    def _find_again(self, ready: np.ndarray) -> None:
        """Gives tracks the numbers of lost ones, near which they begin.

        Who comes out from behind something need not overlap with where they were expected: the longer nobody
        saw them, the further away they may be, by what the filter knows of their speed. Only tracks that are
        sure are asked, or a false box would take the number.
        """
        lost = np.flatnonzero((self.ids != UNKNOWN) & (self._missed > 1))
        if not len(ready) or not len(lost):
            return
        windows, expected = self._motion.windows[ready], self._motion.windows[lost]
        apart = np.linalg.norm(_middles(windows)[:, None] - _middles(expected), axis=-1)
        distances = self._motion.distances(lost, windows)
        near = (apart <= _FAR * expected[:, 3]) & (distances <= _CHI_SQUARED)
        closeness = np.where(near, 1 - distances / (2 * _CHI_SQUARED), 0.0)
        chosen, partners = linear_sum_assignment(closeness, maximize=True)
        good = closeness[chosen, partners] > 0
        self.ids[ready[chosen[good]]] = self.ids[lost[partners[good]]]
        self._missed[lost[partners[good]]] = self.settings.frames_to_end

    def _end(self) -> None:
        """A track without a number is over at once where it is not seen."""
        patience = np.where(self.ids == UNKNOWN, 1, self.settings.frames_to_end)
        rows = np.flatnonzero(self._missed < patience)
        self._motion.keep(rows)
        for name in ("_keypoints", "_seen", "_missed", "ids"):
            setattr(self, name, getattr(self, name)[rows])


@dataclass(frozen=True)
class _People:
    """Those of one frame; keypoints `[n, K, 3]` with 1 where they count."""

    windows: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray

    @classmethod
    def of(
        cls, windows, scores, keypoints, keypoint_scores, count: int, settings: TrackerSettings
    ) -> _People:
        windows = np.asarray(windows, np.float64).reshape(-1, 4)
        keypoints = np.asarray(keypoints, np.float64).reshape(len(windows), count, 2)
        sure = np.reshape(keypoint_scores, (len(windows), count)) > settings.keypoint_score
        sure &= np.isfinite(keypoints).all(axis=-1)
        known = np.where(sure[..., None], keypoints, 0.0)
        return cls(
            windows,
            np.asarray(scores, np.float64).reshape(-1),
            np.concatenate([known, sure[..., None]], axis=-1),
        )

    def __len__(self) -> int:
        return len(self.scores)


def _middles(windows: np.ndarray) -> np.ndarray:
    """`[n, 2]` of xywh boxes."""
    return windows[:, :2] + windows[:, 2:] / 2


def _moved(keypoints: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Keypoints `[T, K, 3]` with their boxes `[T, 4]`, which move and grow."""
    places = (keypoints[..., :2] - before[:, None, :2]) / before[:, None, 2:]
    return np.concatenate([after[:, None, :2] + places * after[:, None, 2:], keypoints[..., 2:]], axis=-1)
