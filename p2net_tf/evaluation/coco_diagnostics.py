"""Why an AP is nearly 0: each check looks for one wiring fault and answers with a sentence and its remedy.

The ground truth here is the slim copy of `coco.py`: ids, keypoints, num_keypoints, iscrowd, area, bbox.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from p2net_tf.evaluation.oks import oks_matrix
from p2net_tf.evaluation.settings import COCO_PEOPLE

LARGEST_AREA = 1e10
"""COCO's range "all" is 0..1e5 ** 2 square pixels."""

NORMALIZED_UP_TO = 1.5
"""Coordinates within this of 0 are taken for fractions of the image, some a little outside of it."""


def crowds(dataset: dict, detections: list[dict], max_people: int) -> list[str]:
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


def unknown_images(dataset: dict, detections: list[dict]) -> list[str]:
    """What was left out, worth a sentence at any AP."""
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
    case = _PoseCase(dataset, detections, sigmas=np.asarray(sigmas))
    findings = wrong_ids(case)
    if case.matched.size == 0:
        return findings
    findings += first_finding(_COORDINATE_CHECKS, case)
    return findings or [_poor_poses(case)]


@dataclass(frozen=True)
class DiagnosedCase:
    """Slim ground truth and results, and what they are called in sentences.

    Attributes:
        things: of the truth, in the plural.
        by_image: annotations by image ids.
        matched: rows of the results on images with annotations.
    """

    dataset: dict
    detections: list[dict]
    things: str = field(default="persons", kw_only=True)

    @property
    def annotations(self) -> list[dict]:
        return self.dataset["annotations"]

    @cached_property
    def by_image(self) -> dict[int | str, list[dict]]:
        found = defaultdict(list)
        for annotation in self.annotations:
            found[annotation["image_id"]].append(annotation)
        return found

    @cached_property
    def matched(self) -> np.ndarray:
        rows = [row for row, found in enumerate(self.detections) if found["image_id"] in self.by_image]
        return np.asarray(rows, np.int64)

    @property
    def counted(self) -> list[dict]:
        """Annotations that may count, crowds too."""
        return [entry for entry in self.annotations if entry.get("num_keypoints", 1)]


@dataclass(frozen=True)
class _PoseCase(DiagnosedCase):
    sigmas: np.ndarray

    @cached_property
    def xy(self) -> np.ndarray:
        """`[D, K, 2]`."""
        keypoints = np.asarray([pose["keypoints"] for pose in self.detections], np.float64)
        return keypoints.reshape(len(keypoints), -1, 3)[..., :2]

    def inside(self, xy: np.ndarray) -> bool:
        """Whether any keypoint of `xy` (as `self.xy`) lies in any person box of its image."""
        for row in self.matched:
            persons = self.by_image[self.detections[row]["image_id"]]
            boxes = np.asarray([person["bbox"] for person in persons], np.float64)
            low, high = boxes[:, None, :2], boxes[:, None, :2] + boxes[:, None, 2:]
            if np.any(np.all((xy[row] >= low) & (xy[row] <= high), axis=-1)):
                return True
        return False


def wrong_ids(case: DiagnosedCase) -> list[str]:
    """Faults of the truth and of ids, whatever the results are."""
    return [finding for check in _TRUTH_CHECKS + _ID_CHECKS if (finding := check(case))]


def first_finding(checks: Sequence[Callable], case: DiagnosedCase) -> list[str]:
    """Of the first of `checks` that finds something, in a list; an empty one where none does."""
    finding = next((finding for check in checks if (finding := check(case))), None)
    return [finding] if finding else []


def _nobody(case: DiagnosedCase) -> str | None:
    if case.annotations:
        return None
    return "The ground truth has no annotations: check the file and the split."


def _nothing_labeled(case: DiagnosedCase) -> str | None:
    if not case.annotations or case.counted:
        return None
    return (
        "No keypoint of any person has a visibility of 1 or 2, so COCO ignores them all: write visibility 2 "
        "(1 where occluded) as the third value of every labeled keypoint."
    )


def _no_areas(case: DiagnosedCase) -> str | None:
    areas = np.asarray([a["area"] for a in case.annotations], np.float64)
    if not areas.size or np.any(areas >= 1):
        return None
    return (
        f"The areas of all {case.things} are below 1 square pixel: give them in square pixels of the image, "
        "or leave them out."
    )


def _all_excluded(case: DiagnosedCase) -> str | None:
    if not case.counted:
        return None
    if all(a["iscrowd"] for a in case.counted):
        return f"All {case.things} have iscrowd 1, so COCO ignores them: set iscrowd to 0 for single ones."
    areas = [a["area"] for a in case.counted if not a["iscrowd"]]
    if all(not 0 <= area <= LARGEST_AREA for area in areas):
        return (
            f"The areas of all {case.things} (e.g. {areas[0]:g}) lie outside COCO's range 0..1e10, so all "
            "are excluded: give areas in square pixels of the image."
        )
    return None


def _image_ids(case: DiagnosedCase) -> str | None:
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


def _images_without_persons(case: DiagnosedCase) -> str | None:
    if case.matched.size or not case.annotations or _image_ids(case):
        return None
    return (
        "The annotations are on other images than the predictions: check that both come from the same split, "
        "and that the annotations' image_id is the 'id' of an image."
    )


def _coverage(case: DiagnosedCase) -> str | None:
    covered = {case.detections[row]["image_id"] for row in case.matched}
    if not covered or len(covered) * 2 > len(case.by_image):
        return None
    return (
        f"Predictions cover only {len(covered)} of {len(case.by_image)} images with {case.things}: predict "
        "all of them, or score with the ground truth of the predicted images alone."
    )


def _categories(case: DiagnosedCase) -> str | None:
    known = {a["category_id"] for a in case.annotations} & {c["id"] for c in case.dataset["categories"]}
    predicted = {pose["category_id"] for pose in case.detections}
    if not case.annotations or known & predicted:
        return None
    return (
        f"The categories differ: predictions have category_id {_listed(predicted)}, the annotations (and the "
        f"'categories' list) {_listed(known)}: give the predictions the category_id of the annotated "
        f"{case.things}."
    )


def _not_finite(case: _PoseCase) -> str | None:
    if np.isfinite(case.xy).all(-1).any():
        return None
    return "No predicted coordinate is a finite number: look for the NaN in the weights or the decoding."


def _normalized(case: _PoseCase) -> str | None:
    finite = case.xy[np.isfinite(case.xy)]
    boxes = np.asarray([a["bbox"] for a in case.annotations], np.float64)
    if np.abs(finite).max() > NORMALIZED_UP_TO or boxes.max() <= 2 * NORMALIZED_UP_TO:
        return None
    return (
        "The predicted coordinates lie within 0..1 while the ground truth is in pixels: multiply x by the "
        "width and y by the height of the image."
    )


def _outside(case: _PoseCase) -> str | None:
    if case.inside(case.xy):
        return None
    hint = "; with x and y exchanged some do" if case.inside(case.xy[..., ::-1]) else ""
    return (
        f"No predicted keypoint lies inside a person box of its image{hint}: give x, y in pixels of the "
        "whole original image, not of the crop, the heatmap or a resized image."
    )


def _poor_poses(case: _PoseCase) -> str:
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
