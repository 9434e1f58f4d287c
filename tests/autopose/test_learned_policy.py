"""The policy that is learned while the network trains: its draws, its steps, files and memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions

from p2net_tf.augment.operations import OPERATION_NAMES
from p2net_tf.autopose.hypergradient import stateless
from p2net_tf.autopose.learned_policy import LearnedPolicy, PolicyLearner
from p2net_tf.autopose.online import draw_chains
from p2net_tf.autopose.settings import OnlineConfig, SearchConfig, policy_steps
from p2net_tf.autopose.space import SearchError
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel

SIZE, PEOPLE = 32, 16


@pytest.fixture(scope="module")
def skeleton():
    return Skeleton.load("lsp14")


def settings(**online) -> SearchConfig:
    return SearchConfig(batch_size=8, chains_per_person=2, warmup_steps=0, online=OnlineConfig(**online))


def people(seed: int, count: int = PEOPLE):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0.2 * SIZE, 0.8 * SIZE, (count, 14, 2))
    keypoints = np.concatenate([keypoints, np.full((count, 14, 1), 2)], axis=-1)
    return rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8), keypoints.astype(np.float32)


def crops_of(table):
    return table[0].astype(np.float32) / 255, table[1]


def model_of(skeleton, augmentation=None, optimizer=None) -> PoseModel:
    keras.utils.set_random_seed(1)
    model = PoseModel(two_convolutions(14, (SIZE, SIZE)), skeleton, augmentation=augmentation)
    model.compile(optimizer or keras.optimizers.Adam(1e-3))
    return model


def lean(learned: LearnedPolicy, operation: str) -> LearnedPolicy:
    """Nothing but this operation, always applied, at level 10."""
    policy = learned.policy
    row = policy.space.operations.index(operation)
    policy.alpha.assign(np.where(np.arange(len(policy.space.operations)) == row, 0.0, -80.0)[None, None])
    policy.probability.assign(np.full(policy.space.shape, 40.0))
    policy.magnitude.assign(np.broadcast_to([200.0, 0.0], (*policy.space.shape, 2)))
    return learned


class TestDraws:
    def test_shares_are_those_of_one_draw(self):
        learned = LearnedPolicy(settings=settings(uniform=0.3, probability=0.7))
        # Eleven candidates of which ten act, with 0.7; the uniform part has the ten and "nothing".
        expected = [0.0, *[0.7 * 0.7 / 11 + 0.3 / 11] * 10]
        assert learned.policy.space.operations == OPERATION_NAMES
        np.testing.assert_allclose(learned.shares(), expected, rtol=1e-6)

    def test_a_draw_has_the_shares(self):
        learned = LearnedPolicy(settings=settings(uniform=0.2, draws=3))
        learned.policy.alpha.assign(np.random.default_rng(0).normal(0, 1, learned.policy.space.shape))
        operations, _ = draw_chains(
            learned.policy, learned.settings.online, 20_000, tf.constant([1, 2], tf.int64)
        )
        assert operations.shape == (20_000, 3)
        for draw in range(3):
            found = np.bincount(operations[:, draw], minlength=11) / 20_000
            # Stratified, so far nearer than independent draws would be.
            np.testing.assert_allclose(found[1:], learned.shares()[1:], atol=1e-3)
        first, second = (operations[:, i].numpy() for i in range(2))
        both = np.mean((first == 1) & (second == 1))
        assert both == pytest.approx(learned.shares()[1] ** 2, abs=3e-3)  # draws do not know of each other

    def test_a_certain_operation_is_applied_as_often_as_there_are_draws(self):
        crops, keypoints = crops_of(people(0))
        learned = lean(LearnedPolicy(settings=settings(uniform=0.0, draws=2)), "Brightness")
        dark = np.clip(crops * 1.9, 0, 1)
        found, moved = learned((crops, keypoints), training=True)
        np.testing.assert_allclose(found, np.clip(dark * 1.9, 0, 1), atol=1e-5)
        np.testing.assert_array_equal(moved, keypoints)

    def test_nothing_outside_training(self):
        crops, keypoints = crops_of(people(0))
        found, _ = LearnedPolicy()((crops, keypoints), training=False)
        np.testing.assert_array_equal(found, crops)

    def test_calls_draw_anew_and_seeds_repeat(self):
        crops, keypoints = crops_of(people(0))
        one, twin = (LearnedPolicy(seed=3) for _ in range(2))
        first, second = (one((crops, keypoints), training=True)[0].numpy() for _ in range(2))
        assert np.abs(first - second).max() > 0.1
        np.testing.assert_array_equal(twin((crops, keypoints), training=True)[0], first)


class TestSteps:
    def learner(self, skeleton, optimizer=None, **online) -> PolicyLearner:
        learned = LearnedPolicy(settings=settings(**{"every": 2, "join": 1.0, **online}))
        model = model_of(skeleton, learned, optimizer)
        learner = PolicyLearner(learned, model, people(1), people(2), steps=40, step=lambda: 0)
        learner.on_train_begin()
        return learner

    def test_the_look_ahead_starts_with_the_gradient_of_training(self, skeleton):
        """That of `weight_gradients`, which has tests of its own, and nothing moves."""
        searcher = self.learner(skeleton).searcher
        model = searcher.model
        model.weight_decay = 1e-2
        batch = tuple(tf.constant(values) for values in crops_of(people(5)))
        before = [weight.numpy() for weight in model.network.weights]
        gradients, loss = searcher.training_gradients(batch)
        for weight, old in zip(model.network.weights, before, strict=True):
            np.testing.assert_array_equal(weight, old)
        expected, expected_loss = searcher.weight_gradients(batch)
        assert float(loss) == pytest.approx(float(expected_loss), rel=1e-6)
        for found, gradient in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-8)

    def test_the_look_ahead_sees_what_training_sees(self, skeleton):
        learned = lean(LearnedPolicy(settings=settings(uniform=0.0, draws=2)), "Brightness")
        model = model_of(skeleton, learned)
        learner = PolicyLearner(learned, model, people(1), people(2), steps=40)
        crops, keypoints = crops_of(people(5))
        found, moved = learner.searcher.draw_trained((tf.constant(crops), tf.constant(keypoints)), 3)
        np.testing.assert_allclose(found, np.clip(np.clip(crops * 1.9, 0, 1) * 1.9, 0, 1), atol=1e-5)
        np.testing.assert_array_equal(moved, keypoints)

    def test_a_step_is_that_of_equation_8(self, skeleton):
        """Against its parts written out: w' by plain gradient descent, v there, by differences the derivative
        of every chain's loss along v, and what the policy's own gradient makes of those."""
        learner = self.learner(skeleton, keras.optimizers.SGD(1e-2), draws=1, uniform=0.0)
        searcher, model = learner.searcher, learner._model
        trained, scored, outer = (
            tuple(tf.constant(values) for values in crops_of(people(seed, 8))) for seed in (5, 6, 7)
        )
        zeta = searcher.settings.zeta
        start = [tf.constant(weight.numpy()) for weight in model.trainable_variables]
        gradients, _ = searcher.training_gradients(searcher.draw_trained(trained, tf.constant(0, tf.int64)))

        def losses_at(values, people, training):
            outputs = stateless(model.network, training)
            return model.person_losses(people[1], outputs(values, people[0]))

        ahead = [value - zeta * gradient for value, gradient in zip(start, gradients, strict=True)]
        with tf.GradientTape() as tape:
            tape.watch(ahead)
            outer_loss = tf.reduce_mean(losses_at(ahead, outer, False))
        direction = tape.gradient(outer_loss, ahead)
        # Exploration starts at 1: chains are drawn uniformly.
        people_, chains, importance = searcher.sample_scored(scored, tf.constant(0, tf.int64), 1.0)
        length = float(tf.linalg.global_norm(direction))
        radius = 1e-3 / length
        high, low = (
            losses_at([w + sign * radius * d for w, d in zip(start, direction, strict=True)], people_, True)
            for sign in (1, -1)
        )
        scores = (high - low) / (2 * radius)
        expected, _ = searcher.policy_gradients(chains, importance, scores)

        given = []
        searcher.update_policy = given.extend
        record = searcher.policy_step(trained, scored, outer, 0)
        assert float(record.outer_loss) == pytest.approx(float(outer_loss), rel=1e-5)
        for found, gradient in zip(given, expected, strict=True):
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(found, gradient, atol=0.02 * scale)

    def test_the_weights_stay_as_they_are(self, skeleton):
        learner = self.learner(skeleton)
        before = [w.numpy() for w in learner._model.network.weights]
        tables = [v.numpy() for v in learner.learned.policy.variables]
        learner.update(0)  # before the first step of all, too, where Adam knows no scale yet
        for weight, old in zip(learner._model.network.weights, before, strict=True):
            np.testing.assert_array_equal(weight, old)
        assert np.abs(learner.learned.policy.alpha.numpy() - tables[0]).max() > 1e-3

    @pytest.mark.slow
    def test_goes_on_bit_by_bit(self, skeleton):
        straight = self.learner(skeleton)
        for number in range(4):
            straight.update(number)
        stopped = self.learner(skeleton)
        for number in range(2):
            stopped.update(number)
        resumed = self.learner(skeleton)
        resumed.restore(stopped.state())
        for number in range(2, 4):
            resumed.update(number)
        for name, value in straight.state().items():
            np.testing.assert_array_equal(resumed.state()[name], value, err_msg=name)


class TestSchedule:
    def test_says_what_was_drawn(self, skeleton):
        learned = LearnedPolicy(people(2), settings=settings(every=2, join=0.8, draws=3, uniform=0.3))
        model = model_of(skeleton, learned)
        learner = learned.learner(model, crops_of(people(1)))
        model.augmentation = learned
        keras.Model.fit(
            model, *crops_of(people(1)), batch_size=4, epochs=5, verbose=0, callbacks=[learner]
        )  # 20 steps, of which the policy moves before 1, 3, .., 15
        schedule = learned.schedule()
        assert schedule == learner.schedule()
        assert schedule.draws == 3
        moments = [knot.progress for knot in schedule.knots]
        np.testing.assert_allclose(moments, np.array([0, 1, 3, 5, 7, 9, 11, 13, 15, 16]) / 20)
        start = {share.operation: share.share for share in schedule.knots[0].shares}
        assert start == dict.fromkeys(OPERATION_NAMES[1:], round(0.7 * 0.7 / 11 + 0.3 / 11, 3))
        end = {share.operation: share for share in schedule.knots[-1].shares}
        for name, share in zip(OPERATION_NAMES[1:], learned.shares()[1:], strict=True):
            assert end[name].share == pytest.approx(share, abs=6e-4)
        means, deviations = (values.numpy()[0, 0] for values in learned.policy.magnitudes())
        row = OPERATION_NAMES.index("Rotate")
        assert end["Rotate"].magnitude == pytest.approx(means[row], abs=6e-4)
        assert end["Rotate"].spread == pytest.approx(min(5, 3**0.5 * deviations[row]), abs=6e-4)

    def test_without_a_training_it_is_what_would_be_drawn(self):
        learned = lean(LearnedPolicy(settings=settings(uniform=0.0, draws=3)), "Rotate")
        schedule = learned.schedule("mine", {"by": "hand"})
        assert (schedule.name, schedule.draws, schedule.provenance) == ("mine", 3, {"by": "hand"})
        (knot,) = schedule.knots
        ((share,),) = (knot.shares,)
        assert (share.operation, share.share, share.magnitude) == ("Rotate", 1.0, 10.0)


class TestWhen:
    @pytest.mark.parametrize(
        ("steps", "warm_up", "every", "join", "expected"),
        [(1200, 100, 8, 0.7, 95), (100, 50, 4, 1.0, 23), (10, 0, 3, 0.5, 2)],
    )
    def test_steps_of_the_policy(self, steps, warm_up, every, join, expected):
        # 1200: the policy moves before the steps 84, 92, .., 836; 100: 10, 14, .., 98; 10: 1, 4.
        search = SearchConfig(warmup_steps=warm_up, online=OnlineConfig(every=every, join=join))
        assert policy_steps(search, steps) == expected

    def test_fit_moves_it(self, skeleton, monkeypatch):
        numbers = []
        monkeypatch.setattr(PolicyLearner, "update", lambda self, number: numbers.append(number))
        learned = LearnedPolicy(people(2), settings=settings(every=3, join=0.8))
        model = model_of(skeleton, learned)
        model.fit(*crops_of(people(1)), batch_size=4, epochs=3, verbose=0)  # 12 steps
        assert numbers == [0, 1, 2]  # before the steps 1, 4, 7 of the first 10


class TestFit:
    def test_learns_from_what_fit_gets(self, skeleton):
        learned = LearnedPolicy(people(2), settings=settings(every=2))
        model = model_of(skeleton, learned)
        data = tf.data.Dataset.from_tensor_slices(crops_of(people(1))).batch(4)
        seen = []
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
        model.fit(data, epochs=2, verbose=0, callbacks=[callback])
        assert seen == [0, 1]
        assert np.ptp(learned.policy.weights().numpy()) > 1e-3
        assert learned.discretize().stages == 1

    def test_without_people_to_judge_by_it_stays(self, skeleton):
        learned = LearnedPolicy()
        model = model_of(skeleton, learned)
        model.fit(*crops_of(people(1)), batch_size=8, verbose=0)
        assert np.ptp(learned.policy.weights().numpy()) == 0
        crops, keypoints = crops_of(people(1, 5))  # of another length than the batches so far
        assert learned((crops, keypoints), training=True)[0].shape == crops.shape

    def test_data_that_cannot_be_kept_are_refused(self, skeleton):
        model = model_of(skeleton, LearnedPolicy(people(2)))
        data = tf.data.Dataset.from_tensor_slices(crops_of(people(1))).batch(4).repeat()
        with pytest.raises(SearchError, match="LearnedPolicy\\(inner="):
            model.fit(data, steps_per_epoch=2, verbose=0)

    def test_a_model_without_skeleton_is_refused(self):
        keras.utils.set_random_seed(1)
        model = PoseModel(two_convolutions(14, (SIZE, SIZE)), augmentation=LearnedPolicy(people(2)))
        model.compile()
        with pytest.raises(SearchError, match="skeleton"):
            model.fit(*crops_of(people(1)), verbose=0)


def test_survives_save_and_load(skeleton, tmp_path):
    learned = LearnedPolicy(people(2), settings=settings(every=2), seed=5)
    model = model_of(skeleton, learned)
    model.fit(*crops_of(people(1)), batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.augmentation.shares(), learned.shares())
    given = crops_of(people(7))
    expected = learned(given, training=True)
    for found, value in zip(loaded.augmentation(given, training=True), expected, strict=True):
        np.testing.assert_array_equal(found, value)
