"""The truth with errors, and how well a detector finds rendered people."""

import numpy as np
import pytest

from p2net_tf.bench.scene_detectors import Disturbance, DisturbedTruth, SceneDetector
from p2net_tf.data.synthetic.walks import WalkFrame
from p2net_tf.detection.boxes import Boxes

BOXES = np.float32([[20, 10, 40, 100], [100, 10, 40, 100], [180, 10, 40, 100]])
FRAME = WalkFrame(
    np.zeros((240, 320, 3), np.uint8),
    0.0,
    [{"track_id": row + 1, "bbox": box.tolist()} for row, box in enumerate(BOXES)],
    np.array([1.0, 0.5, 0.2]),
)
"""One who is seen, one who is half hidden, one who is hidden."""
NONE = Disturbance(0, 0, 0)


def test_without_errors():
    """The half hidden one is doubtful, the hidden one is not found."""
    found = DisturbedTruth(0, NONE)(FRAME)
    np.testing.assert_array_equal(found.windows, BOXES[:2])
    assert 0.76 < found.scores[0] <= 0.9 and 0.29 < found.scores[1] <= 0.35


@pytest.mark.parametrize("name", ["noise", "lost", "invented"])
def test_every_error_is_as_large_as_it_says(name):
    """Over 1500 frames: of noise the standard deviation, of the others the shares."""
    wanted = {"noise": 0.03, "lost": 0.2, "invented": 0.3}[name]
    find = DisturbedTruth(1, Disturbance(**({"noise": 0, "lost": 0, "invented": 0} | {name: wanted})))
    found = [find(FRAME) for _ in range(1500)]
    counts = np.array([len(boxes) for boxes in found])
    if name == "noise":
        sides = np.array([np.sort(boxes.windows[:, 0]) for boxes in found])
        measured = (sides - [20, 100]).std() / 100
    else:
        measured = abs(counts.mean() - 2) / (2 if name == "lost" else 1)
    assert measured == pytest.approx(wanted, rel=0.1)


def test_a_seed_is_a_sequence():
    first, again, other = (DisturbedTruth(seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first(FRAME).windows, again(FRAME).windows) for _ in range(5))
    assert not np.array_equal(first(FRAME).windows, other(FRAME).windows)


def test_a_detector_is_counted():
    """It finds the first, loosely the second, and a box of nobody; doubtful boxes do not count."""
    seen = []

    def find(frame):
        seen.append(frame)
        windows = [BOXES[0] + [2, 0, 0, 0], BOXES[1] + [30, 0, 0, 0], [0, 150, 40, 80], BOXES[1]]
        return Boxes(windows, [0.9, 0.8, 0.7, 0.2])

    eye = SceneDetector(find, 0.5)
    for picture in eye.watch([FRAME, FRAME]):
        assert picture is FRAME.picture
        assert len(eye.detect_in(picture)) == 4
    assert seen == [FRAME, FRAME]
    assert (eye.there, eye.found, eye.invented) == (4, 2, 4)
