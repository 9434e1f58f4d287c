"""Why an AP is nearly 0: each check looks for one wiring fault and answers with a sentence and its remedy.

The ground truth here is the slim copy of `coco.py`: ids, keypoints, num_keypoints, iscrowd, area, bbox.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from p2net_tf.evaluation.oks import oks_matrix
from p2net_tf.evaluation.settings import COCO_PEOPLE

LARGEST_AREA = 1e10
"""COCO's range "all" is 0..1e5 ** 2 square pixels."""

_NORMALIZED_UP_TO = 1.5
"""Coordinates within this of 0 are taken for fractions of the image, some a little outside of it."""


def always_said(dataset: dict, detections: list[dict], max_people: int) -> list[str]:
    """Findings worth a sentence at any AP: poses that were left out."""
    return [*_unknown_images(dataset, detections), *_crowds(dataset, detections, max_people)]


def _crowds(dataset: dict, detections: list[dict], max_people: int) -> list[str]:
    """Poses beyond those of a picture that count: perfect ones of 30 people reach an AP of 0.663."""
    known = {image["id"] for image in dataset["images"]}
    counts = Counter((p["image_id"], p["category_id"]) for p in detections if p["image_id"] in known)
    crowded = {picture: count for picture, count in counts.items() if count > max_people}
    if not crowded:
        return []
    whose = "COCO counts" if max_people == COCO_PEOPLE else "evaluation.max_people counts"
    cut = sum(crowded.values()) - max_people * len(crowded)
    return [
        f"{whose} {max_people} poses of a picture: {cut} of lower scores on {len(crowded)} pictures do not "
        f"count; evaluation.max_people={max(crowded.values())} counts all of them, for numbers of your own"
    ]


def _unknown_images(dataset: dict, detections: list[dict]) -> list[str]:
    known = {image["id"] for image in dataset["images"]}
    unknown = [pose["image_id"] for pose in detections if pose["image_id"] not in known]
    if not unknown or len(unknown) == len(detections):
        return []
    return [
        f"{len(unknown)} of {len(detections)} predictions were left out, their image ids (e.g. "
        f"{unknown[0]!r}) are not in the ground truth: give the ground truth of the same images"
    ]


def why_so_low(dataset: dict, detections: list[dict], sigmas) -> list[str]:
    """Every cause that is found; where there is none, how close the poses come."""
    if not detections:
        return ["The predictions are empty: check the person boxes and the score threshold of the run."]
    case = _Case(dataset, detections, np.asarray(sigmas))
    findings = [finding for check in _TRUTH_CHECKS + _ID_CHECKS if (finding := check(case))]
    if case.matched.size == 0:
        return findings
    findings += _first(_COORDINATE_CHECKS, case)
    return findings or [_poor_poses(case)]


@dataclass(frozen=True)
class _Case:
    dataset: dict
    detections: list[dict]
    sigmas: np.ndarray

    def __post_init__(self):
        keypoints = np.asarray([pose["keypoints"] for pose in self.detections], np.float64)
        object.__setattr__(self, "xy", keypoints.reshape(len(keypoints), -1, 3)[..., :2])
        by_image = defaultdict(list)
        for annotation in self.annotations:
            by_image[annotation["image_id"]].append(annotation)
        object.__setattr__(self, "by_image", by_image)
        matched = [row for row, pose in enumerate(self.detections) if pose["image_id"] in by_image]
        object.__setattr__(self, "matched", np.asarray(matched, np.int64))

    @property
    def annotations(self) -> list[dict]:
        return self.dataset["annotations"]

    def inside(self, xy: np.ndarray) -> bool:
        """Whether any keypoint of `xy` (as `self.xy`) lies in any person box of its image."""
        for row in self.matched:
            persons = self.by_image[self.detections[row]["image_id"]]
            boxes = np.asarray([person["bbox"] for person in persons], np.float64)
            low, high = boxes[:, None, :2], boxes[:, None, :2] + boxes[:, None, 2:]
            if np.any(np.all((xy[row] >= low) & (xy[row] <= high), axis=-1)):
                return True
        return False


def _first(checks, case: _Case) -> list[str]:
    finding = next((finding for check in checks if (finding := check(case))), None)
    return [finding] if finding else []


def _nobody(case: _Case) -> str | None:
    if case.annotations:
        return None
    return "The ground truth has no annotations: check the file and the split."


def _nothing_labeled(case: _Case) -> str | None:
    if not case.annotations or any(a["num_keypoints"] for a in case.annotations):
        return None
    return (
        "No keypoint of any person has a visibility of 1 or 2, so COCO ignores them all: write visibility 2 "
        "(1 where occluded) as the third value of every labeled keypoint."
    )


def _no_areas(case: _Case) -> str | None:
    areas = np.asarray([a["area"] for a in case.annotations], np.float64)
    if not areas.size or np.any(areas >= 1):
        return None
    return (
        "The area of every person is below 1 square pixel, so OKS forgives no distance: give areas in square "
        "pixels of the image, or leave them out."
    )


def _all_excluded(case: _Case) -> str | None:
    counted = [a for a in case.annotations if a["num_keypoints"]]
    if not counted:
        return None
    if all(a["iscrowd"] for a in counted):
        return "Every person has iscrowd 1, so COCO ignores them all: set iscrowd to 0 for single persons."
    areas = [a["area"] for a in counted if not a["iscrowd"]]
    if all(not 0 <= area <= LARGEST_AREA for area in areas):
        return (
            f"Every person's area (e.g. {areas[0]:g}) lies outside COCO's range 0..1e10, so all are "
            "excluded: give areas in square pixels of the image."
        )
    return None


def _image_ids(case: _Case) -> str | None:
    known = {image["id"] for image in case.dataset["images"]}
    predicted = [pose["image_id"] for pose in case.detections]
    if any(image_id in known for image_id in predicted):
        return None
    ours = next(iter(known), None)
    hint = " (text against number)" if type(ours) is not type(predicted[0]) else ""
    return (
        f"None of the predictions' image ids (e.g. {predicted[0]!r}) is in the ground truth (e.g. "
        f"{ours!r}){hint}: image_id must be the 'id' of the ground truth's 'images'."
    )


def _images_without_persons(case: _Case) -> str | None:
    if case.matched.size or not case.annotations or _image_ids(case):
        return None
    return (
        "The annotations are on other images than the predictions: check that both come from the same split, "
        "and that the annotations' image_id is the 'id' of an image."
    )


def _coverage(case: _Case) -> str | None:
    covered = {case.detections[row]["image_id"] for row in case.matched}
    if not covered or len(covered) * 2 > len(case.by_image):
        return None
    return (
        f"Predictions cover only {len(covered)} of {len(case.by_image)} images with persons: predict all of "
        "them, or score with the ground truth of the predicted images alone."
    )


def _categories(case: _Case) -> str | None:
    known = {a["category_id"] for a in case.annotations} & {c["id"] for c in case.dataset["categories"]}
    predicted = {pose["category_id"] for pose in case.detections}
    if not case.annotations or known & predicted:
        return None
    return (
        f"The categories differ: predictions have category_id {_listed(predicted)}, the annotations (and the "
        f"'categories' list) {_listed(known)}: give the predictions the category_id of the annotated persons."
    )


def _not_finite(case: _Case) -> str | None:
    if np.isfinite(case.xy).all(-1).any():
        return None
    return "No predicted coordinate is a finite number: look for the NaN in the weights or the decoding."


def _normalized(case: _Case) -> str | None:
    finite = case.xy[np.isfinite(case.xy)]
    boxes = np.asarray([a["bbox"] for a in case.annotations], np.float64)
    if np.abs(finite).max() > _NORMALIZED_UP_TO or boxes.max() <= 2 * _NORMALIZED_UP_TO:
        return None
    return (
        "The predicted coordinates lie within 0..1 while the ground truth is in pixels: multiply x by the "
        "width and y by the height of the image."
    )


def _outside(case: _Case) -> str | None:
    if case.inside(case.xy):
        return None
    hint = "; with x and y exchanged some do" if case.inside(case.xy[..., ::-1]) else ""
    return (
        f"No predicted keypoint lies inside a person box of its image{hint}: give x, y in pixels of the "
        "whole original image, not of the crop, the heatmap or a resized image."
    )


def _poor_poses(case: _Case) -> str:
    best, rows_of = [], defaultdict(list)
    for row in case.matched:
        rows_of[case.detections[row]["image_id"]].append(row)
    for image_id, persons in case.by_image.items():
        rows = np.asarray(rows_of[image_id], np.int64)
        truth = np.asarray([a["keypoints"] for a in persons], np.float64).reshape(len(persons), -1, 3)
        oks = oks_matrix(case.xy[rows], truth, [a["area"] for a in persons], case.sigmas)
        best.extend(oks.max(axis=0, initial=0.0)[(truth[..., 2] > 0).any(-1)])
    mean = float(np.mean(best)) if best else 0.0
    return (
        "Ids, categories, areas and coordinates fit together, but the best pose of a person reaches an OKS "
        f"of {mean:.3f} on average: check the order of the keypoints, then the model itself."
    )


def _listed(values: set) -> str:
    return ", ".join(sorted(map(repr, values))[:5]) or "none"


_TRUTH_CHECKS = (_nobody, _nothing_labeled, _no_areas, _all_excluded)
_ID_CHECKS = (_image_ids, _images_without_persons, _categories, _coverage)
_COORDINATE_CHECKS = (_not_finite, _normalized, _outside)
