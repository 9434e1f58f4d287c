import functools

import keras
import numpy as np
import pytest
from random_boxes import random_boxes
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks.matching import IGNORED, NEGATIVE, POSITIVE, Matcher, sample


def uniform(seed):
    return functools.partial(keras.random.uniform, seed=seed)


@pytest.mark.parametrize("keeps_best", [False, True])
def test_it_is_torchvisions(keeps_best):
    rng = np.random.default_rng(0)
    matcher = Matcher(0.6, 0.3, keeps_best)
    theirs = torchvision.models.detection._utils.Matcher(0.6, 0.3, keeps_best)
    anchors = random_boxes(rng, 1, 500)
    boxes, present = random_boxes(rng, 4, 7), np.arange(7) < np.int32([7, 5, 1, 3])[:, None]
    indices, labels = map(np.asarray, matcher(anchors, boxes, present))
    seen = set()
    for b in range(4):
        overlaps = torchvision.ops.box_iou(
            torch.from_numpy(boxes[b][present[b]]), torch.from_numpy(anchors[0])
        )
        expected = theirs(overlaps).numpy()
        assert (labels[b] == np.select([expected >= 0, expected == -1], [POSITIVE, NEGATIVE], IGNORED)).all()
        assert (indices[b] == expected)[expected >= 0].all()
        seen |= set(labels[b])
    assert seen == {POSITIVE, NEGATIVE, IGNORED}


def test_a_picture_without_boxes_is_background():
    anchors = random_boxes(np.random.default_rng(0), 1, 9)
    _, labels = Matcher(0.5, 0.4, True)(anchors, np.zeros((1, 3, 4), np.float32), np.zeros((1, 3), bool))
    assert (np.asarray(labels) == NEGATIVE).all()


def test_crowds_take_no_anchor_and_hide_those_in_them():
    anchors = np.float32([[[0, 0, 10, 10], [50, 0, 60, 10], [5, 0, 15, 10], [0, 0, 11, 10]]])
    boxes = np.float32([[[0, 0, 10, 10], [0, 0, 10, 10]]])
    everybody = np.ones((1, 2), bool)
    matcher = Matcher(0.5, 0.5)
    _, labels = matcher(anchors, boxes, everybody, np.bool_([[True, True]]))
    np.testing.assert_array_equal(labels[0], [IGNORED, NEGATIVE, IGNORED, IGNORED])
    indices, labels = matcher(anchors, boxes, everybody, np.bool_([[True, False]]))
    np.testing.assert_array_equal(labels[0], [POSITIVE, NEGATIVE, IGNORED, POSITIVE])
    assert indices[0, 0] == 1


def test_boxes_that_do_not_fit_take_no_anchor_and_hide_those_that_are_like_them():
    anchors = np.float32([[[0, 0, 10, 10], [0, 0, 5, 10], [0, 0, 2, 10], [50, 0, 60, 10]]])
    box, there = np.float32([[[0, 0, 10, 10]]]), np.ones((1, 1), bool)
    _, labels = Matcher(0.7, 0.3, keeps_best=True)(anchors, box, there, unfit=there)
    np.testing.assert_array_equal(labels[0], [IGNORED, IGNORED, NEGATIVE, NEGATIVE])


@pytest.mark.parametrize(("positives", "expected"), [(100, (16, 48)), (5, (5, 59)), (0, (0, 64))])
def test_a_sample_is_full_and_balanced(positives, expected):
    labels = np.full((2, 500), NEGATIVE, np.int32)
    labels[:, :positives] = POSITIVE
    labels[:, 400:] = IGNORED
    chosen = np.asarray(sample(labels, 64, 0.25, uniform(1)))
    for b in range(2):
        assert (np.sum(chosen[b] & (labels[b] == 1)), np.sum(chosen[b] & (labels[b] == 0))) == expected
        assert not chosen[b, 400:].any()
    assert (chosen[0] != chosen[1]).any()
    np.testing.assert_array_equal(chosen, sample(labels, 64, 0.25, uniform(1)))
    assert (chosen != np.asarray(sample(labels, 64, 0.25, uniform(2)))).any()


def test_a_sample_of_few_anchors_takes_them_all():
    assert np.asarray(sample(np.zeros((1, 9), np.int32), 64, 0.5, uniform(1))).all()


def test_every_anchor_is_as_likely():
    labels = np.zeros((4000, 10), np.int32)
    share = np.mean(np.asarray(sample(labels, 3, 0.5, uniform(3))), axis=0)
    np.testing.assert_allclose(share, 0.3, atol=0.03)  # four standard deviations
