import numpy as np
import pytest
from random_boxes import random_boxes
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks.box_coder import BoxCoder

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_it_is_torchvisions(weights):
    rng = np.random.default_rng(0)
    boxes, anchors = random_boxes(rng, 200), random_boxes(rng, 200)
    theirs = torchvision.models.detection._utils.BoxCoder(weights)
    deltas = theirs.encode_single(torch.from_numpy(boxes), torch.from_numpy(anchors)).numpy()
    np.testing.assert_allclose(BoxCoder(weights).encode(boxes, anchors), deltas, rtol=1e-4, atol=1e-5)
    noisy = deltas + rng.normal(0, 5, deltas.shape).astype(np.float32)  # beyond the largest growth, too
    expected = theirs.decode_single(torch.from_numpy(noisy), torch.from_numpy(anchors)).numpy()
    np.testing.assert_allclose(BoxCoder(weights).decode(noisy, anchors), expected, rtol=1e-4, atol=1e-2)


def test_classes_of_a_batch_decode_against_the_same_anchors():
    rng = np.random.default_rng(1)
    anchors, boxes = random_boxes(rng, 2, 5, 1), random_boxes(rng, 2, 5, 3)
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    deltas = coder.encode(boxes, anchors)
    assert deltas.shape == (2, 5, 3, 4)
    np.testing.assert_allclose(coder.decode(deltas, anchors), boxes, rtol=1e-4, atol=1e-3)


def test_a_box_without_sides_has_finite_deltas():
    assert np.isfinite(BoxCoder().encode(np.zeros((1, 4), np.float32), np.float32([[0, 0, 9, 9]]))).all()
