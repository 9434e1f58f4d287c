"""People in a video: found, followed and smoothed, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from p2net_tf.data.annotations.boxes import overlaps
from p2net_tf.data.samples import DataError
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.detection.opening import chosen_detector
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.suppression import left_by_suppression
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.pictures import PictureSource, load_numbered, to_levels
from p2net_tf.inference.poses import Poses
from p2net_tf.inference.sources import Video, open_source
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.video.following import moved_windows, unlike_rows
from p2net_tf.video.reading import Frame, VideoReader, read_ahead
from p2net_tf.video.smoothing import PoseSmoother, SmoothingSettings
from p2net_tf.video.tracking import UNKNOWN, Tracker, TrackerSettings

_NEAR = 0.3
"""Intersection over union from which on a doubtful box may be somebody who is followed."""


class Estimator(Protocol):
    """What finds keypoints in boxes: a `PoseEstimator`."""

    card: InferenceCard
    skeleton: Skeleton

    def in_boxes(self, picture: PictureSource, boxes: np.ndarray, box_scores: np.ndarray) -> Poses: ...


@dataclass(frozen=True, eq=False)
class PeopleFrame:
    """The people of one frame, each with a number.

    Attributes:
        number: of the frame, from 0 on.
        time: seconds since the first frame.
        poses: `Poses` of the n people; its source is the frame, `[H, W, 3]` uint8.
        ids: `[n]` int64 from 1 on; a person keeps it.
    """

    number: int
    time: float
    poses: Poses
    ids: np.ndarray

    def draw(self, boxes: bool = True, threshold: float = 0.0) -> np.ndarray:
        """The frame with everybody and their numbers on it: `[H, W, 3]` uint8."""
        picture = self.poses.draw(boxes=False, threshold=threshold)
        if boxes:
            for box, number in zip(self.poses.boxes, self.ids.tolist(), strict=True):
                picture = drawing.draw_box(picture, box, drawing.color_of(number), str(number))
        return picture

    def to_coco(self) -> list[dict]:
        """Entries of a COCO result file, one a person, with `track_id` and the `time` of the frame."""
        entries = self.poses.to_coco(self.number + 1)
        return [
            entry | {"track_id": number, "time": self.time}
            for entry, number in zip(entries, self.ids.tolist(), strict=True)
        ]


class VideoPoses:
    """Poses of the people in videos, who keep their number from frame to frame.

    ```python
    people = VideoPoses(PoseEstimator.from_preset("p2net_small_lsp"), detect_every=5, smooth=True)
    for frame in people.predict("street.mp4"):       # or the address of a stream, or any iterable of pictures
        print(frame.time, frame.ids, frame.poses["left_wrist"])
    ```

    Args:
        pose: finds the keypoints.
        detector: finds the people; as `PoseEstimator.predict` takes it.
        detect_every: the detector looks at every such frame; between them a box moves with its keypoints.
        smooth: True, or `SmoothingSettings`: keypoints go through a One-Euro filter, which lags by a frame or
            two. False leaves them as they are found.
        min_score: boxes above it may begin a track; None: the detector's own `likely_score`.
        tracker: further settings of the tracker, whose scores are those of the detector here.
        evaluation: `box_threshold` and `nms` thin out what is followed, as they do in pictures; None: nothing
            does.

    Raises:
        DataError: `detect_every` is no whole number above 0, or `min_score` none from 0 to 1.
        UserError: the detector cannot be opened.
    """

    def __init__(
        self,
        pose: Estimator,
        detector: PersonDetector | str | Path | None = None,
        detect_every: int = 1,
        smooth: bool | SmoothingSettings = False,
        min_score: float | None = None,
        tracker: TrackerSettings | None = None,
        evaluation: EvaluationConfig | None = None,
    ):
        if not isinstance(detect_every, Integral) or isinstance(detect_every, bool) or detect_every < 1:
            raise DataError(f"detect_every is {detect_every!r:.40}; give 1 or more")
        self.pose, self.detector = pose, chosen_detector(detector, pose.skeleton)
        self.detect_every = detect_every
        self._smoothing = SmoothingSettings() if smooth is True else smooth or None
        self.evaluation = evaluation or EvaluationConfig()
        high = self.detector.least_score(min_score)
        self._settings = replace(tracker or TrackerSettings(), high_score=high, low_score=high / 2)

    def predict(
        self, source: str | Path | int | VideoReader | Iterable[PictureSource], rate: float = 30.0
    ) -> Iterator[PeopleFrame]:
        """The people of every frame, as they are asked for; no frame is kept.

        Args:
            source: a video file, an address, the number of a camera, an open `VideoReader`, or the pictures
                of a list, a folder or a generator, which are frames here.
            rate: of such pictures, per second.

        Raises:
            VideoError: the video cannot be opened.
            DataError: a picture is none, the source no video, or `rate` not above 0.
        """
        following = _Following(self, Tracker(self.pose.skeleton.sigmas, self._settings))
        with ExitStack() as stack:
            found = (
                PeopleFrame(frame.number, frame.time, *following.next(frame, boxes))
                for frame, boxes in self._detected(source, rate, stack)
            )
            yield from smoothed(found, self._smoothing) if self._smoothing else found

    def _detected(self, source, rate: float, stack: ExitStack) -> Iterator[tuple[Frame, Boxes | None]]:
        """Frames with what the detector finds in those that it looks at.

        Of a video it looks at the next frame while the poses of this one are found: neither of the two fills
        all cores, and boxes do not depend on who is followed. Pictures come when they are asked for.
        """
        opened = source if isinstance(source, VideoReader) else open_source(source, stack, True)
        if isinstance(opened, Video):
            opened = stack.enter_context(VideoReader(opened.source))
        if not isinstance(opened, VideoReader):
            return self._looked_at(_numbered(opened.pictures, rate))
        # Ends before the video is closed: a thread that decodes a closed one brings the process down.
        frames = stack.enter_context(closing(read_ahead(opened)))
        return stack.enter_context(closing(read_ahead(self._looked_at(frames), 1)))

    def _looked_at(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Boxes | None]]:
        for number, frame in enumerate(frames):
            looks = number % self.detect_every == 0
            yield frame, self.detector.detect_in(frame.picture) if looks else None


def smoothed(
    frames: Iterable[PeopleFrame], settings: SmoothingSettings | None = None
) -> Iterator[PeopleFrame]:
    """The same frames with smooth keypoints, as `VideoPoses` gives them by `smooth`."""
    smoother = PoseSmoother(settings)
    for frame in frames:
        poses = frame.poses
        keypoints = smoother(frame.ids, poses.keypoints, poses.boxes, frame.time)
        yield replace(frame, poses=replace(poses, keypoints=keypoints))


class _Following:
    """Where to look for people in the next frame, and who they are.

    Of everybody of the last frame it knows their poses, whose boxes are for this one, their numbers, and who
    of them the detector did not find when it looked last.
    """

    def __init__(self, people: VideoPoses, tracker: Tracker):
        self._people, self._tracker = people, tracker
        self._last: Poses | None = None
        self._ids = self._carried = np.zeros(0, bool)

    def next(self, frame: Frame, boxes: Boxes | None) -> tuple[Poses, np.ndarray]:
        """Poses and numbers of those who have one.

        Args:
            boxes: what the detector finds; None where it does not look.
        """
        poses = self._follow(frame.picture) if boxes is None else self._look(frame.picture, boxes)
        poses = self._thinned(poses)
        ids = self._tracker(poses.boxes, poses.box_scores, poses.keypoints, poses.keypoint_scores)
        self._last, self._ids = poses, ids
        known = np.flatnonzero(ids != UNKNOWN)
        return poses.take(known), ids[known]

    def _thinned(self, poses: Poses) -> Poses:
        settings = self._people.evaluation
        if settings.nms is None:
            return poses
        rows, scores = left_by_suppression(poses, self._people.pose.card, settings)
        self._carried = self._carried[rows]
        return poses.take(rows, scores)

    def _look(self, picture: np.ndarray, boxes: Boxes) -> Poses:
        """In the detector's boxes, and in those of people it lost just now."""
        windows, scores = self._wanted(boxes)
        rows = self._lost_just_now(windows)
        self._carried = np.arange(len(windows) + len(rows)) >= len(windows)
        if not len(rows):
            return self._people.pose.in_boxes(picture, windows, scores)
        settings = self._tracker.settings
        doubtful = np.full(len(rows), (settings.low_score + settings.high_score) / 2, np.float32)
        windows = np.concatenate([windows, self._last.boxes[rows]])
        poses = self._people.pose.in_boxes(picture, windows, np.concatenate([scores, doubtful]))
        alone = unlike_rows(poses, np.where(self._carried, 0.0, 1.0))
        # What the detector says stays, two boxes of one person, too.
        alone = np.union1d(alone, np.flatnonzero(~self._carried))
        self._carried = self._carried[alone]
        return poses.take(alone)

    def _lost_just_now(self, windows: np.ndarray) -> np.ndarray:
        """Rows of the last frame: people well seen there of whom the detector has no box now.

        It takes two looks to lose somebody who is followed in between: one box that is not found would else
        leave them alone until the next look.
        """
        if self._last is None or self._people.detect_every == 1:
            return np.zeros(0, np.int64)
        near = overlaps(self._last.boxes[:, None], windows[None])
        rows, partners = linear_sum_assignment(near, maximize=True)
        missed = np.ones(len(self._last), bool)
        missed[rows[near[rows, partners] >= _NEAR]] = False
        sure = self._last.keypoint_scores.mean(axis=1) > 2 * self._tracker.settings.keypoint_score
        return np.flatnonzero(missed & sure & (self._ids != UNKNOWN) & ~self._carried)

    def _follow(self, picture: np.ndarray) -> Poses:
        """In the boxes of the last frame, as their keypoints moved them."""
        before, tracker = self._last, self._tracker
        poses = self._people.pose.in_boxes(picture, before.boxes, before.box_scores)
        windows, seen = moved_windows(before, poses, tracker.settings.keypoint_score)
        poses = replace(poses, boxes=windows).take(seen)
        expected = tracker.expected(self._ids[seen])
        alone = unlike_rows(poses, np.nan_to_num(overlaps(poses.boxes.astype(np.float64), expected)))
        self._carried = self._carried[seen][alone]
        return poses.take(alone)

    def _wanted(self, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        """Likely boxes, and doubtful ones where somebody is expected."""
        high, low = self._tracker.settings.high_score, self._tracker.settings.low_score
        boxes = boxes.above(low)
        wanted = (boxes.scores > high) | (self._tracker.overlaps(boxes.windows) >= _NEAR)
        wanted &= boxes.scores >= self._people.evaluation.box_threshold
        return boxes.windows[wanted], boxes.scores[wanted]


def _numbered(pictures: Iterable[PictureSource], rate: float) -> Iterator[Frame]:
    if not rate > 0:
        raise DataError(f"rate is {rate}; give pictures per second, above 0")
    for number, picture in enumerate(pictures):
        yield Frame(to_levels(load_numbered(number, picture)), number / rate, number)
