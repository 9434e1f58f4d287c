import json

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_detectors import tiny_detector

from p2net_tf.data.samples import DataError
from p2net_tf.detection.card import DetectorCard, read_detector_card
from p2net_tf.detection.detector import FileDetector, NetworkDetector, WholeImageDetector
from p2net_tf.inference.card import CardError
from p2net_tf.inference.keras_file import NetworkFileError, save_network


class FindsBright(keras.Model):
    """Stands in for a network: a box around the bright part of the canvas, and one of another class."""

    stride = 32
    padding_value = (0.0, 0.0, 0.0)

    def call(self, images, sizes=None, training=None):
        ops = keras.ops
        bright = ops.cast(images[0, :, :, 0] > 0.5, "float32")
        rows, columns = ops.max(bright, axis=1), ops.max(bright, axis=0)
        top, left = ops.argmax(rows), ops.argmax(columns)
        corner = ops.stack([left, top])
        extent = ops.stack([ops.sum(columns), ops.sum(rows)])
        box = ops.concatenate([ops.cast(corner, "float32"), ops.cast(corner, "float32") + extent])
        return {
            "boxes": ops.stack([box, box, box])[None],
            "scores": ops.convert_to_tensor([[0.9, 0.8, 0.04]]),
            "classes": ops.convert_to_tensor([[1, 0, 1]]),
            "valid": ops.convert_to_tensor([[True, True, True]]),
        }


CARD = DetectorCard(classes=("cat", "person"), shorter_side=64, longer_side=128)


def bright_picture(height, width, box):
    x, y, w, h = box
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y : y + h, x : x + w] = 255
    return picture


@pytest.mark.parametrize(("size", "box"), [((128, 192), (32, 16, 64, 40)), ((32, 32), (4, 8, 20, 16))])
def test_boxes_are_those_of_the_picture_whatever_its_size(size, box):
    """Scaled to the canvas and back; persons alone, above the threshold."""
    (boxes,) = NetworkDetector(FindsBright(), CARD).detect([bright_picture(*size, box)])
    np.testing.assert_allclose(boxes.windows, [box], atol=1.0)  # half a pixel of the canvas to each side
    np.testing.assert_allclose(boxes.scores, [0.9])


@pytest.mark.parametrize(
    "form",
    [lambda picture: picture, Image.fromarray, lambda picture: picture[None], lambda picture: [picture]],
)
def test_one_picture_needs_no_list(form):
    """Alone, of Pillow, in a batch, in a list; a path is another test's."""
    picture = form(bright_picture(128, 192, (32, 16, 64, 40)))
    (boxes,) = WholeImageDetector().detect(picture)
    np.testing.assert_array_equal(boxes.windows, [[0, 0, 192, 128]])


def test_one_path_needs_no_list(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert [boxes.windows.tolist() for boxes in WholeImageDetector().detect(path)] == [[[0, 0, 30, 20]]]


@pytest.mark.parametrize("score", [7, -0.1, float("nan"), "0.5", [0.5], True])
def test_an_odd_least_score_is_refused(score):
    detector = WholeImageDetector()
    with pytest.raises(DataError, match=r"min_score is .*; give a number from 0 to 1"):
        detector.likely(detector.detect_in(np.zeros((8, 8, 3))), score)


def test_is_saved_under_the_name_that_opens_it(tmp_path):
    with pytest.raises(CardError, match=r"d.h5: networks are kept in .keras files"):
        NetworkDetector(FindsBright(), CARD).save(tmp_path / "d.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_gives_the_same_boxes(tmp_path):
    keras.utils.set_random_seed(0)
    network = tiny_detector("one_stage", score_threshold=0.0)
    detector = NetworkDetector(network, DetectorCard(shorter_side=64, longer_side=96, score_threshold=0.0))
    detector.save(tmp_path / "detector.keras")
    loaded = NetworkDetector.load(tmp_path / "detector.keras")
    assert loaded.card == detector.card
    pictures = [
        np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ]
    for before, after in zip(detector.detect(pictures), loaded.detect(pictures), strict=True):
        np.testing.assert_array_equal(after.windows, before.windows)
        np.testing.assert_array_equal(after.scores, before.scores)
    assert len(before) <= network.max_detections


def test_cards_that_cannot_be_used(tmp_path):
    file = tmp_path / "network.keras"
    with pytest.raises(NetworkFileError, match="no run folder with best.keras, no .keras file"):
        NetworkDetector.load(file)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_network(network, file)
    with pytest.raises(CardError, match="has no inference card"):
        read_detector_card(file)
    faults = {
        "of a later version": ({"version": 99}, "version 99"),
        "broken": ({"shorter_side": -1}, "shorter_side"),
        "without people": ({"classes": ["cat"]}, "no class 'person'"),
        "of poses": ({"task": "pose"}, "for the task 'pose'"),
    }
    for changed, message in faults.values():

        class Broken:
            def to_plain(self, changed=changed):
                return CARD.to_plain() | changed

        save_network(network, file, Broken())
        with pytest.raises(CardError, match=message):
            read_detector_card(file)


def test_fields_of_a_later_version_are_kept(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_network(network, tmp_path / "network.keras", DetectorCard(soft_nms=True))
    assert read_detector_card(tmp_path / "network.keras").to_plain()["soft_nms"] is True


def test_the_whole_image():
    (boxes,) = WholeImageDetector().detect(np.zeros((30, 20, 3), np.uint8)[None])
    np.testing.assert_array_equal(boxes.windows, [[0, 0, 20, 30]])
    np.testing.assert_array_equal(boxes.scores, [1])


def test_boxes_of_a_file(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    entries = [
        {"file_name": "a.png", "bbox": [1, 2, 3, 4], "score": 0.3},
        {"file_name": "a.png", "bbox": [5, 6, 7, 8], "score": 0.6},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    first, second = FileDetector(tmp_path / "boxes.json").detect([tmp_path / "a.png", tmp_path / "b.png"])
    np.testing.assert_array_equal(first.windows, [[5, 6, 7, 8], [1, 2, 3, 4]])
    assert len(second) == 0
    with pytest.raises(DataError, match="neither a file nor"):
        list(FileDetector(tmp_path / "none.json").detect([tmp_path / "a.png"]))
