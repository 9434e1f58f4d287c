"""Bilinear resampling against scipy, and its gradients against finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from p2net_tf.augment.resampling import resample

SIZE = HEIGHT, WIDTH = 18, 25
WAYS = [False, True]


def random_matrices(count: int, seed: int = 0) -> np.ndarray:
    """Turns, shears, mirrors and shifts, up to content that leaves the crop."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(0, 0.5, (count, 2, 2)) + rng.choice([-1, 1], (count, 1, 1)) * np.eye(2)
    center = np.array([WIDTH, HEIGHT]) / 2
    offset = center - linear @ center + rng.uniform(-6, 6, (count, 2))
    return np.concatenate([linear, offset[..., None]], axis=-1)


def crops_of(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(count, *SIZE, channels))


def by_scipy(crop: np.ndarray, matrix: np.ndarray, fill: float) -> np.ndarray:
    """Our corner coordinates written as scipy's (row, column) of pixel centres, output to input."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    index = np.linalg.inv(half) @ np.vstack([matrix, [0, 0, 1]]) @ half
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    inverse = (swap @ np.linalg.inv(index) @ swap)[:2]
    channels = [
        ndimage.affine_transform(
            channel, inverse[:, :2], inverse[:, 2], order=1, mode="grid-constant", cval=fill
        )
        for channel in np.moveaxis(crop, -1, 0)
    ]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize("differentiable", WAYS)
@pytest.mark.parametrize(("channels", "fill"), [(3, 0.5), (1, 0.0)])
def test_every_sample_by_its_own_matrix(differentiable, channels, fill):
    crops, matrices = crops_of(12, channels), random_matrices(12)
    expected = [by_scipy(crop, matrix, fill) for crop, matrix in zip(crops, matrices, strict=True)]
    found = resample(tf.constant(crops), tf.constant(matrices), fill, differentiable)
    assert found.dtype == tf.float64
    # The fast kernel takes its matrix in float32.
    np.testing.assert_allclose(found, expected, atol=1e-9 if differentiable else 1e-4)


@pytest.mark.parametrize("differentiable", WAYS)
def test_the_identity_is_exact_and_a_mirror_is_a_mirror(differentiable):
    crops = crops_of(2).astype(np.float32)
    plain, mirror = np.float32([[1, 0, 0], [0, 1, 0]]), np.float32([[-1, 0, WIDTH], [0, 1, 0]])
    found = resample(crops, tf.constant([plain, mirror]), 0.5, differentiable)
    np.testing.assert_array_equal(found[0], crops[0])
    np.testing.assert_allclose(found[1], crops[1, :, ::-1], atol=1e-6)


@pytest.mark.parametrize("differentiable", WAYS)
def test_the_border_fades_into_the_fill_over_half_a_pixel(differentiable):
    crops = np.ones((1, 4, 4, 1), np.float32)
    for shift, share in ((0.25, 0.75), (0.5, 0.5), (0.9, 0.1)):
        found = resample(crops, tf.constant([[[1, 0, shift], [0, 1, 0]]]), 0.2, differentiable)
        np.testing.assert_allclose(found[0, 0, :, 0], [share + 0.2 * (1 - share), 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("differentiable", WAYS)
def test_an_empty_batch(differentiable):
    assert resample(crops_of(0), np.zeros((0, 2, 3)), 0.5, differentiable).shape == (0, *SIZE, 3)


class TestGradients:
    """In float64, of the differentiable way."""

    STEP = 1e-6

    def loss(self, crops, matrices):
        weights = np.random.default_rng(1).normal(size=crops.shape)
        return tf.reduce_sum(weights * resample(crops, matrices, 0.5, True) ** 2)

    def test_of_every_entry_of_the_matrix_and_of_the_image(self):
        crops, matrices = tf.constant(crops_of(3)), tf.constant(random_matrices(3))
        rng = np.random.default_rng(2)
        directions = rng.normal(size=crops.shape), rng.normal(size=matrices.shape) * [0.05, 0.05, 1.0]
        with tf.GradientTape() as tape:
            tape.watch([crops, matrices])
            loss = self.loss(crops, matrices)
        gradients = tape.gradient(loss, [crops, matrices])
        for place, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
            high, low = (
                self.loss(*(
                    value + (step * direction if index == place else 0.0)
                    for index, value in enumerate((crops, matrices))
                ))
                for step in (self.STEP, -self.STEP)
            )  # fmt: skip
            expected = (high - low) / (2 * self.STEP)
            np.testing.assert_allclose(tf.reduce_sum(gradient * direction), expected, rtol=1e-6)

    @pytest.mark.parametrize("shift", [0.0, 3.0])
    def test_at_a_whole_pixel_it_is_that_of_one_side(self, shift):
        """There the image has a kink. Half of a difference, a neighbour alone, would be no slope at all."""
        crops = tf.constant(crops_of(1))
        shift = tf.constant(shift, tf.float64)

        def loss(shift):
            return self.loss(crops, tf.reshape(tf.stack([1.0, 0.0, shift, 0.0, 1.0, shift]), [1, 2, 3]))

        with tf.GradientTape() as tape:
            tape.watch(shift)
            here = loss(shift)
        gradient = tape.gradient(here, shift)
        sides = [(loss(shift + step) - here).numpy() / step for step in (-self.STEP, self.STEP)]
        assert abs(sides[0] - sides[1]) > 1.0
        assert min(abs(gradient - side) for side in sides) < 1e-3
