"""Who was found as whom: MOTA, IDF1 and their parts, counted by motmetrics (the extra `tracks`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from p2net_tf.data.annotations.boxes import overlaps
from p2net_tf.evaluation.tracks.files import Tracks
from p2net_tf.utils.exceptions import UserError

LEAST_IOU = 0.5
"""Of a box with the true one whose person it is; as in the MOT challenges."""
_COUNTS = {
    "switches": "num_switches",
    "fragmentations": "num_fragmentations",
    "missed": "num_misses",
    "false": "num_false_positives",
    "boxes": "num_objects",
}
_NO_MATCH = -1


class TrackScorerError(UserError):
    """motmetrics is missing; the message says how it comes."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """How well people kept their numbers.

    Attributes:
        mota: 1 - (missed + false + switches) / true boxes; below 0 where the errors are more than the boxes.
        idf1: F1 of boxes with the right number, under the best assignment of numbers to people.
        counts: `switches` to another number, `fragmentations` (lost and found again), `missed` and `false`
            boxes, and all true `boxes` that count.
        matches: `[n]` row of the predictions of each true entry; -1 for none.
        found: true people who were matched at all.
        kept: those of them with one number in all frames, which nobody else had.
    """

    mota: float
    idf1: float
    counts: dict[str, int]
    matches: np.ndarray
    found: int
    kept: int


def compare_numbers(truth: Tracks, found: Tracks, least_iou: float = LEAST_IOU) -> Numbers:
    """Counts, frame by frame, by the CLEAR MOT rules (Bernardin and Stiefelhagen 2008).

    Who is ignored is left out with whatever was matched with them, before anything is counted, as in the MOT
    challenges.

    Args:
        least_iou: of two boxes of one person.

    Raises:
        TrackScorerError: motmetrics is missing.
    """
    motmetrics = import_motmetrics()
    record = motmetrics.MOTAccumulator()
    true_rows, found_rows = _rows_by_frame(truth), _rows_by_frame(found)
    nobody = np.zeros(0, np.int64)
    for frame in truth.every_frame:
        rows, others = true_rows.get(frame, nobody), found_rows.get(frame, nobody)
        iou = overlaps(truth.boxes[rows][:, None], found.boxes[others][None])
        iou = np.where(iou >= least_iou, iou, np.nan)
        counted, kept = _without_ignored(truth.ignored[rows], iou)
        record.update(
            truth.ids[rows[counted]], found.ids[others[kept]], 1 - iou[np.ix_(counted, kept)], frameid=frame
        )
    names = ["mota", "idf1", *_COUNTS.values()]
    scores = motmetrics.metrics.create().compute(record, metrics=names, return_dataframe=False)
    matches = _matches(record, truth, found)
    return Numbers(
        float(scores["mota"]),
        float(scores["idf1"]),
        {name: int(scores[theirs]) for name, theirs in _COUNTS.items()},
        matches,
        *_kept(truth, found, matches),
    )


def import_motmetrics():
    """motmetrics, which is an extra.

    Raises:
        TrackScorerError: it is not installed.
    """
    try:
        import motmetrics
    except ImportError:
        raise TrackScorerError("scores of tracks need motmetrics: pip install 'p2net_tf[tracks]'") from None
    return motmetrics


def _rows_by_frame(tracks: Tracks) -> dict[int, np.ndarray]:
    order = np.argsort(tracks.frames, kind="stable")
    frames, starts = np.unique(tracks.frames[order], return_index=True)
    return dict(zip(frames.tolist(), np.split(order, starts)[1:], strict=True))


def _without_ignored(ignored: np.ndarray, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(true rows that count, predicted rows that are of nobody ignored)`.

    Args:
        ignored: `[n]` bool.
        iou: `[n, m]`, NaN where too little.
    """
    kept = np.ones(iou.shape[1], bool)
    if ignored.any():
        rows, partners = linear_sum_assignment(np.nan_to_num(iou), maximize=True)
        kept[partners[ignored[rows] & np.isfinite(iou[rows, partners])]] = False
    return np.flatnonzero(~ignored), np.flatnonzero(kept)


def _matches(record, truth: Tracks, found: Tracks) -> np.ndarray:
    """`[n]` rows of `found`."""
    events = record.mot_events.reset_index()
    pairs = events[events["Type"].isin(("MATCH", "SWITCH"))]
    places = {
        (frame, number): row for row, (frame, number) in enumerate(zip(found.frames, found.ids, strict=True))
    }
    partners = {
        (frame, number): places[frame, other]
        for frame, number, other in zip(pairs["FrameId"], pairs["OId"], pairs["HId"], strict=True)
    }
    whose = zip(truth.frames, truth.ids, strict=True)
    return np.array([partners.get(entry, _NO_MATCH) for entry in whose], np.int64)


def _kept(truth: Tracks, found: Tracks, matches: np.ndarray) -> tuple[int, int]:
    rows = np.flatnonzero(matches != _NO_MATCH)
    pairs = set(zip(truth.ids[rows], found.ids[matches[rows]], strict=True))
    theirs, whose = _groups(pairs), _groups((number, person) for person, number in pairs)
    return len(theirs), sum(
        len(numbers) == 1 and len(whose[next(iter(numbers))]) == 1 for numbers in theirs.values()
    )


def _groups(pairs) -> dict:
    groups: dict = {}
    for first, second in pairs:
        groups.setdefault(first, set()).add(second)
    return groups
