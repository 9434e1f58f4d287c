import numpy as np
import pytest

from p2net_tf.detection.boxes import Boxes


def test_the_best_come_first():
    boxes = Boxes([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]], [0.2, 0.9, 0.5])
    np.testing.assert_array_equal(boxes.windows[:, 0], [2, 4, 0])
    np.testing.assert_array_equal(boxes.scores, np.float32([0.9, 0.5, 0.2]))
    assert len(boxes.above(0.5)) == 1


def test_corners_are_cut_off_at_the_borders_and_empty_ones_left_out():
    boxes = Boxes.of_corners(
        [[-5, 10, 30, 200], [40, 0, 40, 10], [200, 0, 300, 9]], [0.5, 0.6, 0.7], (100, 50)
    )
    np.testing.assert_array_equal(boxes.windows, [[0, 10, 30, 90]])
    np.testing.assert_array_equal(boxes.scores, [0.5])


def test_a_picture_may_have_none():
    nothing = Boxes([], [])
    assert nothing.windows.shape == (0, 4) and len(nothing) == 0
    assert len(Boxes.of_corners(np.zeros((0, 4)), [], (9, 9)).above(0.5)) == 0


def test_every_box_has_a_score():
    with pytest.raises(ValueError, match="2 boxes, but 1 scores"):
        Boxes(np.zeros((2, 4)), [0.5])
