"""COCO's keypoint AP and AR, by pycocotools, for any skeleton.

Ground truth and results must use the same coordinate convention: COCO's own files mean pixel indices
on both sides; `coco_ground_truth` and `coco_results` keep the continuous coordinates of `Samples` on both.
"""

from __future__ import annotations

import contextlib
import io
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.samples import NOT_LABELED, DataError, Samples
from p2net_tf.evaluation.coco_diagnostics import always_said, why_so_low
from p2net_tf.skeletons import load_skeleton

METRICS = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)")
SUSPICIOUS_AP = 0.05
"""Below this AP, `CocoResult.diagnostics` says why."""

_FAR_AWAY = 1e9
_RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")


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
    """

    metrics: dict[str, float]
    images: int
    persons: int
    predictions: int
    diagnostics: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    @property
    def name(self) -> str:
        return "OKS AP"

    def to_dict(self) -> dict:
        """The metrics by name, then counts and diagnostics, as plain JSON types."""
        counts = {"images": self.images, "persons": self.persons, "predictions": self.predictions}
        return {**self.metrics, **counts, "diagnostics": list(self.diagnostics)}


def evaluate_coco(
    ground_truth: dict | str | Path, results: list | dict | str | Path, sigmas: Sequence[float] | None = None
) -> CocoResult:
    """AP and AR of keypoints over OKS 0.50, 0.55, ... 0.95 (paper, section 4).

    Nothing that is passed in is changed. Prediction coordinates that are not finite score as misses (left to
    pycocotools, a NaN matches every person). Annotations get new ids, because pycocotools takes a match with
    the id 0 for none.

    Args:
        ground_truth: COCO annotations as a dict or the path of the JSON. `num_keypoints`, `iscrowd`, `area`
            and `bbox` may be missing.
        results: list of `{image_id, category_id, keypoints [3 K], score}`, a dict that holds it under
            `annotations`, or the path of such a JSON.
        sigmas: K falloffs, by default those of `coco17`.

    Raises:
        DataError: a field is missing or has another length; names it and the remedy.
    """
    sigmas = np.asarray(load_skeleton("coco17").sigmas if sigmas is None else sigmas, np.float64)
    dataset = _Truth(ground_truth, len(sigmas)).dataset()
    detections = _detections(results, len(sigmas))
    known = {image["id"] for image in dataset["images"]}
    used = [pose for pose in detections if pose["image_id"] in known]
    metrics = _run(dataset, used, sigmas)
    findings = always_said(dataset, detections)
    if metrics["AP"] < SUSPICIOUS_AP:
        findings += why_so_low(dataset, detections, sigmas)
    counted = [a for a in dataset["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    return CocoResult(metrics, len(known), len(counted), len(detections), tuple(findings))


def coco_ground_truth(samples: Samples) -> dict:
    """`samples` as COCO ground truth in their own continuous coordinates, one category `person` with id 1.

    So LSP, MPII or a few rows of any set can be scored with OKS AP; score results in the same coordinates.
    """
    paths = dict(zip(samples.image_ids.tolist(), samples.image_paths.tolist(), strict=True))
    labels = np.count_nonzero(samples.keypoints[..., 2] > NOT_LABELED, axis=-1)
    columns = zip(
        samples.image_ids.tolist(),
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
            "category_id": 1,
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
        "categories": [{"id": 1, "name": "person", "keypoints": list(samples.skeleton.keypoints)}],
        "annotations": annotations,
    }


def coco_results(image_ids, keypoints, scores, keypoint_scores=None, category_ids=1) -> list[dict]:
    """Columns as a COCO result list, in the coordinates they are in.

    Args:
        image_ids: `[D]`.
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
    columns = [np.asarray(column).tolist() for column in (image_ids, categories, flat, scores)]
    return [dict(zip(_RESULT_FIELDS, row, strict=True)) for row in zip(*columns, strict=True)]


class _Truth:
    """A slim copy of the ground truth with every field that pycocotools reads."""

    def __init__(self, source: dict | str | Path, num_keypoints: int):
        self.where = "ground truth" if isinstance(source, dict) else str(source)
        self.content = source if isinstance(source, dict) else load_json(source)
        self.num_keypoints = num_keypoints

    def dataset(self) -> dict:
        for field in ("images", "annotations", "categories"):
            if not isinstance(self.content, dict) or not isinstance(self.content.get(field), list):
                raise DataError(
                    f"{self.where}: no list '{field}'; COCO ground truth is an object with images, "
                    "annotations and categories (a result list goes to the predictions)"
                )
        if self.content["annotations"] and not any("keypoints" in a for a in self.content["annotations"]):
            raise DataError(
                f"{self.where}: no annotation has 'keypoints'; take person_keypoints_*.json, not "
                "instances_*.json"
            )
        return {
            "images": self._ids("images"),
            "categories": self._ids("categories"),
            "annotations": [self._annotation(i, a) for i, a in enumerate(self.content["annotations"])],
        }

    def _ids(self, field: str) -> list[dict]:
        return [{"id": self._required(item, "id", field, i)} for i, item in enumerate(self.content[field])]

    def _required(self, item: dict, name: str, field: str, row: int):
        if name not in item:
            raise DataError(f"{self.where}: {field}[{row}] has no '{name}'; every one needs it")
        return item[name]

    def _annotation(self, row: int, annotation: dict) -> dict:
        keypoints = _given(annotation, "keypoints", [0] * (3 * self.num_keypoints))
        if len(keypoints) != 3 * self.num_keypoints:
            raise DataError(
                f"{self.where}: annotations[{row}]: {len(keypoints)} values in 'keypoints', expected "
                f"3 x {self.num_keypoints}; score with the sigmas of the skeleton that was annotated"
            )
        if not np.isfinite(np.asarray(keypoints, np.float64)).all():
            raise DataError(
                f"{self.where}: annotations[{row}]: a value of 'keypoints' is not a number; "
                "write 0, 0, 0 for a keypoint without a label"
            )
        labeled = [i for i in range(self.num_keypoints) if keypoints[3 * i + 2] > 0]
        return {
            "id": row + 1,
            "image_id": self._required(annotation, "image_id", "annotations", row),
            "category_id": self._required(annotation, "category_id", "annotations", row),
            "keypoints": keypoints,
            "num_keypoints": _given(annotation, "num_keypoints", len(labeled)),
            "iscrowd": _given(annotation, "iscrowd", 0),
            "area": float(np.nan_to_num(_given(annotation, "area", 0.0))),
            "bbox": _given(annotation, "bbox", _extent(keypoints, labeled)),
        }


def _given(annotation: dict, name: str, default):
    value = annotation.get(name)
    return default if value is None else value


def _extent(keypoints: list, labeled: list[int]) -> list[float]:
    if not labeled:
        return [0.0, 0.0, 0.0, 0.0]
    xs, ys = [keypoints[3 * i] for i in labeled], [keypoints[3 * i + 1] for i in labeled]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _detections(source: list | dict | str | Path, num_keypoints: int) -> list[dict]:
    where = str(source) if isinstance(source, str | Path) else "predictions"
    content = load_json(source) if isinstance(source, str | Path) else source
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list):
        fields = ", ".join(_RESULT_FIELDS)
        raise DataError(f"{where}: not a result list; give a list of objects with {fields}")
    for row, pose in enumerate(content):
        _check_detection(f"{where}: [{row}]", pose, num_keypoints)
    # pycocotools takes a pose's area from its box when the first one has a box, else from its keypoints.
    boxes = bool(content) and all(pose.get("bbox") for pose in content)
    fields = (*_RESULT_FIELDS, "bbox") if boxes else _RESULT_FIELDS
    return [{name: pose[name] for name in fields} for pose in content]


def _check_detection(where: str, pose, num_keypoints: int):
    missing = [n for n in _RESULT_FIELDS if not isinstance(pose, dict) or pose.get(n) is None]
    if missing:
        raise DataError(f"{where}: no '{missing[0]}'; every pose needs {', '.join(_RESULT_FIELDS)}")
    if len(pose["keypoints"]) != 3 * num_keypoints:
        raise DataError(
            f"{where}: {len(pose['keypoints'])} values in 'keypoints', expected 3 x {num_keypoints} "
            "(x, y, score of each); predict the skeleton of the ground truth"
        )
    if not isinstance(pose["score"], numbers.Real) or not np.isfinite(pose["score"]):
        raise DataError(f"{where}: the score is {pose['score']}; poses are ranked by it, so give a number")


def _run(dataset: dict, detections: list[dict], sigmas: np.ndarray) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(dataset)
        found = _load_results(truth, detections)
        evaluation = COCOeval(truth, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


def _load_results(truth: COCO, detections: list[dict]) -> COCO:
    if not detections:
        return _indexed({**truth.dataset, "annotations": []})
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


def _indexed(dataset: dict) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
