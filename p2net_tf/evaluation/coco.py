"""COCO's keypoint AP and AR, by pycocotools, for any skeleton.

Ground truth and results must use the same coordinate convention: COCO's own files mean pixel indices
on both sides; `coco_ground_truth` and `coco_results` keep the continuous coordinates of `Samples` on both.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from p2net_tf.data.samples import Samples
from p2net_tf.evaluation.coco_diagnostics import crowds, unknown_images, why_so_low
from p2net_tf.evaluation.coco_files import (
    RESULT_FIELDS,
    read_ground_truth,
    read_results,
    with_one_kind_of_ids,
)
from p2net_tf.evaluation.settings import COCO_PEOPLE
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

METRICS = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)")
SUSPICIOUS_AP = 0.05
"""Below this AP, `CocoResult.diagnostics` says why."""

_FAR_AWAY = 1e9


@dataclass(frozen=True)
class CocoResult:
    """What COCO's keypoint evaluation gives.

    Attributes:
        metrics: `METRICS` to values in 0..1; -1 (as pycocotools) where no person falls in the range.
        images: images of the ground truth.
        persons: persons that count: not crowd, with labeled keypoints.
        predictions: poses that were given.
        diagnostics: sentences, each a finding with its remedy; always for poses left out, and for every cause
            that was found when AP is below `SUSPICIOUS_AP`.
        max_people: poses of a picture that count.
    """

    metrics: dict[str, float]
    images: int
    persons: int
    predictions: int
    diagnostics: tuple[str, ...] = ()
    ap_by_threshold: dict[float, float] = field(default_factory=dict)
    max_people: int = COCO_PEOPLE

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    @property
    def name(self) -> str:
        """What tables call it; numbers under another limit than COCO's must not be taken for COCO's."""
        return "OKS AP" if self.max_people == COCO_PEOPLE else f"OKS AP, {self.max_people} people a picture"

    def to_dict(self) -> dict:
        """The metrics by name, then counts and diagnostics, as plain JSON types."""
        counts = {"images": self.images, "persons": self.persons, "predictions": self.predictions}
        counts["max_people"] = self.max_people
        return {**self.metrics, **counts, "diagnostics": list(self.diagnostics)}


def evaluate_coco(
    ground_truth: dict | str | Path,
    results: list | dict | str | Path,
    sigmas: Sequence[float] | None = None,
    max_people: int = COCO_PEOPLE,
) -> CocoResult:
    """AP and AR of keypoints over OKS 0.50, 0.55, ... 0.95 (paper, section 4).

    Nothing that is passed in is changed. Prediction coordinates that are not finite score as misses (left to
    pycocotools, a NaN matches every person). Annotations get new ids, because pycocotools takes a match with
    the id 0 for none.

    Args:
        ground_truth: COCO annotations as a dict or the path of the JSON. `num_keypoints`, `iscrowd`, `area`
            and `bbox` may be missing; an area is then found as when people are read.
        results: list of `{image_id, category_id, keypoints [3 K], score}`, a dict that holds it under
            `annotations`, or the path of such a JSON.
        sigmas: K falloffs, by default those of `coco17`.
        max_people: poses of a picture that count, those of the highest scores.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    sigmas = np.asarray(Skeleton.load("coco17").sigmas if sigmas is None else sigmas, np.float64)
    dataset = read_ground_truth(ground_truth, len(sigmas))
    detections = read_results(results, len(sigmas))
    dataset, detections = with_one_kind_of_ids(dataset, detections)
    known = {image["id"] for image in dataset["images"]}
    used = [pose for pose in detections if pose["image_id"] in known]
    evaluation = run_pycocotools(dataset, used, sigmas, maxDets=[max_people])
    metrics = _summarized(evaluation)
    findings = [*unknown_images(dataset, detections), *crowds(dataset, detections, max_people)]
    if metrics["AP"] < SUSPICIOUS_AP:
        findings += why_so_low(dataset, detections, sigmas)
    counted = [a for a in dataset["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    return CocoResult(
        metrics,
        len(known),
        len(counted),
        len(detections),
        tuple(findings),
        _ap_by_threshold(evaluation),
        max_people,
    )


def coco_ground_truth(samples: Samples) -> dict:
    """`samples` as COCO ground truth in their own continuous coordinates, with their own ids.

    So LSP, MPII or a few rows of any set can be scored with OKS AP; score results in the same coordinates.
    """
    image_ids = samples.given_image_ids
    paths = dict(zip(image_ids, samples.image_paths.tolist(), strict=True))
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=-1)
    columns = zip(
        image_ids,
        samples.boxes.tolist(),
        samples.areas.tolist(),
        samples.keypoints.reshape(len(samples), 3 * samples.skeleton.num_keypoints).tolist(),
        labels.tolist(),
        strict=True,
    )
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": samples.category_id,
            "iscrowd": 0,
            "bbox": box,
            "area": area,
            "keypoints": keypoints,
            "num_keypoints": count,
        }
        for number, (image_id, box, area, keypoints, count) in enumerate(columns, start=1)
    ]
    return {
        "images": [{"id": image_id, "file_name": path} for image_id, path in paths.items()],
        "categories": [
            {"id": samples.category_id, "name": "person", "keypoints": list(samples.skeleton.keypoints)}
        ],
        "annotations": annotations,
    }


def coco_results(image_ids, keypoints, scores, keypoint_scores=None, category_ids=1) -> list[dict]:
    """Columns as a COCO result list, in the coordinates they are in.

    Args:
        image_ids: list of D numbers or texts.
        keypoints: `[D, K, 2]`.
        scores: `[D]` pose scores.
        keypoint_scores: `[D, K]`; 1 by default (COCO does not read them).
        category_ids: one, or `[D]`.
    """
    keypoints = np.asarray(keypoints, np.float64)
    confidence = np.ones(keypoints.shape[:2]) if keypoint_scores is None else np.asarray(keypoint_scores)
    flat = np.concatenate([keypoints[..., :2], confidence[..., None]], axis=-1)
    flat = flat.reshape(len(keypoints), 3 * keypoints.shape[1])
    categories = np.broadcast_to(category_ids, len(keypoints))
    columns = [
        np.asarray(image_ids, object).tolist(),
        categories.tolist(),
        flat.tolist(),
        np.asarray(scores).tolist(),
    ]
    return [dict(zip(RESULT_FIELDS, row, strict=True)) for row in zip(*columns, strict=True)]


def run_pycocotools(dataset: dict, detections: list[dict], sigmas: np.ndarray, **params) -> COCOeval:
    """pycocotools' evaluation up to its matches (`evalImgs`), without its prints.

    Args:
        dataset: as `read_ground_truth` gives it; pycocotools adds marks to its annotations.
        detections: as `read_results` gives them; pycocotools knows each by its place in the list, from 1 on.
        params: attributes of its `Params`, e.g. `iouThrs`.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = indexed(dataset)
        evaluation = COCOeval(truth, _load_results(truth, detections), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
    return evaluation


def _summarized(evaluation: COCOeval) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        # `summarize` looks its column up by COCO's own number, whatever it was counted with.
        evaluation.params.maxDets = [COCO_PEOPLE]
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


def _ap_by_threshold(evaluation: COCOeval) -> dict[float, float]:
    precisions = evaluation.eval["precision"][..., 0, -1]  # [OKS thresholds, recalls, categories], all areas
    means = [float(rows[rows > -1].mean()) if np.any(rows > -1) else -1.0 for rows in precisions]
    return dict(zip(np.round(evaluation.params.iouThrs, 2).tolist(), means, strict=True))


def _load_results(truth: COCO, detections: list[dict]) -> COCO:
    if not detections:
        return indexed({**truth.dataset, "annotations": []})
    keypoints = np.asarray([pose["keypoints"] for pose in detections], np.float64)
    keypoints = keypoints.reshape(len(detections), -1, 3)
    missing = ~np.isfinite(keypoints[..., :2]).all(-1)
    # `loadRes` takes areas from the extent of the keypoints, so the missing ones go far away only afterwards.
    found = truth.loadRes(
        [{**p, "keypoints": k.ravel()} for p, k in zip(detections, _filled(keypoints, missing), strict=True)]
    )
    for annotation, rows, gaps in zip(found.dataset["annotations"], keypoints, missing, strict=True):
        annotation["keypoints"] = np.where(gaps[:, None], _FAR_AWAY, rows).ravel()
    return found


def _filled(keypoints: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Missing keypoints put on a present one of the same pose, which leaves its extent as it is."""
    present = np.argmin(missing, axis=1)
    stand_in = np.nan_to_num(keypoints[np.arange(len(keypoints)), present], posinf=0.0, neginf=0.0)
    return np.where(missing[..., None], stand_in[:, None], keypoints)


def indexed(dataset: dict) -> COCO:
    """pycocotools' own form of ground truth or results."""
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
