"""The small detector that ships: its size, its card, and pictures of every kind."""

import numpy as np
import pytest

from p2net_tf.data.boxes.datasets import read_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.opening import SHIPPED, chosen_detector, open_detector
from p2net_tf.evaluation.boxes.evaluate import evaluate_detector
from p2net_tf.inference.pictures import load_picture
from p2net_tf.inference.presets import preset_file
from p2net_tf.skeletons.skeleton import Skeleton


@pytest.fixture(scope="module")
def detector() -> NetworkDetector:
    return open_detector(SHIPPED)


def test_it_is_small_and_says_what_is_likely(detector):
    assert preset_file(SHIPPED).stat().st_size <= 8e6
    card = detector.card
    assert (card.shorter_side, card.longer_side, card.classes) == (320, 320, ("person",))
    assert card.score_threshold < detector.likely_score < 0.5


@pytest.mark.parametrize("name", ["coco17", "lsp14", "mpii16"])
def test_it_finds_those_who_have_wrists_and_ankles(name, detector):
    found = chosen_detector(None, Skeleton.load(name))
    assert isinstance(found, NetworkDetector) and found.card == detector.card


@pytest.mark.parametrize(
    "size",
    [
        (1, 1),
        (3, 2000),
        *(pytest.param(size, marks=pytest.mark.slow) for size in ((1500, 1), (320, 320), (6000, 8000))),
    ],
)
def test_pictures_of_any_size_are_answered(detector, size):
    """Noise, and nothing at all: what is found lies within the picture, and is not likely."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for picture in (noise, np.zeros_like(noise)):
        found = detector.detect_in(picture)
        corners = found.windows[:, :2] + found.windows[:, 2:]
        assert (found.windows >= 0).all() and (corners <= np.float32(size[::-1]) + 1e-3).all()
        assert len(found.above(0.5)) == 0


def test_a_hundred_people_are_answered(detector, data_root):
    scenes = read_scenes(BoxDatasetConfig(format="coco", root=str(data_root / "people_boxes"), split="val"))
    person = load_picture(str(scenes.image_paths[0]))
    found = detector.detect_in(np.tile(person, (10, 10, 1)))
    assert len(found) <= 100 and np.isfinite(found.windows).all()


@pytest.mark.slow
def test_it_scores_what_its_card_says(detector, data_root):
    """And at its likely score at most one box in twenty is a second one on the same person."""
    scenes = read_scenes(BoxDatasetConfig(format="coco", root=str(data_root / "people_boxes"), split="val"))
    result = evaluate_detector(detector, scenes, score_limit=detector.likely_score).result
    assert result["AP50"] == pytest.approx(AP50, abs=5e-4)
    assert result["AP"] == pytest.approx(AP, abs=5e-4)
    assert result.at_limit.doubles <= 0.05


AP, AP50 = 0.4331, 0.8536
"""On `people_boxes/val`, as the page of the weights gives them."""
