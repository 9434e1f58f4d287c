"""Whose pose is it: COCO results put beside the people of the truth, one pose a person, as PCK needs them.

- A pose with `annotation_id`, as `p2net evaluate` writes them for PCK, is that person's.
- In a picture with one person the pose with the best score is theirs.
- In others the poses choose, the best score first: each the person of the highest OKS that nobody has yet,
  where that is 0.1 at least. (Below it a pose is of nobody: `error_analysis.matching`.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from p2net_tf.data.annotations.values import key
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.coco_files import RESULT_FIELDS, read_results, result_list
from p2net_tf.evaluation.error_analysis.matching import MATCHING_OKS
from p2net_tf.evaluation.oks import oks_matrix
from p2net_tf.skeletons.skeleton import Skeleton


def match_results(
    people: Sequence[dict], results: list | dict, skeleton: Skeleton, source: str
) -> np.ndarray:
    """`[N, K, 2]` predictions of N people in COCO's pixels, NaN where there is none.

    Args:
        people: `image_id`, `keypoints [3 K]`, `area` and `annotation_id` of each.
        results: COCO results.
        source: their file, for messages.

    Raises:
        DataError: no result list, or one of other pictures alone.
    """
    try:
        poses = read_results(results, skeleton.num_keypoints)
    except DataError as error:
        raise DataError(str(error).replace("predictions", source, 1)) from None
    _, entries = result_list(results, RESULT_FIELDS)
    owners = [key(pose.get("annotation_id")) for pose in entries]
    xy = np.array([pose["keypoints"] for pose in poses], np.float64).reshape(
        len(poses), skeleton.num_keypoints, 3
    )[..., :2]
    found = np.full((len(people), skeleton.num_keypoints, 2), np.nan)
    by_image, poses_of = defaultdict(list), defaultdict(list)
    for row, person in enumerate(people):
        by_image[person["image_id"]].append(row)
    for row, pose in enumerate(poses):
        poses_of[pose["image_id"]].append(row)
    if poses and not by_image.keys() & poses_of.keys():
        raise DataError(
            f"{source}: none of its image ids (e.g. {poses[0]['image_id']!r}) has a person in the ground "
            f"truth (e.g. {next(iter(by_image), None)!r}); predict the pictures of the ground truth"
        )
    for image_id, rows in by_image.items():
        mine = sorted(poses_of.get(image_id, []), key=lambda row: -poses[row]["score"])
        for row, pose in _pairs(people, rows, xy, mine, owners, skeleton):
            found[row] = xy[pose]
    return found


def _pairs(people, rows: list[int], xy, poses: list[int], owners: list, skeleton: Skeleton):
    """`(person, pose)` of one picture; `poses`: best first."""
    ids = {row: key(people[row]["annotation_id"]) for row in rows}
    named = {found: row for row, found in ids.items() if found is not None}
    owned = {named[owners[pose]]: pose for pose in reversed(poses) if owners[pose] in named}
    yield from owned.items()
    free = [row for row in rows if row not in owned]
    poses = [pose for pose in poses if owners[pose] not in named]
    if len(rows) == 1:
        yield from zip(free, poses[:1], strict=False)
        return
    oks = _oks(people, free, xy, poses, skeleton)
    taken = np.zeros(len(free), bool)
    for place, pose in enumerate(poses):
        left = np.where(taken, -1.0, oks[place])
        if left.size and left.max() >= MATCHING_OKS:
            best = int(left.argmax())
            taken[best] = True
            yield free[best], pose


def _oks(people, rows: list[int], xy, poses: list[int], skeleton: Skeleton) -> np.ndarray:
    """`[poses, rows]`."""
    truth = np.array([people[row]["keypoints"] for row in rows], np.float64)
    truth = truth.reshape(len(rows), skeleton.num_keypoints, 3)
    areas = [people[row]["area"] for row in rows]
    return oks_matrix(xy[poses].reshape(len(poses), skeleton.num_keypoints, 2), truth, areas, skeleton.sigmas)
