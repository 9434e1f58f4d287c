"""Equation 8 in float64: three ways to it against each other and against differences of Lval(w'(a))."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import randomize_weights
from networks import tiny_network

from p2net_tf.autopose.hypergradient import METHODS, Bilevel, hypergradient, jvp_scores, look_ahead, stateless
from p2net_tf.autopose.mixture import Mixture
from p2net_tf.autopose.space import SearchSpace
from p2net_tf.layers import BatchNormalization
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss

EXACT_OPERATIONS = (
    "Identity", "TranslateX", "TranslateY", "Rotate", "Scale", "Cutout", "Brightness", "Sharpness",
    "SolarizeAdd",
)  # fmt: skip
NAMES = ("alpha", "probability", "magnitude")
STEP = 1e-7
LOSSES = {
    "intermediate": HeatmapLoss(dtype="float64"),
    "final": OHKMLoss(2, dtype="float64"),
}


def make_network(size: int):
    """The tiny P2Net with all weights random; heads small enough for losses of a few units."""
    network = tiny_network(input_size=(size, size), dtype="float64")
    randomize_weights(network, np.random.default_rng(0))
    for weight in network.trainable_variables:
        if "head" in weight.path:
            weight.assign(0.1 * weight)
    return network


def make_smooth_network(size: int):
    """Two convolutions and a batch normalization, without a kink: quick to trace."""
    options = {"padding": "same", "dtype": "float64"}
    crops = keras.Input((size, size, 3), dtype="float64")
    x = keras.layers.Conv2D(4, 5, strides=4, **options)(crops)
    x = keras.layers.Activation("tanh", dtype="float64")(BatchNormalization(dtype="float64")(x))
    heatmaps = {name: keras.layers.Conv2D(3, 3, **options)(x) for name in ("parallel_4", "heatmaps")}
    network = keras.Model(crops, heatmaps)
    randomize_weights(network, np.random.default_rng(0))
    return network


def random_batch(rng, persons: int, size: int):
    keypoints = rng.uniform(0.2 * size, 0.8 * size, (persons, 3, 2))
    visibility = rng.integers(1, 3, (persons, 3, 1))
    visibility[0, 1] = 0
    crops = rng.uniform(0.1, 0.9, (persons, size, size, 3))
    return tf.constant(crops), tf.constant(np.concatenate([keypoints, visibility], axis=-1))


def make_problem(network, stages: int, operations=EXACT_OPERATIONS, rate: float = 1e-3):
    """Two sub-policies with every logit random, three people to train on and three to validate on."""
    size = network.input_shape[1]
    rng = np.random.default_rng(stages)
    train, validation = random_batch(rng, 3, size), random_batch(rng, 3, size)
    mixture = Mixture(SearchSpace(2, stages, operations), seed=0, dtype="float64")
    for variable in mixture.variables:
        variable.assign_add(rng.normal(0, 0.5, variable.shape))
    forward = stateless(network)

    def train_loss(weights):
        crops, hypotheses = mixture.mix(*train, seed=[3, 4])
        return mixture.loss(forward(weights, crops), hypotheses, **LOSSES)

    def validation_loss(weights):
        crops, keypoints = validation
        maps = forward(weights, crops)
        parallel = [LOSSES["intermediate"](keypoints, maps[name]) for name in maps if name != "heatmaps"]
        return tf.add_n(parallel) / len(parallel) + LOSSES["final"](keypoints, maps["heatmaps"])

    return Bilevel(train_loss, validation_loss, network.trainable_variables, mixture.variables, rate)


def relative_error(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def snapshot(network) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.variables]


@pytest.fixture(scope="module")
def network():
    return make_network(64)


@pytest.fixture(scope="module", params=[1, 2], ids=lambda stages: f"N={stages}")
def problem(network, request):
    """The problem of N stages through P2Net, and its hypergradient by double backprop."""
    problem = make_problem(network, request.param)
    return problem, hypergradient(problem, "double_backprop")


@pytest.mark.slow
class TestThroughP2Net:
    def test_unrolled_is_double_backprop(self, problem):
        problem, expected = problem
        found = hypergradient(problem, "unrolled")
        for gradient, exact in zip(found.gradients, expected.gradients, strict=True):
            assert relative_error(gradient, exact) < 1e-9
        assert float(found.validation_loss) == pytest.approx(float(expected.validation_loss), rel=1e-12)

    @pytest.mark.parametrize("name", NAMES)
    def test_central_differences_of_the_validation_loss_after_the_step(self, problem, name):
        problem, exact = problem
        index = NAMES.index(name)
        variable, start = problem.parameters[index], problem.parameters[index].numpy()
        direction = np.random.default_rng(index).normal(size=start.shape)

        def validation_loss_at(step: float) -> float:
            variable.assign(start + step * direction)
            return float(look_ahead(problem).validation_loss)

        numeric = (validation_loss_at(STEP) - validation_loss_at(-STEP)) / (2 * STEP)
        variable.assign(start)
        along = np.sum(exact.gradients[index] * direction)
        assert along == pytest.approx(numeric, rel=1e-5)

    def test_finite_differences_need_a_radius_without_kinks(self, problem, record_property):
        """DARTS' radius of 0.01 crosses the kinks of the relus and is off by whole multiples here."""
        problem, exact = problem
        fine = hypergradient(problem, "finite_differences", radius=1e-6)
        coarse = hypergradient(problem, "finite_differences")
        for name, near, far, expected in zip(
            NAMES, fine.gradients, coarse.gradients, exact.gradients, strict=True
        ):
            record_property(f"deviation_of_{name}", relative_error(far, expected))
            assert np.isfinite(far).all()
            assert relative_error(near, expected) < 1e-3

    @pytest.mark.parametrize("method", ["double_backprop", "unrolled"])
    def test_the_network_stays_as_it_was(self, network, method):
        problem = make_problem(network, 1, ("Identity", "Rotate"))
        before = snapshot(network)
        hypergradient(problem, method)
        for old, new in zip(before, snapshot(network), strict=True):
            np.testing.assert_array_equal(new, old)

    def test_scores_are_gradients_of_single_samples_times_v(self, network):
        rng = np.random.default_rng(0)
        crops, keypoints = random_batch(rng, 3, 64)
        loss = OHKMLoss(2, reduction=None, dtype="float64")
        forward = stateless(network)
        weights = [tf.constant(variable.numpy()) for variable in network.trainable_variables]
        direction = [tf.constant(rng.normal(size=weight.shape)) for weight in weights]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(weights)
            each = tf.unstack(loss(keypoints, forward(weights, crops)["heatmaps"]))
        expected = [
            sum(
                np.sum(gradient * v)
                for gradient, v in zip(tape.gradient(value, weights), direction, strict=True)
                if gradient is not None
            )
            for value in each
        ]
        scores = jvp_scores(lambda: loss(keypoints, forward(weights, crops)["heatmaps"]), weights, direction)
        assert scores.shape == (3,)
        np.testing.assert_allclose(scores, expected, rtol=1e-9)

    @pytest.mark.slow
    def test_in_a_graph(self, network):
        problem = make_problem(network, 2)
        expected = hypergradient(problem, "double_backprop")
        found = tf.function(lambda: hypergradient(problem, "unrolled"))()
        for gradient, exact in zip(found.gradients, expected.gradients, strict=True):
            assert relative_error(gradient, exact) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["double_backprop", "unrolled"])
def test_in_a_graph(method):
    """On a network that is quick to trace; `TestThroughP2Net` has the slow one."""
    network = make_smooth_network(32)
    problem = make_problem(network, 1, ("Identity", "Rotate", "Brightness"))
    expected = hypergradient(problem, "double_backprop")
    before = snapshot(network)
    found = tf.function(lambda: hypergradient(problem, method))()
    for gradient, exact in zip(found.gradients, expected.gradients, strict=True):
        assert relative_error(gradient, exact) < 1e-9
    for old, new in zip(before, snapshot(network), strict=True):
        np.testing.assert_array_equal(new, old)


class TestInClosedForm:
    """`Ltrain = sum(a w^2) / 2` and `Lval = sum((w - t)^2) / 2`: `w' = w (1 - zeta a)`."""

    W, A, T = np.array([1.5, -0.7]), np.array([0.6, 1.1]), np.array([0.2, 0.4])

    def problem(self, rate: float, *more) -> Bilevel:
        w, a = tf.Variable(self.W), tf.Variable(self.A)
        return Bilevel(
            lambda weights: tf.reduce_sum(a * weights[0] ** 2) / 2,
            lambda weights: tf.reduce_sum((weights[0] - self.T) ** 2) / 2,
            [w],
            [a, *more],
            rate,
        )

    @pytest.mark.parametrize("rate", [0.0, 0.3])
    @pytest.mark.parametrize("method", METHODS)
    def test_hypergradient(self, method, rate):
        ahead = self.W * (1 - rate * self.A)
        found = hypergradient(self.problem(rate), method)
        np.testing.assert_allclose(found.gradients[0], -(ahead - self.T) * rate * self.W, rtol=1e-9)
        assert float(found.train_loss) == pytest.approx(np.sum(self.A * self.W**2) / 2, rel=1e-12)
        assert float(found.validation_loss) == pytest.approx(np.sum((ahead - self.T) ** 2) / 2, rel=1e-12)

    def test_look_ahead(self):
        found = look_ahead(self.problem(0.3))
        ahead = self.W * (1 - 0.3 * self.A)
        np.testing.assert_allclose(found.weights[0], ahead, rtol=1e-12)
        np.testing.assert_allclose(found.direction[0], ahead - self.T, rtol=1e-12)
        np.testing.assert_allclose(found.train_gradient[0], self.A * self.W, rtol=1e-12)

    @pytest.mark.parametrize("method", METHODS)
    def test_an_unused_parameter_gets_zeros(self, method):
        unused = tf.Variable([1.0, 2.0], dtype="float64")
        found = hypergradient(self.problem(0.3, unused), method).gradients
        np.testing.assert_array_equal(found[1], [0.0, 0.0])
        np.testing.assert_array_equal(found[0], hypergradient(self.problem(0.3), method).gradients[0])

    @pytest.mark.parametrize("method", METHODS)
    def test_a_training_loss_without_a_parameter(self, method):
        problem = dataclasses.replace(self.problem(0.3), parameters=[tf.Variable(1.0)])
        with pytest.raises(ValueError, match="depends on none of the parameters"):
            hypergradient(problem, method)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_validation_loss_at_its_minimum(self, method):
        """v = 0: no direction to take a finite difference in."""
        problem = dataclasses.replace(
            self.problem(0.3), validation_loss=lambda weights: 0.0 * tf.reduce_sum(weights[0])
        )
        np.testing.assert_array_equal(hypergradient(problem, method).gradients[0], [0.0, 0.0])

    def test_unknown_method(self):
        with pytest.raises(ValueError, match="unknown method 'darts'; take one of double_backprop"):
            hypergradient(self.problem(0.3), "darts")

    def test_scores_of_losses_without_the_weights(self):
        weight = tf.constant([1.0])
        with pytest.raises(ValueError, match="do not depend on the weights"):
            jvp_scores(lambda: tf.constant([2.0]), [weight], [weight])


TWO_REPLICAS = """
import json
import numpy as np
from p2net_tf.training.strategy import make_strategy

strategy = make_strategy(2)
import tensorflow as tf
from p2net_tf.autopose.hypergradient import METHODS, Bilevel, hypergradient

rng = np.random.default_rng(0)
train, validation = (tf.constant(rng.normal(size=(4, 3))) for _ in range(2))
start, parameter = rng.normal(size=(3, 2)), rng.normal(size=3)
with strategy.scope():
    a, w = tf.Variable(parameter), tf.Variable(start)

def problem(train, validation):
    # Means over the global batch of 4, whatever part of it is here.
    def loss(crops, weights):
        return tf.reduce_sum(tf.square(tf.tanh(crops @ weights[0]) - 0.3)) / 4
    return Bilevel(lambda w: loss(train * tf.sin(a), w), lambda w: loss(validation, w), [w], [a], 0.5)

def total(tensors):
    return tf.distribute.get_replica_context().all_reduce("SUM", tensors)

@tf.function
def replica(train, validation, method):
    return hypergradient(problem(train, validation), method, reduce=total).gradients

def halves(batch):
    return strategy.experimental_distribute_values_from_function(
        lambda c: tf.split(batch, 2)[c.replica_id_in_sync_group])

found = {}
for method in METHODS:
    shares = strategy.run(replica, args=(halves(train), halves(validation), method))
    both = strategy.reduce("SUM", shares[0], axis=None).numpy()
    one = hypergradient(problem(train, validation), method).gradients[0].numpy()
    found[method] = float(np.abs(both - one).max() / np.abs(one).max())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_sum_to_one():
    """Logical devices are fixed when TensorFlow starts, so these two have a process of their own."""
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(METHODS)
    assert max(found.values()) < 1e-8
