"""Learning-rate schedules against their closed forms."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, ExponentialDecay

from p2net_tf.training.optimizers import SGD, Adam, AdamW, LossScaleOptimizer, RMSprop
from p2net_tf.training.schedules import (
    WarmUp,
    describe_learning_rate,
    effective_learning_rate,
    make_optimizer,
    make_schedule,
)
from p2net_tf.training.settings import TrainingConfig
from p2net_tf.utils.compat import learning_rate_of


def rate(schedule, step) -> float:
    return float(keras.ops.convert_to_numpy(schedule(step)))


class TestHalving:
    def test_the_paper_halves_every_112500_steps_of_32(self):
        schedule = make_schedule(TrainingConfig(), steps_per_epoch=4_000)
        assert schedule.decay_steps == 3_600_000 // 32 == 112_500
        rates = {0: 5e-4, 112_499: 5e-4, 112_500: 2.5e-4, 225_000: 1.25e-4, 560_000: 5e-4 / 2**4}
        for step, expected in rates.items():
            assert rate(schedule, step) == pytest.approx(expected, rel=1e-6), step

    def test_samples_are_counted_not_steps(self):
        schedule = make_schedule(TrainingConfig(batch_size=8, halving_samples=80), 5)
        assert [rate(schedule, step) for step in (9, 10, 20)] == pytest.approx([5e-4, 2.5e-4, 1.25e-4])

    def test_accumulated_batches_count_as_one_update(self):
        """80 samples are two updates of 5 batches of 8."""
        schedule = make_schedule(TrainingConfig(batch_size=8, accumulate=5, halving_samples=80), 5)
        assert [rate(schedule, step) for step in (1, 2, 4)] == pytest.approx([5e-4, 2.5e-4, 1.25e-4])

    def test_constant_stays(self):
        schedule = make_schedule(TrainingConfig(schedule="constant", learning_rate=0.01), 10)
        assert [rate(schedule, step) for step in (0, 10**7)] == pytest.approx([0.01, 0.01])


class TestSteps:
    def test_hrnet_falls_to_a_tenth_after_epochs_170_and_200(self):
        schedule = make_schedule(TrainingConfig(schedule="steps", learning_rate=1e-3, epochs=210), 1170)
        rates = {0: 1e-3, 170 * 1170 - 1: 1e-3, 170 * 1170: 1e-4, 200 * 1170 - 1: 1e-4, 200 * 1170: 1e-5}
        for step, expected in rates.items():
            assert rate(schedule, step) == pytest.approx(expected, rel=1e-5), step

    def test_epochs_and_factor_are_those_of_the_configuration(self):
        changes = {"schedule": "steps", "learning_rate": 0.5, "decay_epochs": (2, 3), "decay_factor": 0.2}
        schedule = make_schedule(TrainingConfig(**changes), 4)
        assert [rate(schedule, step) for step in (7, 8, 11, 12)] == pytest.approx([0.5, 0.1, 0.1, 0.02])

    def test_accumulated_batches_count_as_one_update(self):
        changes = {"schedule": "steps", "learning_rate": 0.5, "decay_epochs": (2,), "accumulate": 4}
        schedule = make_schedule(TrainingConfig(**changes), 8)
        assert [rate(schedule, step) for step in (3, 4)] == pytest.approx([0.5, 0.05])

    @pytest.mark.parametrize("epochs", [(200, 170), (170, 170)])
    def test_epochs_must_rise(self, epochs):
        with pytest.raises(ValueError, match="must rise"):
            TrainingConfig(decay_epochs=epochs)


class TestCosine:
    def test_half_a_cosine_over_all_epochs(self):
        schedule = make_schedule(TrainingConfig(schedule="cosine", learning_rate=0.2, epochs=4), 25)
        for step in range(0, 101, 5):
            expected = 0.1 * (1 + math.cos(math.pi * step / 100))
            assert rate(schedule, step) == pytest.approx(expected, abs=1e-7), step

    def test_ends_with_the_last_update_of_accumulated_batches(self):
        config = TrainingConfig(schedule="cosine", learning_rate=0.2, epochs=4, accumulate=5)
        assert make_schedule(config, 25).decay_steps == 4 * 25 // 5

    def test_zero_behind_the_end(self):
        schedule = make_schedule(TrainingConfig(schedule="cosine", learning_rate=0.2, epochs=4), 25)
        assert [rate(schedule, step) for step in (100, 170)] == pytest.approx([0, 0], abs=1e-8)


class TestFormulas:
    """In float32, operation by operation, and equal to the last bit."""

    STEPS = np.unique(
        np.concatenate(
            [np.arange(600), 112_500 * np.arange(40), 112_500 * np.arange(1, 40) - 1, 2 ** np.arange(12, 30)]
        )
    )

    @pytest.mark.parametrize("rate", [5e-4, 1e-3, 0.3, 0.0123])
    @pytest.mark.parametrize("steps", [7, 50, 112_500])
    def test_halving(self, rate, steps):
        """`rate / 2 ** floor(step / steps)`."""
        config = TrainingConfig(learning_rate=rate, batch_size=2, halving_samples=2 * steps)
        expected = np.float32(rate) * np.float32(0.5) ** np.floor(np.float32(self.STEPS) / np.float32(steps))
        self.assert_equal(make_schedule(config, 10), expected)

    @pytest.mark.parametrize("rate", [5e-4, 1e-3, 0.3, 0.0123])
    @pytest.mark.parametrize("steps", [1, 7, 50, 112_500])
    def test_cosine(self, rate, steps):
        """`rate / 2 * (1 + cos(pi * min(step / steps, 1)))`, with TensorFlow's cosine."""
        config = TrainingConfig(learning_rate=rate, schedule="cosine", epochs=steps)
        progress = np.minimum(np.float32(self.STEPS) / np.float32(steps), np.float32(1))
        cosine = tf.cos(np.float32(math.pi) * progress).numpy()
        self.assert_equal(make_schedule(config, 1), np.float32(rate / 2) * (np.float32(1) + cosine))

    @pytest.mark.parametrize("rate", [5e-4, 0.3])
    def test_constant(self, rate):
        config = TrainingConfig(learning_rate=rate, schedule="constant")
        self.assert_equal(make_schedule(config, 10), np.full(len(self.STEPS), rate, np.float32))

    def assert_equal(self, schedule, expected):
        found = keras.ops.convert_to_numpy(schedule(tf.constant(self.STEPS)))
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


class TestWarmUp:
    def test_rises_in_equal_steps_and_then_leaves_the_rate_alone(self):
        config = TrainingConfig(schedule="constant", learning_rate=0.8, warmup_steps=4)
        rates = [rate(make_schedule(config, 10), step) for step in range(6)]
        assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])

    def test_multiplies_what_lies_below(self):
        config = TrainingConfig(schedule="cosine", learning_rate=1.0, epochs=1, warmup_steps=10)
        schedule = make_schedule(config, 20)
        assert rate(schedule, 4) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi * 4 / 20)))
        assert rate(schedule, 10) == pytest.approx(0.5)


class TestScaledRate:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"batch_size": 64}, 0.001),
            ({"batch_size": 64, "learning_rate_batch": 32}, 0.002),
            ({"batch_size": 8, "learning_rate_batch": 32}, 0.00025),
            ({"batch_size": 8, "accumulate": 12, "learning_rate_batch": 32}, 0.003),
        ],
    )
    def test_is_proportional_to_the_people_per_update(self, changes, expected):
        config = TrainingConfig(learning_rate=0.001, schedule="constant", **changes)
        assert effective_learning_rate(config) == pytest.approx(expected)
        assert rate(make_schedule(config, 10), 3) == pytest.approx(expected)

    def test_in_words(self):
        config = TrainingConfig(learning_rate=0.001, batch_size=16, halving_samples=960)
        assert describe_learning_rate(config) == (
            "learning rate 0.001, 16 people per update; halved every 960 people"
        )
        steps = config.model_copy(update={"schedule": "steps"})
        assert describe_learning_rate(steps).endswith("; times 0.1 after epochs 170, 200")
        changes = {"accumulate": 4, "learning_rate_batch": 32, "warmup_steps": 500, "schedule": "cosine"}
        assert describe_learning_rate(config.model_copy(update=changes)) == (
            "learning rate 0.002, 64 people per update (4 batches of 16), stated as 0.001 for 32; "
            "rises over the first 500 updates; falls along a cosine to 0"
        )


HALVING, COSINE = ExponentialDecay(0.3, 7, 0.5, staircase=True), CosineDecay(0.3, 50)
SCHEDULES = [HALVING, COSINE, WarmUp(HALVING, 5), WarmUp(COSINE, 5)]


class TestSerialisation:
    @pytest.mark.parametrize("schedule", SCHEDULES, ids=["halving", "cosine", "warm halving", "warm cosine"])
    def test_a_round_trip_through_json_keeps_every_rate(self, schedule):
        config = keras.optimizers.schedules.serialize(schedule)
        again = keras.optimizers.schedules.deserialize(config)
        assert type(again) is type(schedule)
        steps = range(0, 60, 3)
        assert [rate(again, step) for step in steps] == [rate(schedule, step) for step in steps]

    def test_inside_an_optimizer(self):
        config = TrainingConfig(schedule="cosine", warmup_steps=3, epochs=2, ema_momentum=0.9)
        optimizer = make_optimizer(config, 10)
        again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        schedules = [learning_rate_of(o) for o in (optimizer, again)]
        assert rate(schedules[1], 7) == rate(schedules[0], 7)
        assert (again.use_ema, again.ema_momentum) == (True, 0.9)


class TestOptimizers:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [("adam", Adam), ("adamw", AdamW), ("sgd", SGD), ("rmsprop", RMSprop)],
    )
    def test_kind_and_average(self, name, kind):
        optimizer = make_optimizer(TrainingConfig(optimizer=name), 10)
        assert type(optimizer) is kind
        assert optimizer.use_ema is False

    def test_only_adamw_decays_weights_itself(self):
        """The others leave it to the penalty in `PoseModel`'s loss; both at once would count it twice."""
        decays = {
            name: make_optimizer(TrainingConfig(optimizer=name, weight_decay=0.02), 10).weight_decay
            for name in ("adam", "adamw", "sgd", "rmsprop")
        }
        assert decays == {"adam": None, "adamw": 0.02, "sgd": None, "rmsprop": None}

    @pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
    def test_clipping_and_accumulation(self, name):
        plain, careful = (
            make_optimizer(TrainingConfig(optimizer=name, **changes), 10)
            for changes in ({}, {"clip_norm": 2.5, "accumulate": 4})
        )
        assert (plain.global_clipnorm, plain.gradient_accumulation_steps) == (None, None)
        assert (careful.global_clipnorm, careful.gradient_accumulation_steps) == (2.5, 4)

    def test_rmsprop_moves_as_torchs(self):
        """rate * g / (sqrt(0.01 g ** 2) + 1e-8) in its first step."""
        config = TrainingConfig(optimizer="rmsprop", schedule="constant", learning_rate=0.3)
        optimizer, weight = make_optimizer(config, 10), keras.Variable(np.float32(5))
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(1e-4))], [weight])
        expected = 5 - 0.3 * 1e-4 / (0.1 * 1e-4 + 1e-8)
        assert float(weight.numpy()) == pytest.approx(expected, rel=3e-3)

    def test_half_precision_scales_the_loss(self):
        """Rate, steps and average are reached through the scale."""
        config = TrainingConfig(precision="mixed_float16", learning_rate=0.25, ema_momentum=0.9)
        optimizer = make_optimizer(config, 10)
        assert type(optimizer) is LossScaleOptimizer
        assert float(optimizer.learning_rate) == 0.25
        assert optimizer.iterations is optimizer.inner_optimizer.iterations
        assert optimizer.inner_optimizer.use_ema
        again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert type(again) is LossScaleOptimizer
        assert type(again.inner_optimizer) is Adam

    def test_the_rate_of_a_step_is_the_schedules(self):
        """SGD with momentum moves a weight by rate x gradient in its first step."""
        config = TrainingConfig(optimizer="sgd", schedule="constant", learning_rate=0.8, warmup_steps=4)
        optimizer, weight = make_optimizer(config, 10), keras.Variable(np.float32(1))
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(1))], [weight])
        assert float(weight.numpy()) == pytest.approx(1 - 0.2)
