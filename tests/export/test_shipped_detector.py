"""The small detector that ships, exported: real photographs, the weights that people get."""

import json

import numpy as np
import pytest
from picture_bytes import encoded
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.detection.opening import SHIPPED, open_detector
from p2net_tf.detection.saved_model import SavedModelDetector
from p2net_tf.export.detector import lite_canvas, lite_side
from p2net_tf.export.lite_session import load_interpreter_class
from p2net_tf.export.session import SavedModelSession
from p2net_tf.inference.pictures import load_picture

pytestmark = pytest.mark.slow

LOSES_PEOPLE = pytest.mark.xfail(
    reason="8 of 30 people, the small and faint ones, score below the limit in eight bits; the heads and the "
    "pyramid in float do not bring them back",
    strict=True,
)


@pytest.fixture(scope="module")
def detector():
    return open_detector(SHIPPED)


@pytest.fixture(scope="module")
def pictures(data_root):
    """Photographs of many sizes, with people and without."""
    files = sorted((data_root / "coco_tiny" / "val2017").glob("*.jpg"))
    streets = sorted((data_root / "people_boxes" / "val").rglob("*.jpg"))[::24]
    assert len(files) >= 4 and len(streets) >= 8
    return [load_picture(str(file)) for file in files + streets]


@pytest.fixture(scope="module")
def folders(data_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    seen = data_root / "coco_tiny" / "train2017"
    arguments = ["export", SHIPPED, "--out", folder, "--format", "all", "--calibration", seen, "--json"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["folders"]


def test_a_saved_model_gives_the_same_boxes(detector, pictures, folders):
    opened = SavedModelDetector(folders["saved_model"], score_threshold=detector.card.score_threshold)
    with SavedModelSession(folders["saved_model"]) as session:
        for picture in pictures:
            expected, found = detector.detect_in(picture), opened.detect_in(picture)
            assert len(found) == len(expected) > 0
            np.testing.assert_allclose(found.windows, expected.windows, atol=1e-2)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
            served = session.run("image_bytes", {"image_bytes": encoded(picture)})
            assert int(served["num_detections"][0]) == len(expected)
            np.testing.assert_allclose(
                served["detection_scores"][0, : len(expected)], expected.scores, atol=1e-5
            )


@pytest.mark.parametrize(
    "precision, overlap, changed",
    [("float32", 0.999, 0.0), ("float16", 0.98, 0.0), pytest.param("int8", 0.7, 0.1, marks=LOSES_PEOPLE)],
)
def test_phones_find_the_same_people(detector, pictures, folders, precision, overlap, changed):
    """Suppression inside. In eight bits a box moves, and one in ten, near the limit, may come or go."""
    run = load_interpreter_class()(f"{folders['tflite']}/{SHIPPED}_{precision}.tflite").get_signature_runner()
    people, differing = 0, 0
    for picture in pictures:
        canvas, _ = lite_canvas(detector, picture, lite_side(detector))
        expected = likely(detector, detector.network(np.float32(canvas[None]) / 255), corners=True)
        found = likely(detector, run(pictures=canvas[None]))
        fits = coco_mask.iou(found, expected, [0] * len(expected)) if len(found) and len(expected) else None
        paired = 0 if fits is None else int((fits.max(axis=0) > overlap).sum())
        people += len(expected)
        differing += len(expected) + len(found) - 2 * paired
    assert people >= 20
    assert differing <= changed * people


def likely(detector, found: dict, corners: bool = False) -> np.ndarray:
    """Boxes xywh on a canvas that are shown to people."""
    boxes, scores = (np.asarray(found[name], np.float64) for name in ("boxes", "scores"))
    boxes, scores = boxes.reshape(-1, 4), scores.reshape(-1)
    if corners:
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return boxes[scores > detector.likely_score]
