"""Detectors by a word, and the boxes that are kept of them."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from tiny_detectors import tiny_detector

from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector, PersonDetector, WholeImageDetector
from p2net_tf.detection.kept_boxes import boxes_folder, kept_boxes
from p2net_tf.detection.opening import names_detector, open_detector
from p2net_tf.inference.keras_file import NetworkFileError


class Counting(PersonDetector):
    """Finds the left half of every picture, and counts how often it is asked."""

    digest = "counting"

    def __init__(self):
        self.asked = 0

    def detect_in(self, picture):
        self.asked += 1
        height, width = picture.shape[:2]
        return Boxes([[0, 0, width / 2, height]], [0.75])


@pytest.fixture
def pictures(tmp_path):
    paths = {}
    for number in (7, "b"):
        paths[number] = str(tmp_path / f"{number}.png")
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(paths[number])
    return paths


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("whole_image", True),
        ("none", True),
        ("hub:retinanet", True),
        ("runs/first.keras", True),
        (".", True),
        ("annotations/boxes.json", False),
    ],
)
def test_names_detector(word, found):
    assert names_detector(word) is found


def test_open_detector():
    detector = Counting()
    assert open_detector(detector) is detector
    assert isinstance(open_detector("whole_image"), WholeImageDetector)
    assert isinstance(open_detector("none"), WholeImageDetector)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("nowhere", "nowhere: no such file or folder, and no detector of this name; known: detector_small_p"),
        ("detector_smal_people", "did you mean 'detector_small_people'"),
        ("whole-image", "did you mean 'whole_image'"),
    ],
)
def test_a_detector_that_is_not_there(word, words):
    with pytest.raises(NetworkFileError, match=words):
        open_detector(word)


def test_an_empty_folder_is_no_detector(tmp_path):
    with pytest.raises(NetworkFileError, match="no run folder with best.keras, no .keras file"):
        open_detector(tmp_path)


def test_kept_boxes_are_asked_for_once(pictures, tmp_path):
    detector = Counting()
    file = kept_boxes(detector, pictures, category_id=3, folder=tmp_path / "kept")
    assert json.loads(file.read_text()) == [
        {"image_id": number, "category_id": 3, "bbox": [0, 0, 20, 20], "score": 0.75} for number in (7, "b")
    ]
    assert kept_boxes(detector, pictures, category_id=3, folder=tmp_path / "kept") == file
    assert detector.asked == 2


def test_kept_boxes_depend_on_pictures_and_settings(pictures, tmp_path):
    detector, folder = Counting(), tmp_path / "kept"
    files = {kept_boxes(detector, pictures, folder=folder)}
    files.add(kept_boxes(detector, pictures, exif_orientation=True, folder=folder))
    files.add(kept_boxes(detector, {7: pictures[7]}, folder=folder))
    os.utime(pictures[7], (0, 0))
    files.add(kept_boxes(detector, pictures, folder=folder))
    detector.digest = "other weights"
    files.add(kept_boxes(detector, pictures, folder=folder))
    assert len(files) == 5


def test_a_lost_picture_has_no_boxes(pictures, tmp_path):
    os.remove(pictures["b"])
    file = kept_boxes(Counting(), pictures | {"nameless": None}, folder=tmp_path / "kept")
    assert [entry["image_id"] for entry in json.loads(file.read_text())] == [7]


def test_a_damaged_file_is_written_anew(pictures, tmp_path):
    file = kept_boxes(Counting(), pictures, folder=tmp_path / "kept")
    whole = file.read_bytes()
    file.write_bytes(whole[:20])
    assert kept_boxes(Counting(), pictures, folder=tmp_path / "kept").read_bytes() == whole


def test_the_folder_is_below_that_of_keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert boxes_folder() == tmp_path / "p2net_tf" / "boxes"


def test_digest_of_a_network_tells_weights_and_settings():
    network = tiny_detector("one_stage")
    detector = NetworkDetector(network, DetectorCard())
    digests = {detector.digest, NetworkDetector(network, DetectorCard(shorter_side=300)).digest}
    weight = network.weights[0]
    weight.assign(weight + 1)
    digests.add(detector.digest)
    assert len(digests) == 3
