"""Detectors that others run give the boxes that Python gives."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from picture_bytes import encoded
from PIL import Image
from tiny_detectors import tiny_detector
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.saved_model import SavedModelDetector
from p2net_tf.export.detector import export_detector_tflite, lite_canvas, lite_side
from p2net_tf.export.lite_session import load_interpreter_class
from p2net_tf.export.session import SavedModelSession

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "export" / "tflite"


def lively(network, seed=0):
    """Random weights with which anchors score differently, and none of them certain."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.path.endswith("output/kernel"):
            weight.assign(rng.normal(0, 0.05, weight.shape))
    return network


@pytest.fixture(scope="module")
def detector():
    network = lively(tiny_detector("one_stage", score_threshold=0.0))
    return NetworkDetector(network, DetectorCard(shorter_side=64, longer_side=96, score_threshold=0.0))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((80, 120), (200, 90), (31, 33))]


@pytest.fixture(scope="module")
def folders(detector, pictures, tmp_path_factory):
    """What the command writes of the file of a detector."""
    folder = tmp_path_factory.mktemp("detector")
    detector.save(folder / "net.keras")
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")
    arguments = ["export", folder / "net.keras", "--format", "all", "--calibration", folder, "--json"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["folders"]


def test_a_saved_model_is_a_detector_with_the_same_boxes(detector, pictures, folders):
    opened = SavedModelDetector(folders["saved_model"], score_threshold=0.0)
    for picture in pictures:
        expected, found = detector.detect_in(picture), opened.detect_in(picture)
        assert len(found) == len(expected) > 3
        np.testing.assert_allclose(found.windows, expected.windows, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_a_session_takes_the_bytes_of_a_picture(detector, pictures, folders):
    with SavedModelSession(folders["saved_model"]) as session:
        found = session.run("image_bytes", {"image_bytes": encoded(pictures[0])})
        other = session.run("serving_default", {"input_tensor": pictures[0][None]})
    for name, value in found.items():
        np.testing.assert_array_equal(value, other[name])
    count = int(found["num_detections"][0])
    assert count == len(detector.detect_in(pictures[0]))
    assert not found["detection_scores"][0, count:].any()


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_tflite_gives_the_same_boxes(detector, pictures, folders, precision):
    """Suppression is inside. In few digits other boxes of random weights stay: scores are compared."""
    side = lite_side(detector)
    interpreter = load_interpreter_class()(f"{folders['tflite']}/detector_{precision}.tflite")
    run = interpreter.get_signature_runner()
    names = {detail["op_name"] for detail in interpreter._get_ops_details()}
    assert "NON_MAX_SUPPRESSION_V5" in names and not any(name.startswith("Flex") for name in names)
    for picture in pictures:
        canvas, _ = lite_canvas(detector, picture, side)
        found = run(pictures=canvas[None])
        expected = detector.network(np.float32(canvas[None]) / 255)
        boxes = np.asarray(expected["boxes"])[0]
        windows = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        if precision == "float32":
            np.testing.assert_allclose(found["boxes"], windows, atol=1e-2)
        # Eight bits: the best one alone.
        count, tolerance = {"float32": (10, 1e-5), "float16": (10, 1e-2), "int8": (1, 0.05)}[precision]
        scores = np.asarray(expected["scores"])[0, :count]
        np.testing.assert_allclose(found["scores"][:count], scores, atol=tolerance)


def test_without_pictures_there_is_no_int8(detector, tmp_path):
    folder = export_detector_tflite(detector, tmp_path)
    assert sorted(file.name for file in folder.glob("*.tflite")) == [
        "detector_float16.tflite",
        "detector_float32.tflite",
    ]


@pytest.fixture
def finder(folders, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    find_people = importlib.import_module("find_people")
    return find_people.open_folder(folders["tflite"], find_people.PersonFinder, "float32")[0]


@pytest.mark.parametrize("antialias", [True, False])
def test_the_example_finds_what_python_finds(finder, detector, pictures, antialias, monkeypatch):
    """Its scaling is numpy's alone, so it is independent of the project's."""
    finder.antialias, finder.likely_score = antialias, 0.0
    card = detector.card.model_copy(update={"antialias": antialias})
    asked = NetworkDetector(detector.network, card)
    for picture in pictures:
        canvas, scale = lite_canvas(asked, picture, lite_side(asked))
        mine, factors = finder._canvas(np.float32(picture))
        assert np.abs(mine.astype(int) - canvas).max() <= 1
        np.testing.assert_allclose(factors, scale[::-1], rtol=1e-6)
        monkeypatch.setattr(finder, "_canvas", lambda pixels, known=(canvas, factors): known)
        boxes, scores = finder.find(Image.fromarray(picture))
        monkeypatch.undo()
        found = detector.network(np.float32(canvas[None]) / 255)
        expected = Boxes.of_corners(
            np.asarray(found["boxes"])[0] / np.tile(factors, 2),
            np.asarray(found["scores"])[0],
            picture.shape[:2],
        )
        assert len(boxes) == len(expected) > 3
        np.testing.assert_allclose(boxes, expected.windows, atol=2e-2)
        np.testing.assert_allclose(scores, expected.scores, atol=1e-5)


def test_unlikely_boxes_and_other_classes_are_left_out(finder, pictures):
    finder.likely_score = 0.0
    image = Image.fromarray(pictures[0])
    _, scores = finder.find(image)
    finder.likely_score = float(scores[2])
    assert len(finder.find(image)[0]) == 2
    finder.person = 5
    assert len(finder.find(image)[0]) == 0
