"""People whose labels are of another form than those of the rest of their set.

A file that was merged from several, or converted in part: what is sound in most people is nonsense in these,
and a network would learn from it all the same.
"""

from __future__ import annotations

import numpy as np

from p2net_tf.data.annotations.boxes import as_xywh, overlaps
from p2net_tf.data.extents import keypoint_extents
from p2net_tf.data.label_fit import (
    AGREED,
    BETTER,
    EXTENDED,
    FRACTION,
    SMALLEST_BOX,
    boxes_fit,
    labels_in_boxes,
    reach,
    slack_of,
)
from p2net_tf.data.problem_lists import listed
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED

_FEW = 0.25
"""Of COCO's people all but one in a thousand have more of their keypoints in their box."""
_FAR_OUT = 0.15
"""Part of its picture by which a box leaves it. (Some of LSPET's, which have a margin, do so by 0.05.)"""


def mixed_label_problems(samples: Samples, sizes: np.ndarray) -> list[Problem]:
    """Errors `mixed_units` and `mixed_box_form`, warnings `keypoints_beside_box`.

    Args:
        samples: of a set that `layout_problems` finds no fault with.
        sizes: `[N, 2]` (width, height) of the pictures, zeros where not known.
    """
    if not len(samples):
        return []
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=1)
    points, boxes = reach(samples)
    large = sizes.min(axis=1) > 4 * FRACTION
    units = large & ((boxes <= FRACTION) | ((points <= FRACTION) & (labels >= EXTENDED)))
    corners = ~units & (labels >= EXTENDED) & corner_boxes(samples, sizes)
    beside = ~units & ~corners & (labels >= EXTENDED) & (labels_in_boxes(samples) < _FEW)
    beside &= _is_box(samples.boxes, sizes)

    def said(row: int) -> str:
        inside = round(float(labels_in_boxes(samples.take([row]))[0]) * labels[row])
        return f"{labels[row] - inside} of {labels[row]} keypoints lie outside of the box"

    return [
        *listed(samples, units, "error", "mixed_units",
                lambda row: f"no coordinate is larger than {min(points[row], boxes[row]):.3g}: they are "
                "fractions of the picture, those of others are not", "write them in pixels"),
        *listed(samples, corners, "error", "mixed_box_form",
                lambda row: "the box leaves the picture, and read as two corners it fits the keypoints",
                "write x, y, width and height"),
        *listed(samples, beside, "warning", "keypoints_beside_box", said,
                "look at it with `p2net data browse`, and correct the box or the keypoints"),
    ]  # fmt: skip


def _is_box(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[N]` bool: boxes with an area that begin in their picture and end there; others are listed already."""
    ends = boxes[:, :2] + boxes[:, 2:]
    return np.all(
        (boxes[:, 2:] >= SMALLEST_BOX) & (ends > 0) & ((boxes[:, :2] < sizes) | (sizes == 0)), axis=1
    )


def corner_boxes(samples: Samples, sizes: np.ndarray) -> np.ndarray:
    """`[N]` bool: boxes that leave their picture, and as two corners lie in it and fit the keypoints."""
    boxes, known = samples.boxes.astype(np.float64), sizes[:, 0] > 0
    extents = keypoint_extents(samples.keypoints).astype(np.float64)
    other = as_xywh(boxes, "xyxy")
    with np.errstate(invalid="ignore"):  # infinite keypoints are listed already
        read, agreed = overlaps(extents, boxes), overlaps(extents, other)
    leave, fit = ~boxes_fit(boxes, sizes, _FAR_OUT * sizes), boxes_fit(other, sizes, slack_of(sizes))
    return known & leave & fit & (agreed >= AGREED) & (agreed >= BETTER * read)
