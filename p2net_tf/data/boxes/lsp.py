"""LSP and LSPET as boxes: one labeled person each picture, in a box around the keypoints.

Other people in these pictures have no label, so nothing beside the person can be taken for background; see
`unlabeled`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.boxes.settings import PERSON, Unlabeled
from p2net_tf.data.extents import keypoint_extents
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.keypoints.visibility import NOT_LABELED

MARGIN = 0.06
"""A box is larger than the extent of the keypoints by this fraction of its longer side, on every side. So the
boxes of 44 people of COCO, whole and with a point on top of the head, are met best: by an IoU of 0.79."""
_ENOUGH_KEYPOINTS = 8
"""With fewer labels the extent of the person is unknown."""


def scenes_of_people(
    samples: Samples, classes: Sequence[str] = (PERSON,), unlabeled: Unlabeled = "ignore"
) -> Scenes:
    """Pictures with one labeled person each.

    Args:
        samples: as `read_lsp` and `read_lspet` give them, whose boxes may be whole pictures.
        classes: names; empty for all that there are, which is `person`.
        unlabeled: `ignore` makes the whole picture a crowd, so that only the person counts in it.

    Raises:
        DataError: `person` is none of the classes.
    """
    names = tuple(classes) or (PERSON,)
    if PERSON not in names:
        raise DataError(f"{samples.source}: has people only, none of {', '.join(names)}; leave it out")
    notebook = Notebook(samples.source, list(samples.problems))
    known = (samples.keypoints[..., 2] > NOT_LABELED).sum(axis=1) >= _ENOUGH_KEYPOINTS
    if not known.all():
        detail = f"{(~known).sum()} of {len(known)} people have too few keypoints for a box: left out"
        notebook.note("read_as", detail)
    fate = "does not count" if unlabeled == "ignore" else "counts as background"
    detail = (
        f"one person of each picture is labeled, in a box around the keypoints; what else is there {fate}"
    )
    notebook.note("unlabeled", detail, "`unlabeled` says which")
    people = samples.take(known)
    sizes, _ = image_headers(people.image_paths, people.exif_orientation)
    boxes, owners = _boxes(people.keypoints, sizes), np.arange(len(people))
    crowds = np.zeros(len(people), bool)
    ids = people.ids
    if unlabeled == "ignore":
        seen = np.flatnonzero(sizes[:, 0] > 0)
        whole = np.concatenate([np.zeros_like(sizes), sizes], axis=1)[seen]
        boxes, owners = np.concatenate([boxes, whole]), np.concatenate([owners, seen])
        crowds = np.arange(len(owners)) >= len(people)
        ids = np.concatenate([ids, ids.max(initial=0) + 1 + seen])
    order = np.argsort(owners, kind="stable")
    return Scenes(
        names,
        image_paths=people.image_paths,
        image_ids=people.image_ids,
        label_sizes=people.label_sizes,
        owners=owners[order],
        boxes=boxes[order],
        classes=np.full(len(owners), names.index(PERSON)),
        crowds=crowds[order],
        areas=boxes[order, 2] * boxes[order, 3],
        ids=ids[order],
        exif_orientation=people.exif_orientation,
        source=people.source,
        image_names=people.image_names,
        category_ids=tuple(range(1, len(names) + 1)),
        problems=tuple(notebook.problems),
        settled=frozenset(("coordinates", "boxes")),
    )


def _boxes(keypoints: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[N, 4]` xywh around the people, within their pictures `sizes` (zeros where not known)."""
    boxes = keypoint_extents(keypoints).astype(np.float32)
    margin = MARGIN * boxes[:, 2:].max(axis=1, keepdims=True)
    low, high = boxes[:, :2] - margin, boxes[:, :2] + boxes[:, 2:] + margin
    known = sizes > 0
    low = np.where(known, np.clip(low, 0, sizes), low)
    high = np.where(known, np.clip(high, 0, sizes), high)
    return np.concatenate([low, high - low], axis=1)
