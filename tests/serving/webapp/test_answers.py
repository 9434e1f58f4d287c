"""What is said of a picture is what the estimator says, and what `p2net predict` writes."""

import base64
import json

import cv2
import numpy as np
import pytest
from networks import tiny_network

from p2net_tf.cli.prediction_files import predict_files
from p2net_tf.data.samples import DataError
from p2net_tf.detection.detector import WholeImageDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.serving.webapp.answers import PhotoAnswers
from p2net_tf.serving.webapp.photo import Photo
from p2net_tf.skeletons.skeleton import Skeleton


def decoded(url: str) -> np.ndarray:
    """`[H, W, C]` RGB or RGBA of a data URL."""
    contents = base64.b64decode(url.partition(";base64,")[2])
    image = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED)
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def test_the_model_is_described(answers):
    model = answers.model()
    coco = Skeleton.load("coco17")
    assert (model["title"], model["keypoints"]) == ("two convolutions", list(coco.keypoints))
    start, end, color = model["limbs"][3]
    limb = coco.limbs[3]
    assert (start, end, color) == (limb.start, limb.end, "#%02x%02x%02x" % limb.color)  # noqa: UP031


def test_people_are_the_estimators(answers, photo, poses):
    found = answers.people(photo)
    assert (found["width"], found["height"], len(found["people"])) == (120, 80, 2)
    for row, person in enumerate(found["people"]):
        np.testing.assert_allclose(person["box"], poses.boxes[row])
        np.testing.assert_allclose(person["score"], poses.scores[row], rtol=1e-6)
        keypoints = np.array(person["keypoints"])
        np.testing.assert_allclose(keypoints[:, :2], poses.keypoints[row], atol=1e-3)
        np.testing.assert_allclose(keypoints[:, 2], poses.keypoint_scores[row], rtol=1e-5)


def test_the_picture_comes_back(answers, photo):
    smooth = Photo("grey.png", np.full((40, 60, 3), (10, 120, 200), np.uint8))
    np.testing.assert_allclose(decoded(answers.people(smooth)["picture"]), smooth.pixels, atol=3)
    large = Photo("wide.png", np.zeros((100, 3200, 3), np.uint8))
    found = answers.people(large)
    assert (found["width"], found["height"]) == (3200, 100)
    assert decoded(found["picture"]).shape == (50, 1600, 3)


def test_predictions_are_the_file_of_p2net_predict(pose, contents, photo, tmp_path):
    """To the letter, so that whatever reads the one reads the other."""
    pose.save(tmp_path / "pose.keras")
    (tmp_path / "street.png").write_bytes(contents)
    predict_files(
        str(tmp_path / "pose.keras"), [tmp_path / "street.png"], None, tmp_path, detector="whole_image"
    )
    answers = PhotoAnswers(pose, EvaluationConfig(), WholeImageDetector())
    assert answers.people(photo)["predictions"] == (tmp_path / "predictions.json").read_text()


def test_boxes_are_thinned_out_as_the_run_says(pose, photo, answers):
    detector = answers._detector
    few = PhotoAnswers(pose, EvaluationConfig(box_threshold=0.7), detector)
    many = PhotoAnswers(pose, EvaluationConfig(), detector, min_score=0.05)
    none = PhotoAnswers(pose, EvaluationConfig(), detector, min_score=0.95)
    assert [len(each.people(photo)["people"]) for each in (few, many, none)] == [1, 3, 0]
    assert none.people(photo)["predictions"] == "[]"
    assert len(json.loads(many.people(photo)["predictions"])) == 3


def test_heatmaps_of_a_person(answers, pose, photo, poses):
    found = answers.person(photo, poses.boxes[1])
    maps = pose.heatmaps(photo.pixels, poses.boxes[1:])
    np.testing.assert_allclose(found["window"], maps.windows[0])
    np.testing.assert_allclose(found["highest"], poses.keypoint_scores[1], rtol=1e-5)
    assert len(found["heatmaps"]) == 17
    seen = 0
    for k in np.flatnonzero(np.array(found["highest"]) > 0):
        layer = decoded(found["heatmaps"][k])
        assert layer.shape == (64, 64, 4)
        row, column = np.unravel_index(maps.values[0, ..., k].argmax(), (16, 16))
        inside = layer[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        if 0 < row < 15 and 0 < column < 15:
            assert inside[..., 3].max() == layer[..., 3].max()
            seen += 1
    assert seen > 3
    assert found["gates"] == {}


def test_gates_of_a_person(photo):
    card = InferenceCard(skeleton=Skeleton.load("coco17"), input_size=(64, 64))
    pose = PoseEstimator(tiny_network(17), card)
    box = np.float32([5, 6, 30, 40])
    found = PhotoAnswers(pose, EvaluationConfig(), WholeImageDetector()).person(photo, box)
    expected = pose.attention_gates(photo.pixels, box[None])
    assert list(found["gates"]) == ["apm_4", "apm_8", "apm_16", "apm_32"]
    for name, values in found["gates"].items():
        np.testing.assert_allclose(values, expected[name][0], rtol=1e-6)


def test_no_box(answers, photo):
    with pytest.raises(DataError, match="width and height must be above 0"):
        answers.person(photo, np.float32([5, 6, 0, 40]))


def test_a_diverged_network_is_json_too(answers, photo, poses, monkeypatch):
    poses.keypoint_scores[0, 0], kept = np.nan, poses.keypoint_scores[0, 0]
    monkeypatch.setattr(answers, "_find", lambda photo: poses)
    try:
        assert answers.people(photo)["people"][0]["keypoints"][0][2] == 0
    finally:
        poses.keypoint_scores[0, 0] = kept
