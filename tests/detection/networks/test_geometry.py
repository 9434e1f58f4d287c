import numpy as np
import pytest
from random_boxes import random_boxes
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks import geometry


def test_corners_and_windows():
    np.testing.assert_array_equal(geometry.corners_of(np.float32([[1, 2, 10, 20]])), [[1, 2, 11, 22]])
    np.testing.assert_array_equal(geometry.windows_of(np.float32([[1, 2, 11, 22]])), [[1, 2, 10, 20]])


def test_iou_is_torchvisions():
    rng = np.random.default_rng(0)
    boxes, others = random_boxes(rng, 3, 40), random_boxes(rng, 3, 30)
    found = geometry.iou(boxes, others)
    for b in range(3):
        expected = torchvision.ops.box_iou(torch.from_numpy(boxes[b]), torch.from_numpy(others[b]))
        np.testing.assert_allclose(found[b], expected, atol=1e-6)


def test_boxes_without_area_overlap_nothing():
    point = np.zeros((1, 1, 4), np.float32)
    assert geometry.iou(point, point)[0, 0, 0] == 0


def test_covered_share():
    box, crowd = np.float32([[[0, 0, 10, 10], [20, 0, 20, 5]]]), np.float32([[[5, 0, 100, 100]]])
    np.testing.assert_allclose(geometry.covered_share(box, crowd)[0, :, 0], [0.5, 0])


@pytest.mark.parametrize("extra", [(), (2,)])
def test_clip_knows_the_picture(extra):
    boxes = np.broadcast_to(np.float32([-5, -6, 500, 600]), (2, 3, *extra, 4))
    found = np.asarray(geometry.clip(boxes, np.int32([[50, 40], [60, 70]])))
    assert found.shape == boxes.shape
    np.testing.assert_array_equal(found[0, 0].reshape(-1, 4)[0], [0, 0, 40, 50])
    np.testing.assert_array_equal(found[1, 2].reshape(-1, 4)[0], [0, 0, 70, 60])


def test_rows():
    values = np.arange(24).reshape(2, 4, 3)
    indices = np.int32([[3, 0], [1, 1]])
    np.testing.assert_array_equal(geometry.rows(values, indices), [values[0][[3, 0]], values[1][[1, 1]]])
    np.testing.assert_array_equal(geometry.rows(values[..., 0], indices), [[9, 0], [15, 15]])
