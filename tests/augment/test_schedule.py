"""Schedules: what is drawn at which moment, that it is the same everywhere, their files, and wrong ones."""

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from crop_batches import SIZE, assert_same, batch

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.layer import PolicyAugmentation
from p2net_tf.augment.policies import Policy, Stage, random_policy
from p2net_tf.augment.policy_draws import chain_numbers, draw_chains
from p2net_tf.augment.policy_files import PolicyError
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share, load_policy
from p2net_tf.augment.scheduled_draws import draw_at, progress_of

NAMES = ops.OPERATION_NAMES

RISING = PolicySchedule(
    name="rising",
    draws=2,
    knots=[
        Knot(0.0, [Share("Rotate", 0.5, 2.0, 1.0)]),
        Knot(0.25, [Share("Brightness", 0.25, 4.0, 4.0), Share("Rotate", 0.25, 6.0, 3.0)]),
        Knot(0.75, [Share("Cutout", 1.0, 9.0)]),
    ],
)


def constant(*shares: Share, draws: int = 1) -> PolicySchedule:
    return PolicySchedule(draws=draws, knots=[Knot(0.0, shares)])


def seeds_of(count: int, seed: int = 0):
    return stateless_random.sample_seeds([seed, 0], count)


def drawn(schedule: PolicySchedule, seeds, progress) -> tuple[np.ndarray, np.ndarray]:
    return tuple(x.numpy() for x in draw_at(schedule.tensors(), schedule.draws, seeds, progress))


class TestInterpolation:
    """Of `RISING`, by hand: a quarter of the way from 0.25 to 0.75 is at 0.375."""

    @pytest.mark.parametrize(
        ("progress", "expected"),
        [
            (0.0, {"Rotate": (0.5, 2, 1), "Brightness": (0, 4, 4), "Cutout": (0, 9, 0)}),
            (0.125, {"Rotate": (0.375, 4, 2), "Brightness": (0.125, 4, 4), "Cutout": (0, 9, 0)}),
            (0.25, {"Rotate": (0.25, 6, 3), "Brightness": (0.25, 4, 4), "Cutout": (0, 9, 0)}),
            (0.375, {"Rotate": (0.1875, 6, 3), "Brightness": (0.1875, 4, 4), "Cutout": (0.25, 9, 0)}),
            (0.75, {"Rotate": (0, 6, 3), "Brightness": (0, 4, 4), "Cutout": (1, 9, 0)}),
            (1.0, {"Rotate": (0, 6, 3), "Brightness": (0, 4, 4), "Cutout": (1, 9, 0)}),
        ],
    )
    def test_at_and_between_the_knots(self, progress, expected):
        knot = RISING.at(progress)
        found = {x.operation: (x.share, x.magnitude, x.spread) for x in knot.shares}
        assert knot.progress == progress and found == expected
        strength = 2 * sum(share for share, _, _ in expected.values())
        assert RISING.strength(progress) == pytest.approx(strength)

    def test_nothing_is_no_operation(self):
        assert constant(Share("Identity", 0.5, 0), Share("Rotate", 0.25, 0), draws=3).strength(0.5) == 0.75

    def test_levels_go_from_one_knot_that_names_an_operation_to_the_next(self):
        """It has share 0 at the one between, but no level 0 there."""
        knots = [Knot(0, [Share("Scale", 1, 2, 1)]), Knot(0.5, []), Knot(1, [Share("Scale", 1, 8, 3)])]
        assert PolicySchedule(draws=1, knots=knots).at(0.75).shares == (Share("Scale", 0.5, 6.5, 2.5),)

    @pytest.mark.parametrize("magnitude", [0.0, 3.0, 5.0, 9.0, 10.0])
    @pytest.mark.parametrize("spread", [0.0, 0.5, 5.0, 10.0])
    def test_the_mean_level_is_that_of_clipped_draws(self, magnitude, spread):
        numbers = (np.arange(100_000) + 0.5) / 100_000
        levels = np.clip(magnitude + spread * (2 * numbers - 1), 0, 10)
        assert Share("Rotate", 1, magnitude, spread).mean_level == pytest.approx(levels.mean(), abs=1e-6)

    def test_a_share_in_words(self):
        assert str(Share("Rotate", 0.25, 9, 3)) == "Rotate 6..10, 25%"
        assert str(Share("Equalize", 1, 3)) == "Equalize, 100%"


class TestDraws:
    COUNT = 20_000

    def test_every_draw_is_the_one_that_numpy_makes_of_the_same_numbers(self):
        """At a moment of its own for every sample. Shares of binary fractions: no rounding decides."""
        seeds = seeds_of(self.COUNT)
        progress = np.random.default_rng(0).integers(0, 17, self.COUNT) / 16
        operations, levels = drawn(RISING, seeds, progress)
        numbers = [x.numpy().astype(float) for x in chain_numbers(seeds, 2)]
        for b in range(0, self.COUNT, 7):
            shares = {x.operation: x for x in RISING.at(progress[b]).shares}
            names = sorted(shares, key=NAMES.index)
            bounds = np.cumsum([shares[name].share for name in names])
            for n in range(2):
                place = np.searchsorted(bounds, numbers[1][b, n], side="right")
                if place == len(names):
                    assert (operations[b, n], levels[b, n]) == (0, 0)
                    continue
                share = shares[names[place]]
                assert NAMES[operations[b, n]] == share.operation
                level = np.clip(share.magnitude + share.spread * (2 * numbers[2][b, n] - 1), 0, 10)
                assert levels[b, n] == pytest.approx(level, abs=1e-5)

    @pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.6])
    def test_draws_follow_their_shares_independently(self, progress):
        """Chi-square of all pairs of a draw and the next; its 99.9 % quantile as by Wilson and Hilferty."""
        operations, _ = drawn(RISING, seeds_of(self.COUNT), progress)
        shares = np.zeros(len(NAMES))
        for share in RISING.at(progress).shares:
            shares[NAMES.index(share.operation)] += share.share
        shares[0] += 1 - shares.sum()
        expected = self.COUNT * np.outer(shares, shares)
        counts = np.zeros((len(NAMES), len(NAMES)))
        np.add.at(counts, tuple(operations.T), 1)
        possible = expected > 0
        assert counts[~possible].sum() == 0
        statistic = np.sum((counts[possible] - expected[possible]) ** 2 / expected[possible])
        freedom = possible.sum() - 1
        assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3

    def test_shares_of_exactly_one_leave_nothing(self):
        """Ten shares of a tenth, which add up to less: no number may fall behind the last."""
        assert sum([0.1] * 10) < 1
        even = constant(*(Share(name, 0.1, 5) for name in NAMES if name != "Identity"), draws=4)
        bounds = even.tensors().bounds.numpy()
        assert np.all(bounds[:, -1] == 1)
        operations, _ = drawn(even, seeds_of(self.COUNT), 0.3)
        assert np.all(operations != 0)
        shares = [np.mean(operations == NAMES.index(name)) for name in NAMES[1:]]
        np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / operations.size))

    def test_float32_of_a_softmax_may_sum_to_a_little_more_than_1(self):
        found = constant(Share("Rotate", 0.5, 5), Share("Scale", float(np.float32(0.50000006)), 5))
        assert found.tensors().bounds.numpy()[0, -1] == 1

    def test_nothing_at_all(self):
        empty = constant(draws=2)
        operations, levels = drawn(empty, seeds_of(5), 0.5)
        assert operations.tolist() == levels.tolist() == [[0, 0]] * 5
        assert empty.strength(0.5) == 0
        assert_same(empty(*batch(), (0, 0), 0.5), batch())

    def test_a_constant_column_stays_to_the_last_bit(self):
        """So what is certain stays certain, wherever between two knots."""
        knots = [Knot(p, [Share("Rotate", 1, 1 / 3, 0)]) for p in (0, 0.3, 0.9)]
        moments = np.linspace(0, 1, 1001)
        operations, levels = drawn(PolicySchedule(draws=1, knots=knots), seeds_of(1001), moments)
        assert np.all(operations == NAMES.index("Rotate")) and np.all(levels == np.float32(1 / 3))


class TestBesidePolicies:
    """Of one operation the schedule draws what the policy of that stage draws, bit for bit."""

    @pytest.mark.parametrize("draws", [1, 3])
    @pytest.mark.parametrize("stage", [Stage("Rotate", 1, 6, 3), Stage("Brightness", 0.3, 9, 4)])
    def test_one_operation_is_a_stage(self, stage, draws):
        schedule = constant(
            Share(stage.operation, stage.probability, stage.magnitude, stage.spread), draws=draws
        )
        policy, seeds = Policy([[stage] * draws]), seeds_of(2000)
        for progress in (0.0, 0.7, 1.0):
            assert_same(drawn(schedule, seeds, progress), draw_chains(policy.tensors(), seeds))
        assert_same(schedule(*batch(), (3, 4), 0.7), policy(*batch(), (3, 4)))

    def test_even_shares_are_the_random_policy(self):
        """In distribution: each of the pairs equally often, levels uniform."""
        names, count = ("Rotate", "Cutout", "Scale", "Solarize"), 16_000
        even = constant(*(Share(name, 0.25, 5, 5) for name in names), draws=2)
        policy = random_policy(stages=2, operations=names)
        for operations, levels in (
            drawn(even, seeds_of(count), 0.5),
            [x.numpy() for x in draw_chains(policy.tensors(), seeds_of(count))],
        ):
            pairs = np.unique(operations, axis=0, return_counts=True)[1]
            np.testing.assert_allclose(pairs, [1000] * 16, atol=4 * np.sqrt(1000 * 15 / 16))
            below = np.mean(levels < np.linspace(0, 10, 6)[:, None, None], axis=(1, 2))
            np.testing.assert_allclose(below, np.linspace(0, 1, 6), atol=0.015)


class TestEverywhereTheSame:
    def test_a_sample_is_its_own_whatever_the_batch(self):
        crops, keypoints = batch()
        seeds, progress = seeds_of(6, 3), np.linspace(0, 1, 6)
        whole = RISING(crops, keypoints, seeds, progress)
        ones = [
            RISING(crops[i : i + 1], keypoints[i : i + 1], seeds[i : i + 1], progress[i]) for i in range(6)
        ]
        for part in (0, 1):
            np.testing.assert_array_equal(whole[part], np.concatenate([one[part] for one in ones]))
        assert np.any(whole[0] != crops)

    def test_in_a_graph_and_out_of_it(self):
        crops, keypoints = batch()
        progress = np.linspace(0, 1, 6)
        traced = tf.function(lambda p: RISING(crops, keypoints, (3, 4), p))(tf.constant(progress))
        assert_same(traced, RISING(crops, keypoints, (3, 4), progress))

    def test_what_lies_beyond_is_the_end(self):
        end = RISING(*batch(), (1, 2), 1.0)
        assert_same(RISING(*batch(), (1, 2), 1.5), end)
        assert_same(RISING(*batch(), (1, 2), 0.75), end)

    def test_progress_counts_people_that_float32_cannot(self):
        length = 150_000 * 210
        numbers = np.array([0, 1, length // 2, length - 1, length, 2 * length])
        found = progress_of(tf.constant(numbers), length).numpy()
        np.testing.assert_array_equal(found, np.minimum(numbers / length, 1).astype(np.float32))

    def test_during_a_training_each_person_has_a_progress_of_its_own(self):
        crops, keypoints = batch()
        seeds, indices = seeds_of(6, 3), tf.constant([0, 3, 10, 15, 19, 30], tf.int64)
        found = RISING.during(20)(crops, keypoints, seeds, indices)
        assert_same(found, RISING(crops, keypoints, seeds, np.array([0, 0.15, 0.5, 0.75, 0.95, 1])))

    def batches(self) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(batch(20)).batch(5, drop_remainder=True)

    @pytest.mark.slow
    def test_function_data_set_and_layer(self):
        """Batch i of 5 is at i / 5, and a data set goes on where it stopped."""
        layer = PolicyAugmentation(RISING, seed=7, steps=5)
        by_layer = [layer(element, training=True) for element in self.batches()]
        by_function = [RISING(*element, (7, i), i / 5) for i, element in enumerate(self.batches())]
        by_data = list(RISING.over(self.batches(), steps=5, seed=7))
        assert len(by_data) == 4
        for results in zip(by_function, by_data, by_layer, strict=True):
            assert_same(*results)
        rest = list(RISING.over(self.batches().skip(2), steps=5, seed=7, start=2))
        for one, other in zip(by_data[2:], rest, strict=True):
            assert_same(one, other)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: RISING.during(0), "people=0: a schedule goes by the progress"),
            (lambda: RISING.over(None, steps=0), "steps=0: .* give the steps of all epochs"),
        ],
    )
    def test_a_training_of_nobody_is_refused(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestLayer:
    def test_a_saved_model_goes_on_where_it_stood(self, tmp_path):
        inputs = [keras.Input((*SIZE, 3)), keras.Input((5, 3))]
        layer = PolicyAugmentation(RISING, seed=2, steps=4)
        model = keras.Model(inputs, layer(inputs, training=True))
        for _ in range(3):
            model(batch())
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert (loaded.layers[-1].policy, loaded.layers[-1].steps) == (RISING, 4)
        assert_same(loaded(batch()), model(batch()), RISING(*batch(), (2, 3), 0.75))

    @pytest.mark.parametrize("steps", [None, 0, 2.5])
    def test_without_its_steps_a_schedule_is_refused(self, steps, tmp_path):
        RISING.save(tmp_path / "policy.yaml")
        message = rf"'rising' changes .* steps={steps} does not say .*steps=epochs \* steps_per_epoch"
        for source in (RISING, tmp_path, str(tmp_path / "policy.yaml")):
            with pytest.raises(ValueError, match=message):
                PolicyAugmentation(source, steps=steps)
        assert PolicyAugmentation(tmp_path, steps=3).policy == RISING

    @pytest.mark.slow
    def test_replicas_are_at_the_same_progress(self):
        """Of four steps the third: half way from plain to dark."""
        code = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from p2net_tf.augment.layer import PolicyAugmentation
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
knots = [Knot(0, [Share("Brightness", 1, 5)]), Knot(1, [Share("Brightness", 1, 0)])]
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = PolicyAugmentation(PolicySchedule(draws=1, knots=knots), steps=4)
people = tf.ones([1, 4, 4, 3]), tf.zeros([1, 1, 3])
step = tf.function(lambda: layer(people, training=True)[0][0, 0, 0, 0])
found = [strategy.experimental_local_results(strategy.run(step)) for _ in range(3)]
print(json.dumps([[float(part) for part in replicas] for replicas in found]))
"""
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        factors = json.loads(result.stdout.splitlines()[-1])
        np.testing.assert_allclose(factors, [[1, 1], [0.775, 0.775], [0.55, 0.55]], atol=1e-6)

    def test_a_policy_is_the_same_at_every_step(self):
        policy = Policy([[Stage("Rotate", 0.5, 5, 5)]])
        one, other = PolicyAugmentation(policy), PolicyAugmentation(policy, steps=1)
        for _ in range(2):
            assert_same(one(batch(), training=True), other(batch(), training=True))


class TestFile:
    TEXT = """\
schema_version: 1
name: found
draws: 2
provenance:
  seed: 3
  outer: [dark, turned]
knots:
  - progress: 0.0
    shares:
      - {operation: Rotate, share: 0.125, magnitude: 7.5, spread: 0.0}
      - {operation: Cutout, share: 1e-05, magnitude: 3.0, spread: 2.0}
  - progress: 0.3
    shares: []
  - progress: 1.0
    shares:
      - {operation: Scale, share: 1.0, magnitude: 4.0, spread: 4.0}
"""
    SCHEDULE = PolicySchedule(
        name="found",
        draws=2,
        knots=[
            Knot(0, [Share("Rotate", 0.125, 7.5), Share("Cutout", 1e-5, 3, 2)]),
            Knot(0.3, []),
            Knot(1, [Share("Scale", 1, 4, 4)]),
        ],
        provenance={"seed": 3, "outer": ("dark", "turned")},
    )

    def test_bytes_and_round_trip(self, tmp_path):
        self.SCHEDULE.save(tmp_path / "deep" / "policy.yaml")
        assert (tmp_path / "deep" / "policy.yaml").read_bytes() == self.TEXT.encode()
        for source in (tmp_path / "deep" / "policy.yaml", str(tmp_path / "deep")):
            assert PolicySchedule.load(source) == load_policy(source) == self.SCHEDULE

    def test_numbers_survive_to_the_last_bit(self, tmp_path):
        random = np.random.default_rng(0)
        knots = [
            Knot(p, [Share(name, *random.uniform(size=3) / 11) for name in NAMES])
            for p in (0.0, *np.sort(random.uniform(0.1, 1, 20)))
        ]
        schedule = PolicySchedule(
            name="off", draws=3, knots=knots, provenance={"cost": "${HOME}", "on": None}
        )
        schedule.save(tmp_path / "p.yaml")
        assert load_policy(tmp_path / "p.yaml") == schedule

    def test_by_hand_a_spread_a_name_and_a_history_may_be_missing(self, tmp_path):
        text = "schema_version: 1\ndraws: 1\nknots:\n- {progress: 0, shares: [%s]}\n"
        (tmp_path / "mine.yaml").write_text(text % "{operation: Rotate, share: 1, magnitude: 3}")
        share = Share("Rotate", 1, 3)
        assert load_policy(tmp_path / "mine.yaml") == PolicySchedule(
            name="mine", draws=1, knots=[Knot(0, [share])]
        )

    def test_each_form_is_opened_as_what_it_is(self, tmp_path):
        policy = Policy([[Stage("Rotate", 1, 3)]], "other")
        policy.save(tmp_path / "policy.yaml")
        self.SCHEDULE.save(tmp_path / "schedule.yaml")
        assert load_policy(tmp_path) == policy
        assert load_policy(tmp_path / "schedule.yaml") == self.SCHEDULE
        assert load_policy("paper") == Policy.load("paper") and load_policy("random") == random_policy()
        wrong = tmp_path / "policy.yaml", tmp_path / "schedule.yaml"
        with pytest.raises(PolicyError, match=rf"^{wrong[0]}: a policy of sub-policies.*load_policy$"):
            PolicySchedule.load(wrong[0])
        with pytest.raises(PolicyError, match=rf"^{wrong[1]}: a schedule, .*PolicySchedule.load, or"):
            Policy.load(wrong[1])

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("schema_version: 1", "schema_version: 2", ":1: schema_version: version 2 is not 1.*; update"),
            ("schema_version: 1\n", "", ":1: required key 'schema_version' is missing"),
            ("operation: Rotate", "operation: Rotat",
             r":10: knots\.0\.shares\.0\.operation: there is no operation 'Rotat'; did you mean 'Rotate'\?$"),
            ("share: 0.125", "share: 1.125", r":10: knots\.0\.shares\.0\.share: found the number 1.125, exp"),
            ("share: 1e-05", "share: 0.9", r":9: knots\.0\.shares: they sum to 1.025; .* at most 1 in all$"),
            ("operation: Cutout", "operation: Rotate", r":9: knots\.0\.shares: Rotate stands twice; give"),
            ("magnitude: 3.0", "magnitude: high", r":11: knots\.0\.shares\.1\.magnitude: found text 'high'"),
            ("spread: 2.0", "spred: 2.0", "unknown key 'knots.0.shares.1.spred'; did you mean 'spread'"),
            ("draws: 2", "draws: 0", ":3: draws: found the number 0, expected a whole number above 0"),
            ("draws: 2\n", "", ":1: required key 'draws' is missing"),
            ("progress: 0.3", "progress: 0.0",
             ":7: knots: progress must rise from knot to knot, and knot 1 is at 0 after 0$"),
            ("progress: 1.0", "progress: 0.2", ":7: knots: progress must .* knot 2 is at 0.2 after 0.3$"),
            ("progress: 0.0", "progress: 0.1", ":7: knots: the first knot is at progress 0.1; add one at 0"),
            ("progress: 1.0", "progress: 1.5", r":14: knots\.2\.progress: found the number 1.5, expected"),
            (TEXT[TEXT.index("\n  - progress"):], " []\n", ":7: knots: a schedule needs a knot at progress"),
            ("knots:", "knot:", ":1: neither a policy, which has 'sub_policies', nor a schedule.*keys.*knot"),
            ("knots:", "sub_policies: []\nknots:", r"sub_policies: the .*\n.*'draws'.*\n.*'knots'"),
        ],
    )  # fmt: skip
    def test_faults_are_named(self, tmp_path, old, new, message):
        path = tmp_path / "policy.yaml"
        assert self.TEXT.count(old) == 1
        path.write_text(self.TEXT.replace(old, new))
        with pytest.raises(PolicyError, match=message) as caught:
            load_policy(path)
        assert all(line.startswith(str(path)) for line in str(caught.value).split("\n"))

    def test_a_missing_file(self):
        with pytest.raises(PolicyError, match="policy 'papr': neither a .* did you mean 'paper'"):
            load_policy("papr")
        with pytest.raises(PolicyError, match="policy 'random': neither a file"):
            PolicySchedule.load("random")

    def test_made_in_python_the_same_rules_hold(self):
        with pytest.raises(ValueError, match=re.escape("there is no operation 'TranslatX'; did you mean")):
            Share("TranslatX", 1, 1)
        with pytest.raises(ValueError, match="they sum to 1.5"):
            Knot(0, [Share("Rotate", 0.75, 1), Share("Scale", 0.75, 1)])
        with pytest.raises(ValueError, match="the first knot is at progress 0.5"):
            PolicySchedule(draws=1, knots=[Knot(0.5, [])])
        with pytest.raises(ValueError, match="frozen"):
            RISING.name = "other"
