"""One keypoint, and 133: what is boxed, trained on and scored."""

import json

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.check import check_samples, demand_usable
from p2net_tf.data.coco import read_coco
from p2net_tf.data.settings import DataConfig, DatasetConfig
from p2net_tf.evaluation import evaluate as module
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.skeletons.skeleton import Skeleton


def card_of(count: int) -> Skeleton:
    names = [f"point_{number}" for number in range(count)]
    return Skeleton.from_card(
        {"name": f"points{count}", "keypoints": names, "sigmas": [0.05] * count, "flip_pairs": [],
         "upper_body": [], "limbs": []},
        "made here",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """`folder(points [N, K, 2], **fields)`: a picture each, with boxes of no area as CVAT has them."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train").mkdir()

    def write(points, **fields):
        images, annotations = [], []
        for number, xy in enumerate(np.asarray(points, float).tolist(), 1):
            Image.new("RGB", (200, 160), (number, 80, 90)).save(tmp_path / f"train/{number}.png")
            images.append({"id": number, "file_name": f"{number}.png"})
            keypoints = np.append(xy, np.full((len(xy), 1), 2), axis=1).ravel().tolist()
            box = [*np.min(xy, axis=0).tolist(), 0, 0]
            entry = {"id": number, "image_id": number, "category_id": 1, "keypoints": keypoints, "bbox": box}
            annotations.append({**entry, **fields})
        data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
        (tmp_path / "annotations/person_keypoints_train.json").write_text(json.dumps(data))
        return tmp_path

    return write


def test_a_single_point_has_a_box_of_its_own(folder):
    """64 pixels around it; the area is 0.53 of that, which is said, as OKS divides by it."""
    root = folder([[[50, 60]], [[120, 90]]])
    samples = read_coco(root, "train", card_of(1))
    # COCO's boxes are taken as they are, keypoints lie half a pixel further.
    assert samples.boxes.tolist() == [[18, 28, 64, 64], [88, 58, 64, 64]]
    assert samples.areas.tolist() == pytest.approx([0.53 * 64 * 64] * 2)
    said = [problem.detail for problem in samples.problems]
    assert any("around the keypoints" in detail for detail in said)
    assert any("0.53 of the box" in detail for detail in said)
    assert len(demand_usable(samples, check_samples(samples))) == 2


def test_the_size_of_that_box_is_a_key(folder):
    root = folder([[[50, 60]]])
    source = DatasetConfig(format="coco", root=str(root), point_box=20, area_of_box=1.0)
    samples = read_coco(root, "train", card_of(1), reading=source.reading)
    assert samples.boxes.tolist() == [[40, 50, 20, 20]]
    assert samples.areas.tolist() == [400]


def test_keys_of_all_data_sets_are_those_of_each():
    source = {"format": "coco", "root": "a"}
    config = DataConfig.model_validate(
        {
            "train": [source, {**source, "point_box": 9}],
            "test": [source],
            "point_box": 30,
            "category": "mouse",
        }
    )
    assert [part.point_box for part in (*config.train, *config.test)] == [30, 9, 30]
    assert {part.category for part in (*config.train, *config.test)} == {"mouse"}
    assert DataConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("count", [1, 133])
def test_scored_by_oks(folder, monkeypatch, count):
    """Off by d pixels: OKS is exp(-d^2 / (2 area (2 sigma)^2)) of each keypoint, by hand 0.78 at d = 10."""
    points = np.random.default_rng(0).uniform(40, 120, (3, count, 2)).round()
    root = folder(points, area=2.0e4)
    card = InferenceCard(skeleton=card_of(count), input_size=(64, 48))
    assert np.exp(-(10**2) / (2 * 2.0e4 * 0.1**2)) == pytest.approx(0.7788, abs=1e-4)

    def predict(network, samples, card):
        keypoints = samples.keypoints[..., :2] + np.float32([6, 8])
        return Predictions(keypoints, np.ones(keypoints.shape[:2], np.float32), samples.scores)

    monkeypatch.setattr(module, "predict", predict)
    source = DatasetConfig(format="coco", root=str(root))
    found = module.evaluate(None, card, source, EvaluationConfig(nms=None))
    assert found.result["AP"] == pytest.approx(0.6)  # of the thresholds 0.50, 0.55 ... 0.75
