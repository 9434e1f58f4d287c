"""The server in the parity report."""

import numpy as np
from closed_form import diagonal, picture

from p2net_tf.serving.pose_function import served


def test_a_version_is_asked_over_grpc(model_dir):
    boxes = np.array([[1, 2, 3, 4], [0, 0, 13, 26]], np.float32)
    with served(model_dir / "1") as posers:
        (pose,) = posers.values()
        keypoints, keypoint_scores, scores = pose(picture(40), boxes)
    assert list(posers) == ["gRPC server"]
    np.testing.assert_allclose(keypoints, [diagonal(box) for box in boxes], rtol=1e-6)
    np.testing.assert_array_equal(keypoint_scores, np.full((2, 14), 40))
    np.testing.assert_array_equal(scores, [1, 1])
