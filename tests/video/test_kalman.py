"""Boxes that move, against the textbook's filter of one box."""

import numpy as np

from p2net_tf.video.kalman import POSITION_NOISE, SPEED_NOISE, BoxMotion


def textbook(windows):
    """`(mean, covariance)` after the boxes of one person in frame after frame, by plain matrices."""
    step, seen = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
    boxes = np.concatenate([windows[:, :2] + windows[:, 2:] / 2, windows[:, 2:]], axis=1)
    height = boxes[0, 3]
    mean = np.concatenate([boxes[0], np.zeros(4)])
    spread = np.repeat([2 * POSITION_NOISE, 10 * SPEED_NOISE], 4) * height
    covariance = np.diag(spread**2)
    for box in boxes[1:]:
        noise = np.diag((np.repeat([POSITION_NOISE, SPEED_NOISE], 4) * mean[3]) ** 2)
        mean, covariance = step @ mean, step @ covariance @ step.T + noise
        uncertain = np.diag(np.full(4, POSITION_NOISE * mean[3]) ** 2)
        gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + uncertain)
        mean = mean + gain @ (box - seen @ mean)
        covariance = (np.eye(8) - gain @ seen) @ covariance
    return mean, covariance


def test_every_box_is_filtered_by_itself():
    random = np.random.default_rng(0)
    paths = np.array([[10, 20, 30, 80], [200, 50, 60, 50]]) + random.normal(size=(7, 2, 4)).cumsum(axis=0)
    motion = BoxMotion()
    motion.begin(paths[0])
    for windows in paths[1:]:
        motion.predict()
        motion.correct(np.array([1, 0]), windows[::-1])
    for row in (0, 1):
        mean, covariance = textbook(paths[:, row])
        np.testing.assert_allclose(motion.means[row], mean, rtol=1e-9)
        np.testing.assert_allclose(motion.covariances[row], covariance, rtol=1e-7, atol=1e-9)


def test_a_speed_is_learned_and_goes_on():
    motion = BoxMotion()
    motion.begin([[0, 0, 40, 100]])
    for frame in range(1, 30):
        motion.predict()
        motion.correct(np.array([0]), [[5 * frame, 0, 40, 100]])
    np.testing.assert_allclose(motion.means[0, 4:6], [5, 0], atol=0.05)
    for _ in range(4):
        motion.predict()
    np.testing.assert_allclose(motion.windows[0], [5 * 33, 0, 40, 100], atol=0.5)


def test_distances_are_in_standard_deviations():
    """A new box 100 high: its place is known to 10 pixels, and measured to 5; so is its size."""
    motion = BoxMotion()
    motion.begin([[0, 0, 50, 100], [200, 0, 50, 100]])
    distances = motion.distances(np.array([0, 1]), [[10, 0, 50, 100], [200, 0, 60, 100]])
    # A box that is 10 wider has its middle 5 further.
    np.testing.assert_allclose(np.diag(distances), [10**2 / 125, (10**2 + 5**2) / 125])
    np.testing.assert_allclose(distances[0, 1], 190**2 / 125)
