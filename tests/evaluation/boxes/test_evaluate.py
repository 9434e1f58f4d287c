"""A detector is scored on what can be looked at, and misses what cannot."""

import json
import shutil

import numpy as np
import pytest

from p2net_tf.data.boxes.datasets import read_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import DataError
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import FileDetector, PersonDetector, WholeImageDetector
from p2net_tf.evaluation.boxes.average_precision import evaluate_boxes
from p2net_tf.evaluation.boxes.evaluate import FoundBoxes, evaluate_detector, score_found
from tests.data.boxes.box_sets import BOXES, coco_document, write_coco
from tests.plain_pycocotools import plain_stats


class Oracle(PersonDetector):
    """Finds the boxes of each picture in turn."""

    def __init__(self, boxes=None):
        self.boxes = iter(BOXES.values() if boxes is None else boxes)

    def detect_in(self, picture):
        windows = np.asarray(next(self.boxes), np.float32).reshape(-1, 4)
        return Boxes(windows, np.linspace(0.9, 0.5, len(windows)))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("boxes"))


def scenes_of(root, classes=("person",), **keys):
    return read_scenes(BoxDatasetConfig(root=str(root), **keys), classes)


def test_a_perfect_detector(original):
    found = evaluate_detector(Oracle(), scenes_of(original))
    assert found.result["AP"] == pytest.approx(1)
    assert (found.result.images, found.result.objects, found.result.predictions) == (4, 6, 6)
    assert found.pictures.describe() is None
    assert found.to_dict()["pictures"]["scored"] == 4


def test_what_was_scored_can_be_scored_again(original, tmp_path):
    found = evaluate_detector(WholeImageDetector(), scenes_of(original))
    assert 0 < found.result["AP"] < 1
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(found.results))
    for truth in (found.ground_truth, original / "annotations/instances_train.json"):
        again = evaluate_boxes(truth, path)
        assert again.metrics == found.result.metrics
    stats = plain_stats(found.ground_truth, found.results, "bbox")
    np.testing.assert_array_equal(list(found.result.metrics.values()), stats)


def test_lost_pictures_count_as_missed(original, tmp_path):
    root = shutil.copytree(original, tmp_path / "set")
    (root / "train/a.png").unlink()
    (root / "train/c.png").write_bytes(b"")
    scenes, detected = scenes_of(root), [BOXES["b"], BOXES["d"]]
    found = evaluate_detector(Oracle(detected), scenes)
    assert found.result.recall == pytest.approx(4 / 6)
    assert "2 of 4 pictures scored; set aside: " in found.pictures.describe()
    assert "2 boxes of lost pictures count as missed" in found.pictures.describe()
    skipped = evaluate_detector(Oracle(detected), scenes, skip_missing=True)
    assert (skipped.result.recall, skipped.result.images) == (1, 2)
    assert "2 lost pictures do not count" in skipped.pictures.describe()
    with pytest.raises(DataError, match="image_missing"):
        evaluate_detector(Oracle(detected), scenes, strict=True)


def test_people_of_a_set_with_other_classes(tmp_path):
    document = coco_document()
    document["annotations"][2]["category_id"] = 5
    scenes = scenes_of(write_coco(tmp_path, document), ())
    found = evaluate_detector(Oracle([BOXES["a"], [], [], BOXES["d"]]), scenes)
    assert (found.result["AP"], found.result.objects) == (pytest.approx(1), 5)
    with pytest.raises(DataError, match="has no class 'person', but dog"):
        evaluate_detector(Oracle(), scenes_of(tmp_path, ("dog",)))


def test_boxes_of_a_file(original, tmp_path):
    entries = [
        {"file_name": f"{name}.png", "bbox": box, "score": 0.5} for name, own in BOXES.items() for box in own
    ]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries))
    assert evaluate_detector(FileDetector(path), scenes_of(original)).result["AP"] == pytest.approx(1)


def test_found_boxes_of_several_classes(tmp_path):
    document = coco_document()
    document["annotations"][2]["category_id"] = 5
    scenes = scenes_of(write_coco(tmp_path, document, pictures=False), ())
    found = FoundBoxes(scenes.owners, scenes.boxes, np.ones(6), scenes.classes)
    result = score_found(scenes, found).result
    assert {name: own.metrics["AP"] for name, own in result.classes.items()} == {
        "person": pytest.approx(1),
        "dog": pytest.approx(1),
    }
    swapped = FoundBoxes(scenes.owners, scenes.boxes, np.ones(6), 1 - scenes.classes)
    assert score_found(scenes, swapped).result["AP50"] == 0
