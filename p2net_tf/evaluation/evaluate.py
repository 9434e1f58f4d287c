"""Scores a network on people whose keypoints are known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from p2net_tf.data.coco import PIXEL_CENTER, to_coco_keypoints
from p2net_tf.data.datasets import coco_truth, pictures_of_rows, read_dataset
from p2net_tf.data.mpii import read_head_boxes
from p2net_tf.data.samples import DataError, Problem, Samples, concatenate
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation.coco import CocoResult, coco_ground_truth, coco_results, evaluate_coco
from p2net_tf.evaluation.detected_boxes import with_boxes_of_detector
from p2net_tf.evaluation.oks import suppress_poses
from p2net_tf.evaluation.pck import (
    PckResult,
    head_sizes,
    pck_from_samples,
    pckh_from_samples,
    reference_of,
    torso_lengths,
)
from p2net_tf.evaluation.people import People, open_people
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions, predict
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class Scored:
    """A score, and exactly what it is of.

    Attributes:
        result: the score.
        results: the scored poses as COCO results, in COCO's pixels, to every digit.
        ground_truth: what they were compared with by OKS, where it is not an annotation file as it lies:
            COCO ground truth in COCO's pixels. None elsewhere.
    """

    result: CocoResult | PckResult
    results: list[dict]
    ground_truth: dict | None = None


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found: the scores, the predictions they rest on, and what was set aside."""

    scored: Scored
    people: People
    predictions: Predictions

    @property
    def result(self) -> CocoResult | PckResult:
        return self.scored.result

    @property
    def samples(self) -> Samples:
        """Those of whom there are predictions."""
        return self.people.samples

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.people.problems

    @property
    def scope(self) -> str:
        """`162 of 205`, the people."""
        return self.people.scored

    @property
    def headline(self) -> float:
        """Of `result`: see the function."""
        return headline(self.result)

    def to_dict(self) -> dict:
        """The score, and under `people` who was scored, as plain JSON types."""
        return self.result.to_dict() | {"people": self.people.to_dict()}


def evaluate(
    network: keras.Model,
    card: InferenceCard,
    source: DatasetConfig,
    settings: EvaluationConfig,
    strict: bool = False,
    skip_missing: bool = False,
) -> Evaluation:
    """Predicts by the recipe of `card`, and scores by `settings`, what `source` holds.

    Args:
        strict: the first broken item is an error.
        skip_missing: people whose picture is missing or broken do not count, instead of as missed.

    Raises:
        DataError: nothing usable in `source`, or a metric that the data set has no annotations for; before
            anything is predicted.
    """
    demand_scorable(source, settings, card.skeleton)
    source = with_boxes_of_detector(source, card.skeleton)
    people = open_people(source, card, strict, skip_missing)
    people = _above_threshold(people, settings.box_threshold)
    scorer = Scorer(people, card, settings, source)
    scorer.demand_truth()
    predictions = predict(network, people.samples, card)
    return Evaluation(scorer.score(predictions), people, predictions)


def demand_scorable(source: DatasetConfig, settings: EvaluationConfig, skeleton: Skeleton) -> None:
    """Refuses what can be seen to have no score before any data is read.

    Raises:
        DataError: names the fields that do not fit together, and the remedy.
    """
    if source.repeat != 1:
        raise DataError(f"{source.root}: repeat={source.repeat} would count people twice; set repeat=1")
    if source.detections is not None and source.format != "coco":
        raise DataError(
            f"{source.root}: detections are boxes for a set of the format coco, this is {source.format}; "
            "leave them out"
        )
    if source.detections is not None and settings.metric != "oks_ap":
        raise DataError(
            f"{source.detections}: evaluation.metric={settings.metric} compares a pose with the person in "
            "its box, which detections do not name; set evaluation.metric=oks_ap or leave the detections out"
        )
    if settings.metric == "pckh" and source.format != "mpii":
        raise _no_heads(source.root)
    if settings.metric == "pck":
        reference_of(skeleton)


def score(
    people: People | Samples,
    predictions: Predictions,
    card: InferenceCard,
    settings: EvaluationConfig,
    source: DatasetConfig | None = None,
) -> CocoResult | PckResult:
    """Scores predictions of `people`, wherever they were made, by the metric of `settings`.

    Args:
        people: with those who count as missed; or samples that are known to be usable.
        source: where they come from. It has what they do not: crowds to ignore, boxes of heads.

    Raises:
        DataError: the metric needs what is not there.
    """
    people = people if isinstance(people, People) else People.of(people)
    return Scorer(people, card, settings, source).score(predictions).result


def headline(result: CocoResult | PckResult) -> float:
    """AP, or PCK over all keypoints, as a fraction."""
    return result["AP"] if isinstance(result, CocoResult) else result.total / 100


@dataclass(frozen=True)
class OksInputs:
    """What pycocotools compares, in COCO's pixels.

    Attributes:
        ground_truth: the annotation file itself where all of it counts, since it holds the crowds to ignore.
        results: the poses that are scored, after suppression.
        offset: of continuous coordinates from these, in pixels.
    """

    ground_truth: dict | Path
    results: list[dict]
    offset: float = PIXEL_CENTER


class Scorer:
    """A metric with the truth it needs, before there is any prediction.

    Arguments as for `score`.
    """

    def __init__(
        self,
        people: People,
        card: InferenceCard,
        settings: EvaluationConfig,
        source: DatasetConfig | None = None,
    ):
        self.people, self.card, self.settings, self.source = people, card, settings, source

    def demand_truth(self) -> None:
        """Raises:
        DataError: nobody has what the metric compares with.
        """
        samples = self._everyone
        if self.settings.metric == "pckh":
            _ = self._head_sizes
        elif self.settings.metric == "pck" and not np.any(torso_lengths(samples) > 0):
            names = " and ".join(reference_of(samples.skeleton))
            raise DataError(
                f"{samples.source}: nobody has {names} labeled, whose distance PCK divides by; set "
                "evaluation.metric=oks_ap"
            )
        elif self.settings.metric == "oks_ap" and not self._anyone_labeled():
            raise DataError(
                f"{samples.source}: no keypoint is labeled, so there is nothing to score against; take a "
                "split with annotated keypoints"
            )

    def score(self, predictions: Predictions) -> Scored:
        """Of the samples of the people, in their order."""
        if self.settings.metric == "oks_ap":
            inputs = self.oks_inputs(predictions)
            sigmas = self.people.samples.skeleton.sigmas
            result = evaluate_coco(inputs.ground_truth, inputs.results, sigmas, self.settings.max_people)
            truth = inputs.ground_truth if isinstance(inputs.ground_truth, dict) else None
            return Scored(result, inputs.results, truth)
        keypoints = self._with_missed(predictions.keypoints)
        if self.settings.metric == "pck":
            result = pck_from_samples(self._everyone, keypoints)
        else:
            result = pckh_from_samples(self._everyone, keypoints, self._head_sizes)
        results = _coco_results(self.people.samples, predictions, predictions.scores)
        for pose, number in zip(results, self.people.samples.ids.tolist(), strict=True):
            pose["annotation_id"] = number  # PCK knows whose pose it is
        return Scored(result, results)

    def oks_inputs(self, predictions: Predictions) -> OksInputs:
        """What pycocotools is given."""
        samples = self.people.samples
        rows, scores = keep_poses(samples, predictions, self.card, self.settings)
        return OksInputs(
            self._ground_truth, _coco_results(samples.take(rows), predictions.take(rows), scores)
        )

    @property
    def _everyone(self) -> Samples:
        """Those who are asked about, then those who count as missed."""
        return concatenate([self.people.samples, self.people.missed])

    def _with_missed(self, keypoints: np.ndarray) -> np.ndarray:
        nowhere = np.full((len(self.people.missed), *keypoints.shape[1:]), np.nan, keypoints.dtype)
        return np.concatenate([keypoints, nowhere])

    @cached_property
    def _head_sizes(self) -> np.ndarray:
        return _head_sizes(self._everyone, self.source)

    @cached_property
    def _ground_truth(self) -> dict | Path:
        if self._stored_truth is None:
            return coco_ground_truth(_in_coco_pixels(self._everyone))
        truth, file = self._stored_truth
        pictures = pictures_of_rows(self.source, self.people.samples.skeleton)
        if file is not None and pictures is None and not self.people.skipped_images:
            return file
        return truth_of_pictures(truth, pictures, self._skipped)

    @cached_property
    def _stored_truth(self) -> tuple[dict, Path | None] | None:
        """See `coco_truth`. None also where rows select people, of whom the file holds more: with detections
        they select whole pictures."""
        if self.source is None or (self.source.rows is not None and self.source.detections is None):
            return None
        return coco_truth(self.source, self.people.samples.skeleton)

    @property
    def _skipped(self) -> set[int | str]:
        names = self.people.samples.image_names
        return {names.get(number, number) for number in self.people.skipped_images}

    def _anyone_labeled(self) -> bool:
        if np.any(self._everyone.keypoints[..., 2] > NOT_LABELED):
            return True
        if self._stored_truth is None:
            return False
        truth, _ = self._stored_truth
        return any(entry["num_keypoints"] for entry in truth["annotations"])


def keep_poses(
    samples: Samples, predictions: Predictions, card: InferenceCard, settings: EvaluationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The suppression of `settings` within every picture: `(rows that stay, their scores)`."""
    areas = ALIGNMENTS[card.alignment].suppression_areas(samples.boxes, card.aspect_ratio, card.box_padding)
    return suppress_poses(
        settings.nms,
        samples.image_ids,
        predictions.keypoints,
        predictions.scores,
        areas,
        samples.skeleton.sigmas,
        settings.nms_threshold,
    )


def _above_threshold(people: People, threshold: float) -> People:
    likely = people.samples.scores >= threshold
    if likely.all():
        return people
    if not likely.any():
        raise DataError(
            f"{people.samples.source}: no box of {len(likely)} has a score of {threshold:g}; lower "
            "evaluation.box_threshold"
        )
    unlikely = int(np.count_nonzero(~likely))
    return replace(people, samples=people.samples.take(likely), total=people.total - unlikely)


def _coco_results(samples: Samples, predictions: Predictions, scores) -> list[dict]:
    # Without boxes: pycocotools would take areas from them, and AP(M) and AP(L) become others.
    keypoints = to_coco_keypoints(predictions.scored_keypoints)
    return coco_results(
        samples.given_image_ids, keypoints[..., :2], scores, predictions.keypoint_scores, samples.category_id
    )


def _in_coco_pixels(samples: Samples) -> Samples:
    return replace(samples, keypoints=to_coco_keypoints(samples.keypoints))


def truth_of_pictures(content: dict, wanted: Collection | None, skipped: Collection = ()) -> dict:
    """COCO ground truth of the `wanted` of its pictures, by their ids; None: of all that are not skipped."""

    def counts(image_id) -> bool:
        return image_id not in skipped and (wanted is None or image_id in wanted)

    return {
        **content,
        "images": [image for image in content["images"] if counts(image["id"])],
        "annotations": [entry for entry in content["annotations"] if counts(entry["image_id"])],
    }


def _no_heads(root: str) -> DataError:
    return DataError(f"{root}: PCKh needs the head boxes of MPII; set evaluation.metric to pck or oks_ap")


def _head_sizes(samples: Samples, source: DatasetConfig | None) -> np.ndarray:
    """`[N]` what PCKh divides by."""
    if source is None or source.format != "mpii":
        raise _no_heads(samples.source if source is None else source.root)
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
