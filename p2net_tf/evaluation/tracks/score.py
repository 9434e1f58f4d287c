"""Scores of people over time: what `p2net score tracks` prints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from p2net_tf.evaluation.coco import CocoResult, evaluate_coco
from p2net_tf.evaluation.tracks.files import read_found_tracks, read_true_tracks
from p2net_tf.evaluation.tracks.motion import jitter, lag, walks_of
from p2net_tf.evaluation.tracks.numbers import Numbers, compare_numbers, import_motmetrics
from p2net_tf.skeletons.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class TrackResult:
    """What one video, or several in a row, gives.

    Attributes:
        frames: of the truth.
        people: true people, who count in a frame at least.
        numbers: MOTA, IDF1 and their parts.
        poses: OKS AP, frame by frame.
        jitter, true_jitter: mean length of second differences of keypoints, in sizes of a person (root of the
            area of the box) per frame^2, of the predictions and, in the same frames, of the truth; NaN where
            nobody was found in three frames in a row.
        lag: frames by which keypoints are behind; NaN where it cannot be told (`motion.lag`).
    """

    frames: int
    people: int
    numbers: Numbers
    poses: CocoResult
    jitter: float
    true_jitter: float
    lag: float

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Sentences, each a finding with its remedy."""
        return self.poses.diagnostics

    def to_dict(self) -> dict:
        """All of it, as plain JSON types; None where it cannot be told."""
        numbers = self.numbers
        return {
            "MOTA": _plain(numbers.mota),
            "IDF1": _plain(numbers.idf1),
            **numbers.counts,
            "frames": self.frames,
            "people": self.people,
            "people_found": numbers.found,
            "people_kept": numbers.kept,
            "AP": self.poses["AP"],
            "jitter": _plain(self.jitter),
            "true_jitter": _plain(self.true_jitter),
            "lag": _plain(self.lag),
            "diagnostics": list(self.diagnostics),
        }


def score_tracks(
    truth: dict | list | str | Path,
    predictions: list | str | Path,
    skeleton: str | Path | Skeleton = "coco17",
) -> TrackResult:
    """Numbers, poses and motion of the people of a video.

    Args:
        truth: COCO ground truth whose annotations have a `track_id`, or a list as is predicted; frames are
            its `image_id`s. Those with `iscrowd`, such as people who are hidden, need not be found.
        predictions: list as `p2net predict` writes it for a video.
        skeleton: card of both.

    Raises:
        DataError: a file does not hold what is expected; names file, entry and field.
        TrackScorerError: motmetrics, the extra `tracks`, is missing.
    """
    import_motmetrics()  # before any file is read
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    true = read_true_tracks(truth, card.num_keypoints)
    found = read_found_tracks(predictions, card.num_keypoints)
    numbers = compare_numbers(true, found)
    walks = walks_of(true, found, numbers.matches)
    return TrackResult(
        len(true.every_frame),
        len(set(true.ids[~true.ignored])),
        numbers,
        evaluate_coco(true.coco, found.coco, card.sigmas),
        *jitter(walks),
        lag(walks),
    )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
