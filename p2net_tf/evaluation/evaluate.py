"""Scores a network on people whose keypoints are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from p2net_tf.data.coco import PERSON_CATEGORY, PIXEL_CENTER, to_coco_keypoints
from p2net_tf.data.datasets import open_datasets, read_dataset
from p2net_tf.data.mpii import read_head_boxes
from p2net_tf.data.published_boxes import as_published
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation.coco import CocoResult, coco_ground_truth, coco_results, evaluate_coco
from p2net_tf.evaluation.oks import suppress_poses
from p2net_tf.evaluation.pck import PckResult, head_sizes, pck_from_samples, pckh_from_samples
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions, predict
from p2net_tf.keypoints.alignment import ALIGNMENTS


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found: the scores, the predictions they rest on, and what was set aside."""

    result: CocoResult | PckResult
    samples: Samples
    predictions: Predictions
    problems: tuple[Problem, ...] = ()

    @property
    def headline(self) -> float:
        """Of `result`: see the function."""
        return headline(self.result)


def evaluate(
    network: keras.Model,
    card: InferenceCard,
    source: DatasetConfig,
    settings: EvaluationConfig,
    strict: bool = False,
) -> Evaluation:
    """Predicts by the recipe of `card`, and scores by `settings`, what `source` holds.

    Raises:
        DataError: nothing usable in `source`, or a metric that the data set has no annotations for.
    """
    samples, problems = open_people(source, card, strict)
    if source.repeat != 1:
        raise DataError(f"{source.root}: repeat={source.repeat} would count people twice; set repeat=1")
    predictions = predict(network, samples, card)
    result = score(samples, predictions, card, settings, source)
    return Evaluation(result, samples, predictions, tuple(problems))


def open_people(
    source: DatasetConfig, card: InferenceCard, strict: bool = False
) -> tuple[Samples, list[Problem]]:
    """The people of `source`, in boxes as the network of `card` is to see them, and what was set aside."""
    samples, problems = open_datasets([source], card.skeleton, strict)
    if card.alignment == "pixel_index":
        samples = as_published(samples, source)
    return samples, problems


def score(
    samples: Samples,
    predictions: Predictions,
    card: InferenceCard,
    settings: EvaluationConfig,
    source: DatasetConfig | None = None,
) -> CocoResult | PckResult:
    """Scores predictions of `samples`, wherever they were made, by the metric of `settings`.

    Args:
        source: where the samples come from. It has what they do not: crowds to ignore, boxes of heads.

    Raises:
        DataError: the metric needs what is not there.
    """
    if settings.metric == "pck":
        return pck_from_samples(samples, predictions.keypoints)
    if settings.metric == "pckh":
        return pckh_from_samples(samples, predictions.keypoints, _head_sizes(samples, source))
    inputs = oks_inputs(samples, predictions, card, settings, source)
    return evaluate_coco(inputs.ground_truth, inputs.results, samples.skeleton.sigmas)


def headline(result: CocoResult | PckResult) -> float:
    """AP, or PCK over all keypoints, as a fraction."""
    return result["AP"] if isinstance(result, CocoResult) else result.total / 100


@dataclass(frozen=True)
class OksInputs:
    """What pycocotools compares, in one coordinate convention.

    Attributes:
        ground_truth: the annotation file itself where there is one, since it holds the crowds to ignore.
        results: the poses that are scored, after suppression.
        offset: of continuous coordinates from these, in pixels.
    """

    ground_truth: dict | Path
    results: list[dict]
    offset: float


def oks_inputs(
    samples: Samples,
    predictions: Predictions,
    card: InferenceCard,
    settings: EvaluationConfig,
    source: DatasetConfig | None = None,
) -> OksInputs:
    """Arguments as for `score`."""
    sigmas = samples.skeleton.sigmas
    areas = ALIGNMENTS[card.alignment].suppression_areas(samples.boxes, card.aspect_ratio, card.box_padding)
    rows, scores = suppress_poses(
        settings.nms,
        samples.image_ids,
        predictions.keypoints,
        predictions.scores,
        areas,
        sigmas,
        settings.nms_threshold,
    )
    kept = predictions.take(rows)
    image_ids = samples.image_ids[rows]
    annotation_file = _annotation_file(source)
    if annotation_file is None:
        results = coco_results(image_ids, kept.keypoints, scores, kept.keypoint_scores)
        return OksInputs(coco_ground_truth(samples), results, 0.0)
    keypoints = to_coco_keypoints(kept.scored_keypoints)
    results = coco_results(image_ids, keypoints[..., :2], scores, kept.keypoint_scores, PERSON_CATEGORY)
    return OksInputs(annotation_file, results, PIXEL_CENTER)


def _annotation_file(source: DatasetConfig | None) -> Path | None:
    if source is None or source.format not in ("coco", "synthetic") or source.rows is not None:
        return None
    name = source.annotations or f"annotations/person_keypoints_{source.split}.json"
    in_root = Path(source.root) / name
    return in_root if in_root.is_file() else Path(name)


def _head_sizes(samples: Samples, source: DatasetConfig | None) -> np.ndarray:
    """`[N]` what PCKh divides by."""
    if source is None or source.format != "mpii":
        root = samples.source if source is None else source.root
        raise DataError(f"{root}: PCKh needs the head boxes of MPII; set evaluation.metric to pck or oks_ap")
    everyone = read_dataset(source.model_copy(update={"rows": None}), samples.skeleton)
    boxes = read_head_boxes(source.root, source.split, source.annotations)
    box_of = dict(zip(everyone.ids.tolist(), boxes, strict=True))
    boxes = np.array([box_of[i] for i in samples.ids.tolist()])
    if not np.isfinite(boxes).any():
        raise DataError(
            f"{samples.source}: has no head boxes, which PCKh divides by; put HRNet's gt_valid.mat beside "
            "it, evaluate on the release's .mat, or set evaluation.metric to pck or oks_ap"
        )
    return head_sizes(np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
