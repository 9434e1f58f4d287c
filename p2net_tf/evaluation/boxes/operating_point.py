"""What a detector does where boxes of low scores are left out: precision, recall and doubles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2net_tf.evaluation.boxes.case import FOUND_IOU, BoxCase, Matches, best_truths


@dataclass(frozen=True)
class OperatingPoint:
    """Of the boxes with a score of at least `limit`.

    Attributes:
        kept: how many there are.
        precision: part of them that find an object (IoU 0.5). Boxes on crowds count neither way.
        recall: part of the objects that are found.
        doubled: boxes that find nothing because a better one has taken the object that they overlap most, by
            an IoU of 0.5 and more: two boxes on one person.
        doubles: `doubled` as a part of the kept boxes.
    """

    limit: float
    kept: int
    precision: float
    recall: float
    doubled: int
    doubles: float


def operating_point(case: BoxCase, matches: Matches, limit: float) -> OperatingPoint:
    """At a limit of the scores."""
    kept = case.scores >= limit
    counted = kept & ~matches.ignored
    hits = int(np.count_nonzero(counted & (matches.truths >= 0)))
    doubled = int(np.count_nonzero(counted & are_doubled(case, matches)))
    return OperatingPoint(
        float(limit),
        int(kept.sum()),
        _share(hits, int(counted.sum())),
        _share(hits, int(matches.counted.sum())),
        doubled,
        _share(doubled, int(kept.sum())),
    )


def are_doubled(case: BoxCase, matches: Matches) -> np.ndarray:
    """`[D]` bool: boxes that match nothing, on an object that is taken."""
    _, overlap = best_truths(case)
    # Whatever a box without a match overlaps so much was free no more when its turn came.
    return (matches.truths < 0) & ~matches.ignored & (overlap >= FOUND_IOU)


def best_limit(case: BoxCase, matches: Matches) -> float:
    """The score from which on the F1 score of precision and recall is best; 0 where nothing is found."""
    counted = ~matches.ignored
    order = np.argsort(-case.scores[counted], kind="stable")
    scores = case.scores[counted][order]
    hits = np.cumsum(matches.truths[counted][order] >= 0)
    if not len(scores) or not hits[-1]:
        return 0.0
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + matches.counted.sum())
    # Of equal scores all are kept.
    last = np.append(scores[1:] != scores[:-1], True)
    return float(scores[np.argmax(np.where(last, f1, -1))])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
