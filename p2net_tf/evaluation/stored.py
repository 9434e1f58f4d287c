"""Scores stored predictions against stored ground truth: what `p2net score lsp|mpii|coco|pck` calls.

The files are `.json`, `.mat`, `.h5`, `.npz` or `.npy` (`p2net_tf.evaluation.array_files`). Both sides are
used as they are, so they must share a convention: the files of LSP and MPII and the predictions that are
published for them (CPM's, the hourglass', HRNet's `pred.mat`) are all 1-based, COCO's are 0-based.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.values import key, whole
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.array_files import persons_first, pick, read_arrays
from p2net_tf.evaluation.coco import CocoResult, coco_results, evaluate_coco
from p2net_tf.evaluation.coco_files import pose_keypoints, pose_score
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis, analyze_errors
from p2net_tf.evaluation.error_analysis.report import write_errors
from p2net_tf.evaluation.pck import (
    PCK_THRESHOLD,
    PCKH_THRESHOLD,
    KeypointErrors,
    PckResult,
    lsp_errors,
    mpii_errors,
    reference_of,
    torso_errors,
)
from p2net_tf.evaluation.person_matching import match_results
from p2net_tf.evaluation.settings import COCO_PEOPLE
from p2net_tf.evaluation.stored_people import read_people
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import as_path

__all__ = [
    "analyze_coco",
    "score_coco",
    "score_lsp",
    "score_mpii",
    "score_pck",
    "stored_lsp_errors",
    "stored_mpii_errors",
    "stored_pck_errors",
]

PREDICTION_FIELDS = ("preds", "predictions", "prediction_all", "keypoints", "pos_pred_src")
"""Names under which predictions are looked for; a file with one array of 3 axes may call it anything."""

_LSP_IMAGES, _LSP_TEST_IMAGES = 2000, 1000
_COCO_TO_MATLAB = 1.0
"""COCO counts pixels from 0, MATLAB from 1."""
_MPII_JOINTS = (
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
)


def score_lsp(gt_path: str | Path, pred_path: str | Path, threshold: float = PCK_THRESHOLD) -> PckResult:
    """PCK on LSP's test part (images 1001-2000), person-centric.

    Args:
        gt_path: LSP's `joints.mat`, field `joints` (3, 14, 2000); or its test part alone (3, 14, 1000).
        pred_path: keypoints of the 1000 test persons in LSP's order, e.g. (14, 2, 1000) or (1000, 14, 2); or
            COCO results as `p2net evaluate` and `p2net predict` write them, with the numbers of the pictures
            as image ids or in their file names.
        threshold: in lengths of the torso (left shoulder to right hip).

    Raises:
        DataError: a file does not hold what is expected; names file, field, shapes and remedy.
    """
    return stored_lsp_errors(gt_path, pred_path).at(threshold)


def score_mpii(gt_path: str | Path, pred_path: str | Path, threshold: float = PCKH_THRESHOLD) -> PckResult:
    """PCKh on MPII's validation part.

    Args:
        gt_path: `gt_valid.mat` with `jnt_missing` (16, N), `pos_gt_src` (16, 2, N) and `headboxes_src`
            (2, 2, N).
        pred_path: keypoints of the N persons in MPII's order, e.g. HRNet's `pred.mat` (`preds`, (N, 16, 2)).
        threshold: in head sizes.

    Raises:
        DataError: a file does not hold what is expected; names file, field, shapes and remedy.
    """
    return stored_mpii_errors(gt_path, pred_path).at(threshold)


def score_pck(
    gt_path: str | Path,
    pred_path: str | Path,
    skeleton: str | Path | Skeleton = "coco17",
    reference: Sequence[str] | None = None,
    threshold: float = PCK_THRESHOLD,
) -> PckResult:
    """PCK of any set in COCO's form: FLIC, PARSE, or one's own.

    Args:
        gt_path: COCO ground truth.
        pred_path: COCO results. Whose pose each is, `person_matching` decides; people without any are missed.
        skeleton: card of both.
        reference: the two keypoints whose distance is the unit; None takes the card's, else LSP's torso.
        threshold: largest distance of a hit, in that unit.

    Raises:
        DataError: a file does not hold what is expected, or the card has no such keypoints.
    """
    return stored_pck_errors(gt_path, pred_path, skeleton, reference).at(threshold)


def score_coco(
    gt_path: str | Path,
    pred_path: str | Path,
    skeleton: str | Path | Skeleton = "coco17",
    max_people: int = COCO_PEOPLE,
) -> CocoResult:
    """AP and AR over OKS.

    Args:
        gt_path: COCO ground truth (`person_keypoints_*.json`).
        pred_path: COCO's result list (`.json`), or arrays `image_ids` [n], `keypoints` [n, K, 2 or 3] and
            `scores` [n], with optional `category_ids` [n].
        skeleton: card whose sigmas count.
        max_people: poses of a picture that count, those of the highest scores.

    Raises:
        DataError: a file does not hold what is expected; names file, field, shapes and remedy.
    """
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    stored = read_people(gt_path, _coco_results(pred_path, card), card)
    result = evaluate_coco(stored.truth, stored.results, card.sigmas, max_people)
    return replace(result, diagnostics=(*stored.notes, *result.diagnostics))


def analyze_coco(
    gt_path: str | Path,
    pred_path: str | Path,
    skeleton: str | Path | Skeleton = "coco17",
    out: str | Path | None = None,
    images: str | Path | None = None,
    command: str = "",
    max_people: int = COCO_PEOPLE,
) -> ErrorAnalysis:
    """The keypoint errors behind `score_coco`; further arguments as for `errors.report.write_errors`.

    Args:
        out: folder for `errors.html`, `errors.json` and plots; None writes nothing.
        images: folder of the pictures, for the worst poses; needs TensorFlow.
    """
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    stored = read_people(gt_path, _coco_results(pred_path, card), card)
    analysis = analyze_errors(stored.truth, stored.results, card, max_people)
    if out is not None:
        pictures = None
        if images is not None:
            from p2net_tf.evaluation.error_analysis.sheet import pictures_in_folder

            pictures = pictures_in_folder(images, gt_path)
        write_errors(out, analysis, f"Errors of {Path(pred_path).name}", pictures, command)
    return analysis


def stored_lsp_errors(gt_path: str | Path, pred_path: str | Path) -> KeypointErrors:
    """The errors behind `score_lsp`, for other thresholds and curves."""
    field, joints = pick(read_arrays(gt_path), gt_path, ("joints",), ndim=3)
    truth = persons_first(joints, gt_path, field, 14)
    if len(truth) == _LSP_IMAGES:
        truth = truth[-_LSP_TEST_IMAGES:]
    if len(truth) != _LSP_TEST_IMAGES:
        raise DataError(
            f"{gt_path}: field '{field}' has the shape {joints.shape}, expected (3, 14, {_LSP_IMAGES}): "
            f"{len(truth)} persons are not LSP; give LSP's joints.mat, not LSPET's"
        )
    own = _own_results(pred_path)
    predictions = _predictions(pred_path, 14, len(truth)) if own is None else _lsp_rows(own, pred_path)
    return lsp_errors(predictions, truth[..., :2])


def stored_mpii_errors(gt_path: str | Path, pred_path: str | Path) -> KeypointErrors:
    """The errors behind `score_mpii`, for other thresholds and curves."""
    arrays = read_arrays(gt_path)
    _check_mpii_joints(arrays, gt_path)
    field, positions = pick(arrays, gt_path, ("pos_gt_src",))
    truth = persons_first(positions, gt_path, field, 16, channels=(2,))
    count = len(truth)
    missing = _shaped(arrays, gt_path, "jnt_missing", (16, count)).T
    boxes = _shaped(arrays, gt_path, "headboxes_src", (2, 2, count)).transpose(2, 0, 1)
    return mpii_errors(_predictions(pred_path, 16, count), truth, missing, boxes)


def stored_pck_errors(
    gt_path: str | Path,
    pred_path: str | Path,
    skeleton: str | Path | Skeleton = "coco17",
    reference: Sequence[str] | None = None,
) -> KeypointErrors:
    """The errors behind `score_pck`, for other thresholds and curves."""
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    reference_of(card, reference)  # before any file is read
    stored = read_people(gt_path, _coco_results(pred_path, card), card)
    people = [{**person, "annotation_id": person["id"]} for person in stored.people]
    keypoints = match_results(people, stored.results, card, str(pred_path))
    truth = np.array([person["keypoints"] for person in people], np.float64)
    truth = truth.reshape(len(people), card.num_keypoints, 3)
    errors = torso_errors(keypoints, truth[..., :2], truth[..., 2] > NOT_LABELED, card, reference)
    if len(errors.skipped) == len(people):
        names = " and ".join(reference_of(card, reference))
        raise DataError(
            f"{gt_path}: none of {len(people)} people has {names} labeled apart from each other, whose "
            "distance PCK divides by; give another reference"
        )
    return replace(errors, diagnostics=stored.notes)


def _own_results(path: str | Path) -> list[dict] | None:
    """A COCO result list; None where the file holds something else."""
    if Path(path).suffix.lower() != ".json":
        return None
    content = load_json(path)
    if isinstance(content, list) and content and all(isinstance(pose, dict) for pose in content):
        return content
    return None


def _lsp_rows(results: list[dict], path: str | Path) -> np.ndarray:
    """`[1000, 14, 2]` in LSP's pixels, which count from 1; NaN for pictures without a pose."""
    rows = np.full((_LSP_TEST_IMAGES, 14, 2), np.nan)
    best = np.full(_LSP_TEST_IMAGES, -np.inf)
    for place, pose in enumerate(results):
        where = f"{path}: [{place}]"
        number, score = _lsp_number(pose), pose_score(where, pose.get("score", 1.0))
        row = -1 if number is None else number - (_LSP_IMAGES - _LSP_TEST_IMAGES) - 1
        if not 0 <= row < _LSP_TEST_IMAGES:
            raise DataError(
                f"{where}: image id {pose.get('image_id')!r} is no picture of LSP's test part, "
                "1001 to 2000; predict these, with their numbers as ids or in their file names"
            )
        keypoints = np.reshape(pose_keypoints(where, pose.get("keypoints"), 14), (14, 3))
        if score > best[row]:
            best[row], rows[row] = score, keypoints[:, :2] + _COCO_TO_MATLAB
    return rows


def _lsp_number(pose: dict) -> int | None:
    """The picture's number: its file's where it is called im1001.jpg, since ids may be counted from 1."""
    named = re.fullmatch(r"im(\d+)\.\w+", Path(str(pose.get("file_name"))).name)
    return int(named[1]) if named else whole(key(pose.get("image_id")))


def _predictions(path: str | Path, keypoints: int, persons: int) -> np.ndarray:
    """`[persons, keypoints, 2]` float64."""
    field, array = pick(read_arrays(path), path, PREDICTION_FIELDS, ndim=3)
    xy = persons_first(array, path, field, keypoints, persons)[..., :2].astype(np.float64)
    _check_finite(xy, path, field)
    return xy


def _check_finite(xy: np.ndarray, path, field: str):
    if xy.size and not np.isfinite(xy).all(-1).any():
        raise DataError(
            f"{path}: field '{field}', {xy.shape}, holds no keypoint with two finite numbers; "
            "look for the NaN in the weights or the decoding that wrote it"
        )


def _shaped(arrays: dict, path, name: str, shape: tuple) -> np.ndarray:
    field, array = pick(arrays, path, (name,))
    if array.shape != shape:
        raise DataError(
            f"{path}: field '{field}' has the shape {array.shape}, expected {shape} for the {shape[-1]} "
            "persons of 'pos_gt_src'; give MPII's gt_valid.mat as it is published"
        )
    return array


def _check_mpii_joints(arrays: dict, path):
    """The order of the joints, where the file states it (HRNet looks every joint up in `dataset_joints`)."""
    if "dataset_joints" not in arrays:
        return
    names = tuple(str(np.ravel(name)[0]) for name in np.ravel(arrays["dataset_joints"]))
    if names != _MPII_JOINTS:
        raise DataError(
            f"{path}: field 'dataset_joints' is {', '.join(names)}, expected {', '.join(_MPII_JOINTS)}; "
            "bring the joints into MPII's order"
        )


def _coco_results(path: str | Path, card: Skeleton) -> Path | list[dict]:
    path = as_path(path)
    return path if path.suffix.lower() == ".json" else _result_columns(path, card)


def _result_columns(path: Path, card: Skeleton) -> list[dict]:
    arrays = read_arrays(path)
    field, image_ids = pick(arrays, path, ("image_ids", "image_id"))
    image_ids = image_ids.ravel()
    if image_ids.dtype.kind == "f":
        image_ids = image_ids.astype(np.int64)  # MATLAB and JSON hold ids as doubles
    count = len(image_ids)
    name, keypoints = pick(arrays, path, ("keypoints", "preds", "predictions"), ndim=3)
    if keypoints.shape not in ((count, card.num_keypoints, 2), (count, card.num_keypoints, 3)):
        raise DataError(
            f"{path}: field '{name}' has the shape {keypoints.shape}, expected ({count}, "
            f"{card.num_keypoints}, 2 or 3) for the {count} '{field}'; give one row per pose with the "
            f"keypoints of '{card.name}'"
        )
    _check_finite(keypoints[..., :2], path, name)
    scores = _column(arrays, path, ("scores", "score"), count)
    confidence = keypoints[..., 2] if keypoints.shape[-1] == 3 else None
    categories = 1
    if "category_ids" in arrays:
        categories = _column(arrays, path, ("category_ids",), count).astype(np.int64)
    return coco_results(image_ids, keypoints[..., :2], scores, confidence, categories)


def _column(arrays: dict, path, names: tuple, count: int) -> np.ndarray:
    field, array = pick(arrays, path, names)
    if array.size != count:
        raise DataError(
            f"{path}: field '{field}' has the shape {array.shape}, expected ({count},); give one per pose"
        )
    return array.ravel()
