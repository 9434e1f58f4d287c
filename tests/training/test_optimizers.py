"""The fused optimizers against Keras' own, which they are to equal."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network

from p2net_tf.training.optimizers import SGD, Adam, AdamW
from p2net_tf.utils.compat import averages_of

STEPS = 5
OPTIONS = [{}, {"beta_1": 0.5, "epsilon": 1e-3}, {"clipnorm": 0.5}, {"use_ema": True}, {"amsgrad": True}]
PAIRS = [
    (Adam, keras.optimizers.Adam),
    pytest.param(AdamW, keras.optimizers.AdamW, marks=pytest.mark.slow),
]


def values_after(optimizer, in_graph=False) -> list[np.ndarray]:
    """Variables and moments after some steps along fixed gradients."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in ((3, 4), (5,))]
    gradients = [[tf.constant(rng.normal(size=v.shape), tf.float32) for v in variables] for _ in range(STEPS)]
    optimizer.build(variables)

    def step(*given):
        optimizer.apply_gradients(zip(given, variables, strict=True))

    step = tf.function(step) if in_graph else step
    for given in gradients:
        step(*given)
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_equals_keras(ours, theirs, options):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 2 * STEPS)
    expected = values_after(theirs(rate, **options))
    for in_graph in (False, True):
        found = values_after(ours(rate, **options), in_graph=in_graph)
        for one, other in zip(found, expected, strict=True):
            # 1 - beta_2 to the power of 1 is 0.001, and rounded to float32 by 6e-8, in either of the two.
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_equals_the_paper_in_float64():
    """Algorithm 1 of Kingma & Ba, with epsilon where Keras has it: beside the uncorrected root."""
    rng, rate, beta_1, beta_2, epsilon = np.random.default_rng(1), 0.25, 0.9, 0.999, 1e-7
    weights, gradients = rng.normal(size=6), rng.normal(size=(STEPS, 6))
    variable, optimizer = keras.Variable(weights, dtype="float64"), Adam(rate, beta_1, beta_2, epsilon)
    momentum, velocity = np.zeros(6), np.zeros(6)
    for step, gradient in enumerate(gradients, start=1):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        momentum = beta_1 * momentum + (1 - beta_1) * gradient
        velocity = beta_2 * velocity + (1 - beta_2) * gradient**2
        corrected = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weights = weights - corrected * momentum / (np.sqrt(velocity) + epsilon)
    np.testing.assert_allclose(variable.numpy(), weights, rtol=1e-12)


def test_closed_form_of_the_first_step():
    """Of Adam's first step only the sign of the gradient is left."""
    variable = keras.Variable([1.0, -2.0, 3.0])
    optimizer = Adam(0.01)
    optimizer.apply_gradients([(tf.constant([5.0, -0.1, 40.0]), variable)])
    np.testing.assert_allclose(variable.numpy(), [0.99, -1.99, 2.99], rtol=1e-5)


def test_a_graph_may_build_its_optimizer():
    """The average goes on from step to step: 0.75 of what it was, 0.25 of the weight."""
    optimizer, variable = SGD(1.0, use_ema=True, ema_momentum=0.75), keras.Variable([8.0])

    @tf.function
    def step():
        optimizer.apply_gradients([(tf.ones(1), variable)])

    for _ in range(3):
        step()
    [(_, average)] = averages_of(optimizer)
    assert float(average[0]) == pytest.approx(0.75 * (0.75 * 7 + 0.25 * 6) + 0.25 * 5)


def test_one_kernel_per_variable():
    variables = [keras.Variable(np.ones(size)) for size in (2, 3, 4)]
    optimizer = Adam(0.1)
    optimizer.build(variables)

    @tf.function
    def step():
        optimizer.apply_gradients([(tf.ones(v.shape), v) for v in variables])

    kinds = [node.type for node in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 3
    assert "Sqrt" not in kinds


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_sparse_gradients_are_left_to_keras(ours, theirs):
    found, expected = keras.Variable(np.ones((4, 2))), keras.Variable(np.ones((4, 2)))
    for optimizer, variable in ((ours(0.1), found), (theirs(0.1), expected)):
        optimizer.apply_gradients([(tf.IndexedSlices(tf.ones((1, 2)), [2], (4, 2)), variable)])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)
    assert (found.numpy() != 1).any()


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_config_survives(ours, theirs):
    optimizer = ours(0.1, beta_1=0.5, weight_decay=0.01)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is ours
    assert again.get_config() == optimizer.get_config()


class TestDecay:
    @pytest.mark.parametrize("stored", [False, True])
    def test_adamw_shrinks_kernels_alone(self, stored):
        """Without a gradient a step is the decay: kernels lose rate x decay = 0.05 of themselves."""
        optimizer = AdamW(0.5, weight_decay=0.1)
        if stored:
            optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        weights = tiny_network(input_size=(32, 32)).trainable_weights
        before = [weight.numpy() for weight in weights]
        optimizer.build(weights)
        optimizer.apply([tf.zeros(weight.shape) for weight in weights])
        assert {weight.name for weight in weights} == {"kernel", "bias", "gamma", "beta"}
        for weight, start in zip(weights, before, strict=True):
            expected = 0.95 * start if weight.name == "kernel" else start
            np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6, err_msg=weight.path)

    def test_keras_still_decays_everything(self):
        """Why ours does not leave it to the default."""
        bias, optimizer = keras.Variable([1.0], name="bias"), keras.optimizers.AdamW(0.5, weight_decay=0.1)
        optimizer.apply_gradients([(tf.zeros(1), bias)])
        assert float(bias[0]) == pytest.approx(0.95)
