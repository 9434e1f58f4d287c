"""evaluate -> score -> plain pycocotools: one set of ten numbers, whatever the recipe."""

import json

import numpy as np
import pytest

from p2net_tf.data.coco import read_coco
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation import evaluate as module
from p2net_tf.evaluation.coco import METRICS
from p2net_tf.evaluation.evaluate import evaluate
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.stored import score_coco
from p2net_tf.experiments.runs import save_predictions
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions, pose_scores
from p2net_tf.skeletons.skeleton import Skeleton
from tests.plain_pycocotools import plain_stats

CARD = InferenceCard(skeleton=Skeleton.load("coco17"), input_size=(256, 192))
ANNOTATIONS = "annotations/person_keypoints_val2017.json"
DETECTIONS = "annotations/person_detections_val2017.json"


@pytest.fixture
def near_the_truth(data_root, monkeypatch):
    """Predictions: the person whose box is nearest to the given one, moved as the seed says."""
    truth = read_coco(data_root / "coco_tiny", "val2017")

    def nearest(samples) -> np.ndarray:
        distance = np.abs(samples.boxes[:, None] - truth.boxes[None]).sum(-1)
        return np.where(samples.image_ids[:, None] == truth.image_ids[None], distance, np.inf).argmin(axis=1)

    def predict(network, samples, card):
        rng = np.random.default_rng(5)
        people = truth.take(nearest(samples))
        size = np.sqrt(people.areas)[:, None, None]
        noise = rng.normal(0, 0.04, (len(samples), 17, 2)) * size * rng.uniform(0, 2, (len(samples), 1, 1))
        keypoints = (people.keypoints[..., :2] + noise).astype(np.float32)
        keypoint_scores = rng.uniform(0, 1, (len(samples), 17)).astype(np.float32)
        return Predictions(
            keypoints, keypoint_scores, pose_scores(samples.scores, keypoint_scores, card.recipe)
        )

    monkeypatch.setattr(module, "predict", predict)


def source(data_root, **fields) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(data_root / "coco_tiny"), split="val2017", **fields)


def agreeing(found, folder, truth_file) -> float:
    """The AP, once `p2net score coco` and plain pycocotools have given the same ten numbers."""
    save_predictions(folder, found)
    written = folder / "predictions.json"
    expected = [found.result.metrics[name] for name in METRICS]
    assert list(score_coco(truth_file, written).metrics.values()) == pytest.approx(expected, abs=1e-9)
    plain = plain_stats(json.loads(truth_file.read_text()), json.loads(written.read_text()))
    np.testing.assert_allclose(plain, expected, rtol=0, atol=1e-9)
    return expected[0]


@pytest.mark.parametrize("box_threshold", [0.0, 0.3])
@pytest.mark.parametrize("keypoint_threshold", [pytest.param(-1.0, marks=pytest.mark.slow), 0.2])
@pytest.mark.parametrize(
    ("nms", "nms_threshold"), [(None, 0.9), ("oks", 0.9), ("oks", 0.3), ("soft_oks", 0.9), ("soft_oks", 0.3)]
)
def test_with_detected_boxes(
    data_root, tmp_path, near_the_truth, nms, nms_threshold, keypoint_threshold, box_threshold
):
    settings = EvaluationConfig(
        nms=nms,
        nms_threshold=nms_threshold,
        keypoint_threshold=keypoint_threshold,
        box_threshold=box_threshold,
    )
    card = CARD.updated(recipe={"keypoint_threshold": keypoint_threshold})
    found = evaluate(None, card, source(data_root, detections=DETECTIONS), settings)
    assert found.scored.ground_truth is None
    assert 0.1 < agreeing(found, tmp_path, data_root / "coco_tiny" / ANNOTATIONS) < 0.95


@pytest.mark.parametrize("fields", [{"rows": (2, 9)}, {"rows": (1, 3), "detections": DETECTIONS}])
def test_of_a_part_there_is_the_truth_of_that_part(data_root, tmp_path, near_the_truth, fields):
    found = evaluate(None, CARD, source(data_root, **fields), EvaluationConfig(nms="oks"))
    save_predictions(tmp_path, found)
    assert 0.1 < agreeing(found, tmp_path, tmp_path / "ground_truth.json") < 0.95
