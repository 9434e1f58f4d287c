"""`p2net predict`: what it writes, scores; what it is told, it does."""

import functools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from calls import call
from saved_networks import saved_two_convolutions
from tiny_detectors import tiny_detector

from p2net_tf.cli.prediction_files import Written
from p2net_tf.cli.prediction_run import say_pictures
from p2net_tf.data.coco import read_coco
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.evaluation.coco import METRICS
from p2net_tf.evaluation.evaluate import evaluate
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.stored import score_coco
from tests.plain_pycocotools import plain_stats

ANNOTATIONS = "annotations/person_keypoints_val2017.json"
DETECTIONS = "annotations/person_detections_val2017.json"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file, and its card."""
    path = tmp_path_factory.mktemp("network") / "net.keras"
    return path, *saved_two_convolutions(path)


@pytest.fixture
def near_the_truth(data_root, monkeypatch):
    """In place of the network: the person whose crop is the most like the given one, moved a bit.

    Prediction and evaluation both ask it with the matrices of their crops alone.
    """
    truth = read_coco(data_root / "coco_tiny", "val2017")
    # What a crop shows: from its matrix the middle and the width of its window in the picture.
    windows = np.concatenate([truth.boxes[:, :2] + truth.boxes[:, 2:] / 2, truth.boxes[:, 3:]], axis=1)

    def make(network, card):
        def step(crops, matrices):
            matrices = np.asarray(matrices, np.float64)
            scale = matrices[:, 0, 0]
            middle = (np.array([24, 32]) - matrices[:, :, 2]) / scale[:, None]
            seen = np.concatenate([middle, 64 / 1.25 / scale[:, None]], axis=1)
            nearest = np.abs(seen[:, None] - windows[None]).sum(-1).argmin(axis=1)
            phase = seen.sum(axis=1)[:, None] / 50 + np.arange(17)
            away = np.stack([np.sin(phase), np.cos(2 * phase)], axis=-1) * 4 / scale[:, None, None]
            places = truth.keypoints[nearest, :, :2] + away
            return tf.constant(places, tf.float32), tf.constant(0.5 + 0.4 * np.sin(3 * phase), tf.float32)

        return step

    for module in ("p2net_tf.estimator", "p2net_tf.inference.test_recipe"):
        monkeypatch.setattr(f"{module}.make_predict_step", make)


def pictures(data_root):
    return sorted((data_root / "coco_tiny/val2017").glob("*.jpg"))


@pytest.fixture(scope="module")
def of_detections(data_root, network, tmp_path_factory):
    """`of_detections("--top", 2)`: what the command writes for all detected boxes, and what it says."""

    @functools.cache
    def predict(*options):
        out = tmp_path_factory.mktemp("out")
        files = ["--model", network[0], "--boxes", data_root / "coco_tiny" / DETECTIONS, "--out", out]
        said = " ".join(call("predict", *pictures(data_root), *files, *options).output.split())
        return json.loads((out / "predictions.json").read_text()), said

    return predict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nms", "nms_threshold", "box_threshold"),
    [
        ("soft_oks", 0.4, 0.1),
        *(
            pytest.param(nms, nms_threshold, box_threshold, marks=pytest.mark.slow)
            for nms, nms_threshold in (("null", 0.9), ("oks", 0.9), ("oks", 0.4), ("soft_oks", 0.9))
            for box_threshold in (0.0, 0.3)
        ),
    ],
)
def test_predict_scores_what_evaluate_scores(
    data_root, tmp_path, network, near_the_truth, nms, nms_threshold, box_threshold
):
    """And plain pycocotools the same, from the files as they were written."""
    root, settings = data_root / "coco_tiny", {"nms_threshold": nms_threshold, "box_threshold": box_threshold}
    options = [f"evaluation.nms={nms}", *(f"evaluation.{key}={value}" for key, value in settings.items())]
    files = ["--model", network[0], "--boxes", root / DETECTIONS, "--out", tmp_path]
    call("predict", *pictures(data_root), *options, *files)
    of = DatasetConfig(format="coco", root=str(root), split="val2017", detections=DETECTIONS)
    wanted = EvaluationConfig(nms=None if nms == "null" else nms, flip_test=False, **settings)
    found = evaluate(network[1], network[2], of, wanted).result
    expected = [found.metrics[name] for name in METRICS]
    truth, written = root / ANNOTATIONS, tmp_path / "predictions.json"
    assert list(score_coco(truth, written).metrics.values()) == pytest.approx(expected, abs=1e-9)
    plain = plain_stats(json.loads(truth.read_text()), json.loads(written.read_text()))
    np.testing.assert_allclose(plain, expected, rtol=0, atol=1e-9)
    assert 0.05 < expected[0] < 0.95


@pytest.mark.slow
def test_a_detector_finds_what_it_finds_in_evaluation(
    data_root, tmp_path, network, near_the_truth, monkeypatch
):
    """`--detector` here, `detections` there: the same boxes, so the same scores."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    detector = tmp_path / "detector.keras"
    boxes = tiny_detector("one_stage", score_threshold=0.0)
    NetworkDetector(boxes, DetectorCard(shorter_side=96, longer_side=128, score_threshold=0.0)).save(detector)
    files = ["--model", network[0], "--detector", detector, "--min-score", 0, "--out", tmp_path]
    call("predict", *pictures(data_root), *files)
    root = data_root / "coco_tiny"
    of = DatasetConfig(format="coco", root=str(root), split="val2017", detections=str(detector))
    found = evaluate(network[1], network[2], of, EvaluationConfig(flip_test=False))
    written = json.loads((tmp_path / "predictions.json").read_text())
    assert len(written) == len(found.samples) > 4
    scores = [sorted(pose["score"] for pose in poses) for poses in (written, found.scored.results)]
    np.testing.assert_allclose(*scores, rtol=1e-4)
    (kept,) = (tmp_path / "home" / "p2net_tf" / "boxes").iterdir()
    assert len(json.loads(kept.read_text())) == len(written)


def test_one_source_of_boxes(data_root, tmp_path):
    said = call("predict", pictures(data_root)[0], "--whole-image", "--detector", "whole_image", code=2)
    assert "one of --boxes, --detector and --whole-image" in " ".join(said.output.split())


def test_boxes_of_the_ground_truth_keep_its_ids(data_root, tmp_path, network, near_the_truth):
    truth = data_root / "coco_tiny" / ANNOTATIONS
    call("predict", *pictures(data_root), "--model", network[0], "--boxes", truth, "--out", tmp_path)
    poses = json.loads((tmp_path / "predictions.json").read_text())
    content = json.loads(truth.read_text())
    people = [(a["image_id"], a["bbox"]) for a in content["annotations"] if not a["iscrowd"]]
    names = {image["id"]: image["file_name"] for image in content["images"]}
    assert sorted((p["image_id"], p["file_name"]) for p in poses) == sorted((i, names[i]) for i, _ in people)
    np.testing.assert_allclose(
        sorted(p["box"] for p in poses), sorted(box for _, box in people), rtol=0, atol=1e-3
    )
    assert score_coco(truth, tmp_path / "predictions.json")["AP"] > 0


@pytest.mark.slow
def test_top_keeps_the_best_of_every_picture(of_detections):
    (everything, _), (best, _) = of_detections(), of_detections("--top", 2)
    for number in {pose["image_id"] for pose in everything}:
        scores = sorted((p["score"] for p in everything if p["image_id"] == number), reverse=True)
        assert [p["score"] for p in best if p["image_id"] == number] == scores[:2]
    assert len(everything) == 118 and len(best) == 8


@pytest.mark.slow
def test_thinning_out_is_recommended_where_nothing_does(of_detections):
    words = "every one of 118 detected boxes has a pose; thin them out by evaluation.nms=oks"
    assert words in of_detections()[1]
    assert words not in of_detections("--top", 2)[1]


def test_what_is_broken_is_listed_and_refused_by_strict(data_root, tmp_path, network):
    picture = pictures(data_root)[0]
    shutil.copy(picture, tmp_path / "one.jpg")
    box = {"file_name": "one.jpg", "bbox": [10, 10, 50, 80]}
    (tmp_path / "boxes.json").write_text(json.dumps([box, {**box, "bbox": [10, 10, 0, 80]}]))
    files = ["--model", network[0], "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "out"]
    result = call("predict", tmp_path / "one.jpg", tmp_path / "two.jpg", *files)
    output = " ".join(result.output.split())
    assert "two.jpg: missing" in output and "entry 2: bbox [10.0, 10.0, 0.0, 80.0] has no area" in output
    listed = json.loads((tmp_path / "out/problems.json").read_text())
    assert listed["kinds"] == {"image_missing": 1, "box_entry": 1}
    assert "note" not in output
    with pytest.raises(DataError, match="box_entry: .*entry 2"):
        call("predict", tmp_path / "one.jpg", *files, "--strict")
    with pytest.raises(DataError, match="image_missing: .*two.jpg"):
        call("predict", tmp_path / "one.jpg", tmp_path / "two.jpg", *files, "--strict")


def test_what_else_is_in_a_file_of_boxes_is_said_once(data_root, tmp_path, network):
    """And refused, where it is of another form than x, y, width and height in pixels."""
    shutil.copy(pictures(data_root)[0], tmp_path / "one.jpg")
    box = {"file_name": "one.jpg", "bbox": [10, 10, 50, 80], "score": 0.5, "category_id": 1}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps([box, {**box, "category_id": 18}, {**box, "category_id": 18}]))
    files = ["--model", network[0], "--boxes", file, "--out", tmp_path / "out"]
    output = " ".join(call("predict", tmp_path / "one.jpg", *files).output.split())
    assert "note other_category: " in output and "boxes of other categories are not read: 2 of '18'" in output
    assert "1 poses in 1 images" in output and "set aside" not in output
    assert json.loads((tmp_path / "out/problems.json").read_text())["kinds"] == {"other_category": 1}
    file.write_text(json.dumps([{**box, "bbox": [0.1, 0.1, 0.5, 0.8]}]))
    with pytest.raises(DataError, match=r"boxes.json: .* fractions of the pictures; write pixels"):
        call("predict", tmp_path / "one.jpg", *files)
    file.write_text(json.dumps([{**box, "score": -5}]))
    with pytest.raises(DataError, match=r"boxes.json: 1 of 1 scores are below 0"):
        call("predict", tmp_path / "one.jpg", *files)


def test_json_of_pictures_is_that_of_their_file(data_root, tmp_path, network):
    names = [shutil.copy(path, tmp_path) for path in pictures(data_root)[:2]]
    box = {"file_name": pictures(data_root)[0].name, "bbox": [10, 10, 50, 80]}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    files = ["--model", network[0], "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "out"]
    said = call("predict", *names, *files, "--json").stdout
    assert json.loads(said) == json.loads((tmp_path / "out/predictions.json").read_text())
    assert len(json.loads(said)) == 1


@pytest.mark.parametrize("boxes", [0, 1])
def test_pictures_of_nobody_are_told(boxes, tmp_path, capsys):
    say_pictures(Written(0, 0, boxes, (), False), tmp_path, as_json=False)
    assert ("nobody was found: take a lower --min-score" in "".join(capsys.readouterr())) == (not boxes)
