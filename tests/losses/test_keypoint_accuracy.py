"""KeypointAccuracy on heatmaps whose peaks are placed by hand."""

import keras
import numpy as np
import pytest

from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy


def maps_with_peaks(*columns) -> np.ndarray:
    """One person, one map per column: a peak at row 8 that decodes to its pixel's centre."""
    maps = np.zeros((1, 16, 16, len(columns)), "float32")
    for k, column in enumerate(columns):
        maps[0, 8, column, k] = 1.0
    return maps


def keypoints_at(*columns, visibility=2) -> np.ndarray:
    """Keypoints at the centres of heatmap pixels of row 8."""
    return np.float32([[(4 * (column + 0.5), 34.0, visibility) for column in columns]])


def test_counts_hits_within_a_fraction_of_the_extent():
    """Keypoints at columns 2..12 span 40 crop pixels: a tenth is one heatmap pixel."""
    metric = KeypointAccuracy(threshold=0.1)
    metric.update_state(keypoints_at(2, 6, 8, 12), maps_with_peaks(2, 7, 10, 12))
    assert float(metric.result()) == 0.75
    metric.update_state(keypoints_at(2, 6, 8, 12), maps_with_peaks(5, 9, 11, 9))
    assert float(metric.result()) == 3 / 8


def test_threshold_is_a_fraction_of_the_longer_side():
    metric = KeypointAccuracy(threshold=0.21)
    metric.update_state(keypoints_at(2, 12), maps_with_peaks(4, 9))
    assert float(metric.result()) == 0.5


def test_unlabeled_keypoints_neither_count_nor_stretch_the_person():
    keypoints = keypoints_at(2, 6, 8, 12)
    keypoints[0, 3] = [1e4, 1e4, 0]
    metric = KeypointAccuracy(threshold=0.1)
    metric.update_state(keypoints, maps_with_peaks(2, 7, 8, 12))
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_a_person_without_labels_counts_nothing():
    metric = KeypointAccuracy()
    metric.update_state(keypoints_at(2, 6, visibility=0), maps_with_peaks(2, 6))
    assert float(metric.result()) == 0.0
    metric.update_state(keypoints_at(2, 6), maps_with_peaks(2, 6))
    assert float(metric.result()) == 1.0


def test_each_person_has_an_extent_of_its_own():
    """The same error of one heatmap pixel is a tenth of the first person and a half of the second."""
    truth = np.concatenate([keypoints_at(2, 12), keypoints_at(2, 4)])
    maps = np.concatenate([maps_with_peaks(3, 12), maps_with_peaks(3, 4)])
    metric = KeypointAccuracy(threshold=0.1)
    metric.update_state(truth, maps)
    assert float(metric.result()) == 0.75


def test_reset():
    metric = KeypointAccuracy()
    metric.update_state(keypoints_at(2, 12), maps_with_peaks(12, 2))
    metric.reset_state()
    metric.update_state(keypoints_at(2, 12), maps_with_peaks(2, 12))
    assert float(metric.result()) == 1.0


def test_another_stride_and_configuration_round_trip():
    metric = KeypointAccuracy(threshold=0.1, stride=8)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    keypoints = keypoints_at(2, 12)
    keypoints[..., :2] *= 2
    copy.update_state(keypoints, maps_with_peaks(2, 14))
    assert float(copy.result()) == 0.5


def test_persons_count_by_their_weight():
    truth = np.concatenate([keypoints_at(2, 12), keypoints_at(2, 4)])
    maps = np.concatenate([maps_with_peaks(3, 12), maps_with_peaks(3, 4)])
    metric = KeypointAccuracy(threshold=0.1)
    metric.update_state(truth, maps, sample_weight=[0.0, 3.0])
    assert float(metric.result()) == 0.5
    assert float(metric.total) == 6.0
