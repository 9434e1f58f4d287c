"""Truth and predictions as columns, and who matches whom: what the error analysis starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.evaluation.coco import run_pycocotools
from p2net_tf.evaluation.coco_diagnostics import LARGEST_AREA
from p2net_tf.evaluation.coco_files import read_ground_truth, read_results
from p2net_tf.evaluation.oks import oks_matrix
from p2net_tf.evaluation.settings import COCO_PEOPLE
from p2net_tf.skeletons.skeleton import Skeleton

MATCHING_OKS = 0.1
"""From this OKS on, a pose is a badly placed one of a person; below it, of nobody (the authors' value)."""


@dataclass(frozen=True)
class Case:
    """D poses and G persons, in the one coordinate convention that both came in.

    Attributes:
        dataset: slim COCO ground truth; annotation g is person g.
        poses: D slim COCO results; those on images that the ground truth lacks are left out.
        skeleton: the card of the K keypoints.
        keypoints: `[D, K, 2]` predicted x, y; may hold NaN.
        scores: `[D]`.
        pose_images: `[D]` places in the list of images.
        truth: `[G, K, 3]` x, y, visibility.
        areas: `[G]` square pixels: s^2 of OKS.
        boxes: `[G, 4]` xywh.
        person_images: `[G]` places in the list of images; -1 where the image is not listed.
    """

    dataset: dict
    poses: list[dict]
    skeleton: Skeleton
    keypoints: np.ndarray
    scores: np.ndarray
    pose_images: np.ndarray
    truth: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    person_images: np.ndarray

    @property
    def sigmas(self) -> np.ndarray:
        return np.asarray(self.skeleton.sigmas, np.float64)

    def per_image(self, pose_rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For every image of these poses: their places in `pose_rows`, and the rows of its persons."""
        images = self.pose_images[pose_rows]
        for image in np.unique(images):
            yield np.flatnonzero(images == image), np.flatnonzero(self.person_images == image)


@dataclass(frozen=True)
class Matches:
    """Who matches whom.

    Attributes:
        pose_rows, person_rows: `[P]` the pairs, without those of persons that COCO ignores.
        background: `[D]` bool, poses that lie on nobody, matched to another pose or not.
        missed: `[G]` bool, persons that count and that no pose matches.
        counted: `[G]` bool, persons that count: no crowds, not without labels.
    """

    pose_rows: np.ndarray
    person_rows: np.ndarray
    background: np.ndarray
    missed: np.ndarray
    counted: np.ndarray


def read_case(ground_truth: dict | str | Path, results: list | dict | str | Path, skeleton: Skeleton) -> Case:
    """Arguments as in `evaluate_coco`.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    count = skeleton.num_keypoints
    dataset = read_ground_truth(ground_truth, count)
    place_of = {image["id"]: place for place, image in enumerate(dataset["images"])}
    poses = [pose for pose in read_results(results, count) if pose["image_id"] in place_of]
    persons = dataset["annotations"]
    return Case(
        dataset,
        poses,
        skeleton,
        keypoints=_keypoints(poses, count)[..., :2],
        scores=np.array([pose["score"] for pose in poses], np.float64),
        pose_images=np.array([place_of[pose["image_id"]] for pose in poses], np.int64),
        truth=_keypoints(persons, count),
        areas=np.array([person["area"] for person in persons], np.float64),
        boxes=np.array([person["bbox"] for person in persons], np.float64).reshape(-1, 4),
        person_images=np.array([place_of.get(person["image_id"], -1) for person in persons], np.int64),
    )


def match_poses(case: Case, max_people: int = COCO_PEOPLE) -> Matches:
    """Matches by pycocotools itself at `MATCHING_OKS`: by falling score, each to the free person of most OKS.

    A second pose of a person is neither matched nor background; the score that ranks it is its error.
    """
    evaluation = run_pycocotools(
        case.dataset,
        case.poses,
        case.sigmas,
        iouThrs=np.array([MATCHING_OKS]),
        areaRng=[[0, LARGEST_AREA]],
        maxDets=[max_people],
    )
    images = [image for image in evaluation.evalImgs if image is not None]
    poses, persons = _column(images, "dtIds") - 1, _column(images, "gtIds") - 1
    person_of, pose_of = _column(images, "dtMatches") - 1, _column(images, "gtMatches") - 1
    pose_counts, person_counts = _column(images, "dtIgnore") == 0, _column(images, "gtIgnore") == 0
    pairs = (person_of >= 0) & pose_counts
    in_order = np.argsort(poses[pairs])
    return Matches(
        pose_rows=poses[pairs][in_order],
        person_rows=person_of[pairs][in_order],
        background=_lie_on_nobody(case),
        missed=_mask(persons[(pose_of < 0) & person_counts], len(case.areas)),
        counted=_mask(persons[person_counts], len(case.areas)),
    )


def _lie_on_nobody(case: Case) -> np.ndarray:
    """`[D]` bool; ignored persons are somebody, too."""
    nearest = np.zeros(len(case.poses))
    for poses, persons in case.per_image(np.arange(len(case.poses))):
        truth, areas, boxes = case.truth[persons], case.areas[persons], case.boxes[persons]
        oks = oks_matrix(case.keypoints[poses], truth, areas, case.sigmas, boxes)
        nearest[poses] = oks.max(axis=1, initial=0.0)
    return nearest < MATCHING_OKS


def _keypoints(entries: list[dict], count: int) -> np.ndarray:
    return np.array([entry["keypoints"] for entry in entries], np.float64).reshape(len(entries), count, 3)


def _column(images: list[dict], name: str) -> np.ndarray:
    """Of the evaluations of all images; each has one threshold."""
    return np.concatenate([np.zeros(0), *(np.ravel(image[name]) for image in images)]).astype(np.int64)


def _mask(rows: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask
