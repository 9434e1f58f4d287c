"""Steps of the search: what moves, by how much, and that neither devices nor repetition change it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions
from pydantic import ValidationError

from p2net_tf.autopose.build import make_search_policy, make_searcher
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.utils.compat import adam_velocities

pytestmark = pytest.mark.slow

SIZE, PEOPLE = 32, 8
OPERATIONS = ["Identity", "Brightness", "Rotate"]


def make(seed: int = 0, optimizer=None, strategy=None, **changes):
    """A searcher before its first step, always with the same weights."""
    strategy = strategy or tf.distribute.get_strategy()
    defaults = {"sub_policies": 2, "stages": 1, "operations": OPERATIONS, "steps": 4, "chains_per_person": 2}
    settings = SearchConfig(**{**defaults, **changes})
    with strategy.scope():
        keras.utils.set_random_seed(1)
        network = two_convolutions(3, (SIZE, SIZE), synchronized=strategy.num_replicas_in_sync > 1)
        model = PoseModel(network, ohkm=2, weight_decay=1e-3)
        model.compile(optimizer() if optimizer else keras.optimizers.SGD(1e-2))
        policy = make_search_policy(settings, seed)
    return make_searcher(model, policy, settings, seed, strategy)


def people(seed: int):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0.2 * SIZE, 0.8 * SIZE, (PEOPLE, 3, 2))
    crops = rng.uniform(0, 1, (PEOPLE, SIZE, SIZE, 3))
    keypoints = np.concatenate([keypoints, np.full((PEOPLE, 3, 1), 2)], axis=-1)
    return tf.constant(crops, tf.float32), tf.constant(keypoints, tf.float32)


def go(searcher, steps: int = 2, start: int = 0) -> list:
    return [searcher.search_step(people(2 * t), people(2 * t + 1), t) for t in range(start, start + steps)]


def policy_of(searcher) -> list[np.ndarray]:
    return [variable.numpy() for variable in searcher.policy.variables]


def assert_all_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def relative_error(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def first_policy_gradients(monkeypatch, **changes) -> list[np.ndarray]:
    """What the policy's optimizers get in the first step."""
    searcher = make(**changes)
    optimizers = [keras.optimizers.SGD(1.0) for _ in searcher.policy.variables]
    for optimizer, variable in zip(optimizers, searcher.policy.variables, strict=True):
        optimizer.build([variable])
    monkeypatch.setattr(searcher, "policy_optimizers", optimizers)
    before = policy_of(searcher)
    go(searcher, 1)
    return [old - new for old, new in zip(before, policy_of(searcher), strict=True)]


class TestExpectation:
    @pytest.fixture(scope="class")
    def run(self):
        """A searcher, its state after one step, two records, and the state after both."""
        searcher = make(seed=3, optimizer=lambda: keras.optimizers.Adam(1e-3))
        first = go(searcher, 1)
        middle = searcher.state()
        return searcher, middle, first + go(searcher, 1, start=1), searcher.state()

    def test_records(self, run):
        searcher, _, records, _ = run
        np.testing.assert_allclose(records[0].weights, np.full((2, 1, 3), 1 / 3), rtol=1e-6)
        np.testing.assert_allclose(records[0].probabilities, np.full((2, 1, 3), 0.5), rtol=1e-6)
        assert np.abs(records[1].weights - 1 / 3).max() > 0.01  # the tables are those before the step
        for record in records:
            assert record.noise > 0
            assert np.isfinite([record.inner_loss, record.outer_loss, record.noise]).all()

    def test_goes_on_from_a_state_bit_by_bit(self, run):
        searcher, middle, records, end = run
        searcher.restore(middle)
        again = go(searcher, 1, start=1)
        assert_all_equal(again[0], records[1])
        assert_all_equal(searcher.state(), end)

    def test_same_seed_same_steps(self, run):
        searcher = make(seed=3, optimizer=lambda: keras.optimizers.Adam(1e-3))
        go(searcher)
        assert_all_equal(searcher.state(), run[3])

    def test_another_seed_draws_otherwise(self, run):
        searcher = make(seed=4, optimizer=lambda: keras.optimizers.Adam(1e-3))
        go(searcher, 1)
        assert (policy_of(searcher)[0] != run[1][len(searcher.model.network.weights)]).any()


def test_moving_statistics_follow_the_trained_batch_alone():
    """Neither the look-ahead nor the scores touch them; the weights' batch does so once."""
    searcher, twin = make(), make()
    twin.model.network(people(0)[0], training=True)  # in the first step nobody is augmented
    before = [variable.numpy() for variable in make().model.network.non_trainable_variables]
    go(searcher, 1)
    statistics = zip(
        searcher.model.network.non_trainable_variables,
        twin.model.network.non_trainable_variables,
        before,
        strict=True,
    )
    for found, expected, old in statistics:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert np.abs(found.numpy() - old).max() > 1e-3


@pytest.mark.slow
class TestAugmentedShare:
    """At the first step nobody is augmented for the weights, at the last everybody."""

    @staticmethod
    def darkening():
        """Level 0 of Brightness, a factor of 0.1, for certain."""
        searcher = make(operations=["Brightness", "Identity"])
        searcher.policy.alpha.assign(np.broadcast_to([20.0, -20.0], (2, 1, 2)))
        searcher.policy.probability.assign(np.full((2, 1, 2), 30.0))
        searcher.policy.magnitude.assign(np.broadcast_to([-200.0, 0.0], (2, 1, 2, 2)))
        return searcher

    @pytest.mark.parametrize(
        ("share", "least", "most"), [(0.0, 0, 0), (0.5, 1, PEOPLE - 1), (1.0, PEOPLE, PEOPLE)]
    )
    def test_is_that_of_the_people_whose_crops_change(self, share, least, most):
        searcher = self.darkening()
        found, _ = searcher.sample_augmented(people(0), tf.constant(1, tf.int64), tf.constant(share))
        dark = np.abs(found - 0.1 * people(0)[0]).max(axis=(1, 2, 3)) < 1e-6
        plain = np.abs(found - people(0)[0]).max(axis=(1, 2, 3)) < 1e-6
        assert least <= dark.sum() <= most
        assert (dark ^ plain).all()

    @pytest.mark.parametrize(("number", "factor"), [(0, 1.0), (3, 0.1)])
    def test_grows_from_the_first_step_to_the_last(self, number, factor):
        record = self.darkening().search_step(people(0), people(1), number)
        crops, keypoints = people(0)
        twin = make()
        _, expected = twin.weight_gradients((factor * crops, keypoints))
        assert float(record.inner_loss) == pytest.approx(float(expected), rel=1e-5)


def test_zeta_turns_the_gradient_round(monkeypatch):
    """To first order: the look-ahead lies on the other side of the weights."""
    options = {"inner_step": "sgd", "operations": OPERATIONS}
    forward = first_policy_gradients(monkeypatch, zeta=1e-5, **options)
    backward = first_policy_gradients(monkeypatch, zeta=-1e-5, **options)
    for one, other in zip(forward, backward, strict=True):
        assert np.abs(one).max() > 0
        assert relative_error(-other, one) < 1e-3


class TestLookAhead:
    def gradients(self, searcher):
        return searcher.weight_gradients(people(0))[0]

    def test_plain_step(self):
        """v is the gradient of the outer loss in inference mode at w - zeta g."""
        searcher = make(inner_step="sgd", zeta=0.1)
        gradients = self.gradients(searcher)
        found, loss = searcher.lookahead_direction(gradients, people(1))
        network = searcher.model.network
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
            variable.assign(variable - 0.1 * gradient)
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(searcher.model.person_losses(people(1)[1], network(people(1)[0])))
        expected = tape.gradient(value, [variable.value for variable in network.trainable_variables])
        assert float(loss) == pytest.approx(float(value), rel=1e-5)
        assert float(searcher.outer_loss([people(1)])) == pytest.approx(float(value), rel=1e-5)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("steps", [0, 2])
    def test_adam_divides_as_the_optimizer_will(self, steps):
        searcher = make(optimizer=lambda: keras.optimizers.Adam(1e-3))
        for t in range(steps):
            searcher.train_plain(people(t))
        gradients = self.gradients(searcher)
        scales = searcher.preconditioner(gradients)
        searcher.update_weights(gradients)
        optimizer = searcher.model.optimizer
        for scale, gradient, velocity in zip(scales, gradients, adam_velocities(optimizer), strict=True):
            expected = 1 / (np.sqrt(velocity / (1 - 0.999 ** (steps + 1))) + 1e-5)
            np.testing.assert_allclose(scale, expected, rtol=1e-3)
            if not steps:
                large = np.abs(gradient) > 1e-3
                np.testing.assert_allclose((scale * gradient)[large], np.sign(gradient)[large], atol=0.02)

    @pytest.mark.parametrize(
        ("optimizer", "inner_step"),
        [(keras.optimizers.Adam, "sgd"), (keras.optimizers.RMSprop, "adam"), (keras.optimizers.SGD, "adam")],
    )
    def test_other_steps_are_not_scaled(self, optimizer, inner_step):
        searcher = make(optimizer=lambda: optimizer(1e-3), inner_step=inner_step)
        assert set(searcher.preconditioner(self.gradients(searcher))) == {1.0}


@pytest.mark.slow
class TestMixture:
    CHANGES = {"relaxation": "mixture", "sub_policies": 1}

    def test_policy_and_weights_move(self):
        searcher = make(**self.CHANGES)
        before, weights = policy_of(searcher), searcher.model.network.get_weights()
        state = searcher.state()
        records = go(searcher)
        for old, new in zip(before, policy_of(searcher), strict=True):
            assert np.abs(new - old).max() > 1e-3
        for old, new in zip(weights, searcher.model.network.get_weights(), strict=True):
            assert (old != new).any()
        for record in records:
            assert np.isfinite([record.inner_loss, record.outer_loss]).all()
        searcher.restore(state)
        loss = searcher.train_augmented(people(0), tf.constant(0, tf.int64))
        assert float(loss) == pytest.approx(float(records[0].inner_loss), rel=1e-5)

    @pytest.mark.slow
    def test_methods_agree(self, monkeypatch):
        methods = ("double_backprop", "unrolled")
        one, other = (
            first_policy_gradients(monkeypatch, hypergradient=method, **self.CHANGES) for method in methods
        )
        for first, second in zip(one, other, strict=True):
            assert np.abs(first).max() > 0
            assert relative_error(second, first) < 1e-3


class TestBadSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"operations": ["Identity", "Rotat"]}, "unknown 'Rotat'; did you mean 'Rotate'"),
            ({"operations": ["Rotate", "Rotate"]}, "at least two different operations"),
            ({"operations": ["Rotate"]}, "at least two different operations"),
            ({"relaxation": "mixture", "hypergradient": "scores"}, "belongs to search.relaxation=exp"),
            ({"hypergradient": "unrolled"}, "set search.relaxation=mixture"),
        ],
    )
    def test_search_error(self, changes, message):
        with pytest.raises(SearchError, match=message):
            make_search_policy(SearchConfig(**changes), 0)

    @pytest.mark.parametrize("changes", [{"zeta": 0}, {"zeta": float("nan")}, {"chains_per_person": 1}])
    def test_refused_by_the_schema(self, changes):
        with pytest.raises(ValidationError, match=next(iter(changes))):
            SearchConfig(**changes)


TWO_REPLICAS = """
    import json, sys
    import numpy as np
    from p2net_tf.training.strategy import make_strategy

    strategy = make_strategy(2)
    import test_step as t

    ends, relaxation = [], sys.argv[1]
    for devices in (None, strategy):
        searcher = t.make(strategy=devices, relaxation=relaxation, inner_step="sgd", zeta=1e-2)
        records = t.go(searcher)
        ends.append({
            "policy": t.policy_of(searcher),
            "weights": searcher.model.network.get_weights(),
            "losses": [np.array([record.inner_loss, record.outer_loss]) for record in records],
            "noise": [np.nan_to_num(record.noise) for record in records],
            "replicas": [searcher.replicas],
        })
    one, two = ends
    pairs = {name: zip(one[name], two[name]) for name in one}
    print(json.dumps({name: max(float(np.abs(a - b).max()) for a, b in pairs[name]) for name in pairs}))
"""


@pytest.mark.parametrize("relaxation", ["expectation", pytest.param("mixture", marks=pytest.mark.slow)])
def test_two_replicas_search_as_one(relaxation):
    """The same global batches, statistics synchronized: Adam moves the policy by 0.1 in each step.

    Logical devices are fixed when TensorFlow starts, so these two have a process of their own.
    """
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parents[1]}:{here.parent}:{here}"}
    command = [sys.executable, "-c", textwrap.dedent(TWO_REPLICAS), relaxation]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    difference = json.loads(run.stdout.splitlines()[-1])
    assert difference["replicas"] == 1
    assert difference["losses"] < 1e-5
    assert difference["weights"] < 1e-5
    # Without the statistics of the other replica in the scores: 0.37.
    assert difference["policy"] < 1e-4
    assert difference["noise"] < 1e-3
