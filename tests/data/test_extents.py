import numpy as np

from p2net_tf.data.extents import keypoint_extents
from p2net_tf.keypoints.geometry import keypoint_box


def test_extents_are_the_boxes_of_the_ground_floor():
    """Of many people, of one, and of somebody of whom nothing is labeled."""
    random = np.random.default_rng(0)
    keypoints = np.float32(random.uniform(-50, 300, (20, 14, 3)))
    keypoints[..., 2] = random.integers(0, 3, (20, 14))
    keypoints[3, :, 2] = 0
    for some in (keypoints, keypoints[5], keypoints[3]):
        found = keypoint_extents(some)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, keypoint_box(some))
    assert keypoint_extents(keypoints[:0]).shape == (0, 4)
