"""Precision, recall and doubles at one limit of the scores."""

import pytest

from p2net_tf.evaluation.boxes.average_precision import evaluate_boxes
from tests.evaluation.boxes.test_average_precision import PERFECT, TWO, found, truth_of

NEAR = found(1, [12, 12, 40, 80], 0.7)
"""A second box on the first of `TWO`."""
NOTHING = found(2, [12, 12, 40, 80], 0.3)


def at(results, limit=None, truth=TWO):
    return evaluate_boxes(truth, results, limit).at_limit


def test_two_boxes_on_one_person():
    point = at([*PERFECT, NEAR, NOTHING], 0.2)
    assert (point.kept, point.doubled, point.doubles) == (4, 1, 0.25)
    assert (point.precision, point.recall) == (0.5, 1)


def test_the_limit_leaves_boxes_out():
    point = at([*PERFECT, NEAR, NOTHING], 0.75)
    assert (point.kept, point.doubled, point.precision, point.recall) == (2, 0, 1, 1)
    assert at(PERFECT, 0.85).recall == 0.5


def test_the_best_limit():
    """Of the F1 score: the third box that finds something comes after two that do not."""
    assert at([*PERFECT, NEAR, NOTHING]).limit == 0.8
    assert at([NEAR | {"score": 0.95}, *PERFECT]).limit == 0.8
    assert at([NOTHING]).limit == 0
    assert at([]).kept == 0


def test_equal_scores_are_kept_together():
    results = [entry | {"score": 0.5} for entry in (PERFECT[0], NOTHING, NOTHING, PERFECT[1])]
    point = at(results)
    assert (point.limit, point.kept, point.precision) == (0.5, 4, 0.5)


def test_a_loose_box_is_no_double():
    point = at([*PERFECT, found(1, [30, 40, 40, 80], 0.7)], 0)
    assert (point.doubled, point.precision) == (0, pytest.approx(2 / 3))


def test_each_of_two_people_who_stand_close_has_a_box():
    truth = truth_of({1: [[0, 0, 100, 100], [20, 0, 100, 100]]})
    point = at([found(1, [0, 0, 100, 100], 0.9), found(1, [8, 0, 100, 100], 0.8)], 0, truth)
    assert (point.doubled, point.recall) == (0, 1)


def test_boxes_on_crowds_count_neither_way():
    truth = truth_of({1: [[0, 0, 40, 80], [100, 0, 100, 100]]})
    truth["annotations"][1]["iscrowd"] = 1
    results = [found(1, [0, 0, 40, 80], 0.9), *(found(1, [110 + x, 10, 20, 20], 0.8) for x in range(3))]
    point = at(results, 0, truth)
    assert (point.kept, point.precision, point.recall, point.doubled) == (4, 1, 1, 0)
