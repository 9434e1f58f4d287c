"""The two losses against closed forms, loops and finite differences."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.keypoints import heatmaps
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss, default_ohkm

SIZE = (16, 12)


def random_case(seed: int = 0, persons: int = 4, number: int = 6):
    """Keypoints in a 64 x 48 crop, the last person without a label, and unrelated heatmaps."""
    rng = np.random.default_rng(seed)
    keypoints = np.concatenate(
        [rng.uniform(0, 48, (persons, number, 2)), rng.integers(0, 3, (persons, number, 1))], axis=-1
    )
    keypoints[0, :, 2] = 2
    keypoints[1, :, 2] = [0, 0, 1, 0, 0, 2]
    keypoints[-1, :, 2] = 0
    return keypoints, rng.normal(0, 0.3, (persons, *SIZE, number))


def keypoint_errors_in_loops(keypoints, maps, sigma) -> np.ndarray:
    errors = np.full(keypoints.shape[:2], np.nan)
    centres = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    for b, k in np.ndindex(errors.shape):
        x, y, visibility = keypoints[b, k]
        if visibility > 0:
            target = np.exp(-((centres[0] - x / 4) ** 2 + (centres[1] - y / 4) ** 2) / (2 * sigma**2))
            errors[b, k] = np.sum((maps[b, :, :, k] - target) ** 2) / (math.pi * sigma**2)
    return errors


def heatmap_loss_in_loops(keypoints, maps, sigma) -> float:
    errors = keypoint_errors_in_loops(keypoints, maps, sigma)
    return np.mean([np.mean(row[~np.isnan(row)]) if (~np.isnan(row)).any() else 0.0 for row in errors])


def hard_loss_in_loops(keypoints, maps, sigma, hard) -> float:
    """Per person: the mean of the `min(hard, visible)` largest errors of the visible keypoints."""
    persons = []
    for row in keypoint_errors_in_loops(keypoints, maps, sigma):
        hardest = sorted((error for error in row if not math.isnan(error)), reverse=True)[:hard]
        persons.append(sum(hardest) / len(hardest) if hardest else 0.0)
    return np.mean(persons)


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("loss", [HeatmapLoss, OHKMLoss])
def test_predicting_nothing_costs_one_per_keypoint(loss, sigma):
    """The sum of a squared Gaussian over all pixels is pi sigma^2, wherever its centre lies."""
    keypoints = np.array([[[131.3, 120.7, 2], [120.0, 140.1, 1], [0, 0, 0]]])
    value = loss(sigma=sigma, dtype="float64")(keypoints, np.zeros((1, 64, 64, 3)))
    assert float(value) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("loss", [HeatmapLoss(), OHKMLoss(2)])
def test_a_perfect_prediction_costs_nothing(loss):
    keypoints, _ = random_case()
    keypoints = keypoints.astype("float32")
    assert float(loss(keypoints, heatmaps.encode(keypoints, SIZE, 2.0))) == 0.0


def test_heatmap_loss_is_its_loop():
    keypoints, maps = random_case()
    value = HeatmapLoss(sigma=1.7, dtype="float64")(keypoints, maps)
    assert float(value) == pytest.approx(heatmap_loss_in_loops(keypoints, maps, 1.7), rel=1e-12)


@pytest.mark.parametrize("hard", [1, 2, 4, 6, 10])
def test_hard_keypoint_loss_is_its_loop(hard):
    """The second person has two labels: divided by the fixed `hard` it costs up to 5 times too little."""
    keypoints, maps = random_case(1)
    value = OHKMLoss(hard, sigma=1.7, dtype="float64")(keypoints, maps)
    assert float(value) == pytest.approx(hard_loss_in_loops(keypoints, maps, 1.7, hard), rel=1e-12)


def test_hard_keypoint_loss_of_a_person_with_few_labels():
    """Two labels and an empty prediction: one per keypoint, not 2 / 10."""
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, [3, 8]] = [[131.3, 120.7, 2], [120.0, 140.1, 1]]
    value = OHKMLoss(10, dtype="float64")(keypoints, np.zeros((1, 64, 64, 17)))
    assert float(value) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("loss", [HeatmapLoss(), OHKMLoss(2)])
def test_keypoints_without_a_label_cost_nothing(loss):
    keypoints, maps = random_case(2)
    keypoints, maps = keypoints.astype("float32"), maps.astype("float32")
    before = float(loss(keypoints, maps))
    moved, noisy = keypoints.copy(), maps.copy()
    unlabeled = keypoints[..., 2] == 0
    moved[unlabeled, :2] = 33
    noisy += 100 * unlabeled[:, None, None, :]
    assert float(loss(moved, noisy)) == before
    assert float(loss(keypoints[-1:], maps[-1:])) == 0.0


def test_persons_weigh_the_same_whatever_their_labels():
    keypoints, maps = random_case(3)
    loss = HeatmapLoss(dtype="float64")
    each = [float(loss(keypoints[i : i + 1], maps[i : i + 1])) for i in range(len(keypoints))]
    assert float(loss(keypoints, maps)) == pytest.approx(np.mean(each), rel=1e-12)


def test_default_ohkm_is_10_of_17_and_scales():
    assert [default_ohkm(k) for k in (17, 16, 14, 1)] == [10, 9, 8, 1]


@pytest.mark.parametrize("loss", [HeatmapLoss(dtype="float64"), OHKMLoss(3, dtype="float64")])
def test_gradient_is_the_finite_difference(loss):
    keypoints, maps = random_case(4)
    maps = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = loss(keypoints, maps)
    gradient = tape.gradient(value, maps)
    rng = np.random.default_rng(5)
    for _ in range(3):
        direction, step = rng.normal(size=maps.shape), 1e-5
        numeric = (loss(keypoints, maps + step * direction) - loss(keypoints, maps - step * direction)) / (
            2 * step
        )
        assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(float(numeric), rel=1e-7)


@pytest.mark.parametrize("loss", [HeatmapLoss(1.5, 8, "a"), OHKMLoss(4, sigma=3.0)])
def test_configuration_round_trip(loss):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
