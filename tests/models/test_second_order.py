"""A gradient of a gradient through the whole network (Auto-Pose, equation 8), against finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from layer_checks import randomize_weights
from networks import tiny_network

from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss

pytestmark = pytest.mark.slow

STEP = 1e-6


@pytest.fixture(scope="module")
def problem():
    """A float64 network in training mode, and its two losses on two crops as a function of these crops."""
    rng = np.random.default_rng(0)
    network = tiny_network(dtype="float64")
    randomize_weights(network, rng)
    parallel, refine = HeatmapLoss(dtype="float64"), OHKMLoss(2, dtype="float64")
    keypoints = np.concatenate([rng.uniform(0, 64, (2, 3, 2)), [[[2], [1], [2]], [[2], [0], [1]]]], axis=-1)

    def loss(crops):
        maps = network(crops, training=True)
        return refine(keypoints, maps.pop("heatmaps")) + tf.add_n(
            [parallel(keypoints, m) for m in maps.values()]
        )

    return network, loss, tf.constant(rng.uniform(size=(2, 64, 64, 3)))


def gradient(loss, crops, variables):
    with tf.GradientTape() as tape:
        value = loss(crops)
    return tape.gradient(value, variables)


def dot(ones, others):
    return tf.add_n([tf.reduce_sum(one * other) for one, other in zip(ones, others, strict=True)])


def relative_error(found, expected) -> float:
    difference = [a - b for a, b in zip(found, expected, strict=True)]
    return float(tf.sqrt(dot(difference, difference) / dot(expected, expected)))


def central_difference(function):
    """`(function(STEP) - function(-STEP)) / (2 STEP)` of a list of tensors."""
    above, below = function(STEP), function(-STEP)
    return [(a - b) / (2 * STEP) for a, b in zip(above, below, strict=True)]


def test_hessian_vector_product_of_the_weights(problem):
    network, loss, crops = problem
    weights = network.trainable_variables
    rng = np.random.default_rng(1)
    direction = [rng.normal(size=weight.shape) for weight in weights]
    with tf.GradientTape() as tape:
        along = dot(gradient(loss, crops, weights), direction)
    exact = tape.gradient(along, weights)

    start = [weight.numpy() for weight in weights]

    def gradient_at(step):
        for weight, value, way in zip(weights, start, direction, strict=True):
            weight.assign(value + step * way)
        return gradient(loss, crops, weights)

    numeric = central_difference(gradient_at)
    for weight, value in zip(weights, start, strict=True):
        weight.assign(value)
    assert relative_error(exact, numeric) < 1e-6


def test_gradient_of_a_weight_gradient_with_respect_to_the_crops(problem):
    """What carries the hypergradient from the network to the augmentation that made the crops."""
    network, loss, crops = problem
    weights = network.trainable_variables
    rng = np.random.default_rng(2)
    direction = [rng.normal(size=weight.shape) for weight in weights]
    with tf.GradientTape() as tape:
        tape.watch(crops)
        along = dot(gradient(loss, crops, weights), direction)
    exact = tape.gradient(along, crops)
    way = rng.normal(size=crops.shape)
    (numeric,) = central_difference(
        lambda step: [dot(gradient(loss, crops + step * way, weights), direction)]
    )
    assert float(tf.reduce_sum(exact * way)) == pytest.approx(float(numeric), rel=1e-6)
