"""Policies: what they draw, that it is the same everywhere, their files, and what a wrong file is told."""

import json
import subprocess
import sys
from collections import defaultdict

import keras
import numpy as np
import pytest
import tensorflow as tf
from crop_batches import SIZE, assert_same, batch

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.layer import PolicyAugmentation
from p2net_tf.augment.policies import Policy, Stage, random_policy
from p2net_tf.augment.policy_draws import PolicyTensors, augment, draw_chains
from p2net_tf.augment.policy_files import BUILTIN_POLICIES, PolicyError

NAMES = ops.OPERATION_NAMES

MIXED = Policy(
    [
        [Stage("Rotate", 0.8, 6.0, 3.0), Stage("Brightness", 0.5, 2.0)],
        [Stage("TranslateX", 0.3, 4.0), Stage("Cutout", 1.0, 9.0, 2.0)],
        [Stage("Equalize", 0.6, 0.0), Stage("Scale", 0.9, 5.0, 5.0)],
    ],
    "mixed",
)


class TestDraws:
    COUNT = 20_000

    def chains(self, policy: Policy, seed=0) -> tuple[np.ndarray, np.ndarray]:
        seeds = stateless_random.sample_seeds([seed, 0], self.COUNT)
        return tuple(column.numpy() for column in draw_chains(policy.tensors(), seeds))

    def assert_share(self, mask, expected: float):
        """Within three standard deviations of the binomial distribution."""
        assert abs(mask.mean() - expected) <= 3 * np.sqrt(expected * (1 - expected) / mask.size)

    def test_sub_policies_are_equally_likely_and_stages_keep_their_probabilities(self):
        operations, _ = self.chains(
            Policy(
                [
                    [Stage("Rotate", 0.7, 5), Stage("Cutout", 0.2, 5)],
                    [Stage("Scale", 0.4, 5), Stage("Solarize", 1.0, 5)],
                    [Stage("Equalize", 0.0, 5), Stage("Sharpness", 0.9, 5)],
                ]
            )
        )
        first, second = operations.T
        for column, shares in (
            (first, {"Rotate": 0.7, "Scale": 0.4, "Equalize": 0.0, "Identity": 1.9}),
            (second, {"Cutout": 0.2, "Solarize": 1.0, "Sharpness": 0.9, "Identity": 0.9}),
        ):
            for name, share in shares.items():
                self.assert_share(column == NAMES.index(name), share / 3)
        # Stages come from one sub-policy, and are applied independently of each other.
        rotated, scaled = first == NAMES.index("Rotate"), first == NAMES.index("Scale")
        self.assert_share(second[rotated] == NAMES.index("Cutout"), 0.2)
        assert np.all(second[scaled] == NAMES.index("Solarize"))

    def test_levels_are_uniform_around_the_magnitude_and_clipped(self):
        _, levels = self.chains(Policy([[Stage("Rotate", 1, 4, 1.5), Stage("Scale", 1, 9, 3)]]))
        narrow, clipped = levels.T
        assert narrow.min() == pytest.approx(2.5, abs=0.01) and narrow.max() == pytest.approx(5.5, abs=0.01)
        assert narrow.min() >= 2.5 and narrow.max() <= 5.5
        for edge in (3.0, 4.0, 5.0):
            self.assert_share(narrow < edge, (edge - 2.5) / 3)
        # A third of 6..12 lies above 10.
        assert clipped.max() == 10
        self.assert_share(clipped == 10, 1 / 3)
        self.assert_share(clipped < 8, 1 / 3)
        assert abs(np.corrcoef(narrow, clipped)[0, 1]) < 3 / np.sqrt(self.COUNT)

    def test_a_stage_that_does_not_apply_is_identity_at_level_0(self):
        operations, levels = self.chains(Policy([[Stage("Rotate", 0.5, 7)]]))
        assert NAMES[0] == "Identity"
        np.testing.assert_array_equal(levels, np.where(operations == NAMES.index("Rotate"), 7.0, 0.0))
        assert set(np.unique(operations)) == {0, NAMES.index("Rotate")}

    def test_the_draws_of_a_sample_are_its_own_whatever_the_batch(self):
        seeds = stateless_random.sample_seeds([3, 4], 6)
        whole = augment(MIXED.tensors(), *batch(), seeds)
        crops, keypoints = batch()
        ones = [augment(MIXED.tensors(), crops[i : i + 1], keypoints[i : i + 1], seeds[i : i + 1])
                for i in range(6)]  # fmt: skip
        for part in (0, 1):
            np.testing.assert_allclose(whole[part], np.concatenate([one[part] for one in ones]), atol=1e-6)

    def test_the_choice_says_nothing_about_the_draws_of_the_operation(self):
        """Both sub-policies shift to either side equally often."""
        count = 2000
        crops, keypoints = np.zeros((count, 8, 8, 3), np.float32), np.full((count, 1, 3), 4, np.float32)
        policy = Policy([[Stage("TranslateX", 1, 5)], [Stage("TranslateX", 1, 10)]])
        shifts = policy(crops, keypoints, (0, 0))[1].numpy()[:, 0, 0] - 4
        for shift in (1, 2):
            self.assert_share(np.abs(shifts) == shift, 0.5)
            self.assert_share(shifts[np.abs(shifts) == shift] > 0, 0.5)

    def test_another_seed_draws_otherwise(self):
        first, other = (self.chains(MIXED, seed)[0] for seed in (0, 1))
        assert 0.3 < np.mean(first != other) < 0.95


class TestAugment:
    def test_a_certain_stage_is_its_operation(self):
        """Brightness at level 7 multiplies by 0.1 + 0.18 * 7 (Table 1), whatever the seed."""
        crops, keypoints = batch()
        found, points = Policy([[Stage("Brightness", 1, 7)]])(crops, keypoints, (1, 2))
        np.testing.assert_allclose(found, np.minimum(crops * 1.36, 1), atol=1e-6)
        np.testing.assert_array_equal(points, keypoints)

    def test_certain_stages_are_the_operations_in_their_order(self):
        crops, keypoints = batch()
        policy = Policy([[Stage("Solarize", 1, 5), Stage("Rotate", 1, 8), Stage("Cutout", 1, 6)]])
        operations = tf.constant([[NAMES.index(name) for name in ("Solarize", "Rotate", "Cutout")]] * 6)
        direct = ops.apply_chain(crops, keypoints, operations, tf.constant([[5.0, 8.0, 6.0]] * 6), (1, 2))
        assert_same(policy(crops, keypoints, (1, 2)), direct)

    def test_impossible_stages_change_nothing(self):
        crops, keypoints = batch()
        policy = Policy([[Stage(name, 0, 10) for name in NAMES]])
        assert_same(policy(crops, keypoints, (0, 0)), (crops, keypoints))

    def test_shorter_sub_policies_end_in_identity(self):
        policy = Policy([[Stage("Brightness", 1, 0)], [Stage("Rotate", 1, 3), Stage("Scale", 0.5, 2, 1)]])
        tensors = policy.tensors()
        assert policy.stages == 2
        rows = [[NAMES.index("Brightness"), 0], [NAMES.index("Rotate"), NAMES.index("Scale")]]
        assert tensors.operations.numpy().tolist() == rows
        assert tensors.probabilities.numpy().tolist() == [[1, 0], [1, 0.5]]
        assert tensors.magnitudes.numpy().tolist() == [[0, 0], [3, 2]]
        assert tensors.spreads.numpy().tolist() == [[0, 0], [0, 1]]

    @pytest.mark.slow
    def test_variables_change_the_policy_without_a_new_trace(self):
        crops, keypoints = batch()
        variables = PolicyTensors(*map(tf.Variable, Policy([[Stage("Identity", 1, 0)]]).tensors()))
        traces = []

        @tf.function
        def step():
            traces.append(1)
            return augment(variables, crops, keypoints, (0, 0))

        assert_same(step(), (crops, keypoints))
        for variable, value in zip(variables, Policy([[Stage("Brightness", 1, 0)]]).tensors(), strict=True):
            variable.assign(value)
        np.testing.assert_allclose(step()[0], crops * 0.1, atol=1e-6)
        assert len(traces) == 1

    @pytest.mark.parametrize("crops", [np.zeros((2, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32)])
    def test_bytes_and_single_crops_are_refused(self, crops):
        with pytest.raises(ValueError, match=r"crops are \[B, H, W, 3\] floats in 0..1"):
            Policy.load("none")(crops, np.zeros((2, 5, 3), np.float32), (0, 0))


class TestKeypointsFollowPixels:
    SIZE, SIGMA, REACH, BACKGROUND = (96, 72), 2.5, 12, 0.2
    BINARY = {"Equalize", "Solarize", "SolarizeAdd"}
    """Steps in brightness, which can turn a dot into a disc of whole pixels: it tells its place less well."""

    def dots(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Five Gaussian dots each, in three channels."""
        random = np.random.default_rng(0)
        places = np.array([[20, 24], [52, 26], [36, 48], [20, 72], [52, 70]], float)
        places = places + random.uniform(-3, 3, (count, 5, 2))
        y, x = np.mgrid[: self.SIZE[0], : self.SIZE[1]] + 0.5
        crops = np.full((count, *self.SIZE, 3), self.BACKGROUND)
        for k in range(5):
            u, v = places[:, k, 0, None, None], places[:, k, 1, None, None]
            crops[..., k % 3] += 0.25 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * self.SIGMA**2))
        return crops, np.concatenate([places, np.full((count, 5, 1), 2)], axis=-1)

    def error(self, channel, keypoint) -> float | None:
        """Pixels between a keypoint and the centroid of its dot; None where that is not wholly seen."""
        x, y, visibility = keypoint
        left, top = int(np.floor(x - self.REACH)), int(np.floor(y - self.REACH))
        right, bottom = int(np.ceil(x + self.REACH)), int(np.ceil(y + self.REACH))
        if visibility == 0 or min(left, top) < 0 or right > self.SIZE[1] or bottom > self.SIZE[0]:
            return None
        patch = channel[top:bottom, left:right]
        rim = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
        weight = np.abs(patch - np.median(rim))
        if np.ptp(rim) > 0.004 or weight.sum() < 1:  # another dot, an edge, or a square on the dot
            return None
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        found = np.array([np.sum(weight * columns), np.sum(weight * rows)]) / weight.sum()
        return float(np.abs(found - (x, y)).max())

    def test_a_dot_stays_under_its_keypoint_through_every_pair_of_operations(self):
        # At these levels a cut-out square is larger than a dot, so it cannot hide in its surroundings.
        tensors = random_policy(magnitude=9, spread=1).tensors()
        crops, keypoints = self.dots(484)
        seeds = stateless_random.sample_seeds([0, 0], len(crops))
        moved, points = (part.numpy() for part in augment(tensors, crops, keypoints, seeds))
        chains = [{NAMES[i] for i in row} for row in draw_chains(tensors, seeds)[0].numpy()]
        errors = defaultdict(list)
        for chain, crop, row in zip(chains, moved, points, strict=True):
            found = [self.error(crop[..., k % 3], row[k]) for k in range(5)]
            errors["binary" if chain & self.BINARY else "smooth"] += [e for e in found if e is not None]
        assert len(errors["smooth"]) > 500 and len(errors["binary"]) > 500
        assert max(errors["smooth"]) < 0.05
        assert np.quantile(errors["binary"], 0.5) < 0.05 and max(errors["binary"]) < 0.6

    @pytest.mark.parametrize("name", ["hand_crafted", "paper"])
    def test_through_the_built_in_policies(self, name):
        crops, keypoints = self.dots(60)
        moved, points = (part.numpy() for part in Policy.load(name)(crops, keypoints, (0, 0)))
        errors = [self.error(moved[b, ..., k % 3], points[b, k]) for b in range(60) for k in range(5)]
        errors = [error for error in errors if error is not None]
        assert len(errors) > 100 and max(errors) < 0.05
        assert np.mean(np.any(points != keypoints, axis=(1, 2))) > 0.5


class TestEverywhereTheSame:
    def batches(self) -> tf.data.Dataset:
        crops, keypoints = batch(20)
        return tf.data.Dataset.from_tensor_slices((crops, keypoints)).batch(5, drop_remainder=True)

    @pytest.fixture(scope="class")
    def by_data(self):
        return list(MIXED.over(self.batches(), seed=7))

    @pytest.mark.slow
    def test_function_data_set_and_layer(self, by_data):
        layer = PolicyAugmentation(MIXED, seed=7)
        by_layer = [layer(element, training=True) for element in self.batches()]
        by_function = [MIXED(*element, (7, i)) for i, element in enumerate(self.batches())]
        assert len(by_data) == 4
        for results in zip(by_function, by_data, by_layer, strict=True):
            assert_same(*results)
        assert np.any(by_data[0][0] != next(iter(self.batches()))[0])

    @pytest.mark.slow
    def test_a_data_set_goes_on_where_it_stopped(self, by_data):
        rest = list(MIXED.over(self.batches().skip(2), seed=7, start=2))
        for one, other in zip(by_data[2:], rest, strict=True):
            assert_same(one, other)

    def test_the_layer_is_the_identity_unless_training(self):
        layer = PolicyAugmentation(MIXED)
        element = batch()
        assert_same(layer(element), layer(element, training=False), element)
        # Nothing was drawn.
        assert_same(layer(element, training=True), MIXED(*element, (0, 0)))

    def test_keypoints_stay_float32_beside_a_half_precision_network(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            layer = PolicyAugmentation(MIXED, seed=7)
        finally:
            keras.config.set_dtype_policy("float32")
        found = layer(batch(), training=True)
        assert [part.dtype for part in found] == [tf.float32, tf.float32]
        assert_same(found, MIXED(*batch(), (7, 0)))

    def test_a_saved_model_goes_on_where_it_stood(self, tmp_path):
        inputs = [keras.Input((*SIZE, 3)), keras.Input((5, 3))]
        model = keras.Model(inputs, PolicyAugmentation(MIXED, seed=2)(inputs, training=True))
        assert [part.shape for part in model.outputs] == [(None, *SIZE, 3), (None, 5, 3)]
        model(batch())
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert loaded.layers[-1].policy == MIXED
        assert_same(loaded(batch()), model(batch()), MIXED(*batch(), (2, 1)))

    @pytest.mark.slow
    def test_replicas_draw_apart(self):
        code = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from p2net_tf.augment.layer import PolicyAugmentation
from p2net_tf.augment.policies import Policy, Stage
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = PolicyAugmentation(Policy([[Stage("Brightness", 1, 5, 5)]]))
people = tf.fill([3, 4, 4, 3], 0.1), tf.zeros([3, 1, 3])
step = tf.function(lambda: layer(people, training=True)[0][:, 0, 0, 0])
found = [strategy.experimental_local_results(strategy.run(step)) for _ in range(2)]
print(json.dumps([value for replicas in found for part in replicas for value in part.numpy().tolist()]))
"""
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        factors = json.loads(result.stdout.splitlines()[-1])
        assert len(factors) == len(set(factors)) == 12


class TestBuiltIn:
    @pytest.mark.parametrize("name", BUILTIN_POLICIES)
    def test_loads_with_a_summary_and_a_round_trip(self, name, tmp_path):
        policy = Policy.load(name)
        assert policy.name == name and policy.provenance["summary"] and policy.provenance["made_by"]
        policy.save(tmp_path / "policy.yaml")
        assert Policy.load(tmp_path) == policy

    def test_none_changes_nothing(self):
        assert_same(Policy.load("none")(*batch(), (0, 0)), batch())

    def test_hand_crafted_spans_45_degrees_and_0_7_to_1_35(self):
        """Two keypoints, one of them in the centre, tell angle and factor."""
        count = 1000
        keypoints = np.tile(np.array([[32, 32, 2], [32, 22, 2]], np.float32), (count, 1, 1))
        crops = np.zeros((count, 64, 64, 3), np.float32)
        points = Policy.load("hand_crafted")(crops, keypoints, (0, 0))[1].numpy()
        np.testing.assert_allclose(points[:, 0, :2], 32, atol=1e-3)
        x, y = (points[:, 1, :2] - points[:, 0, :2]).T
        factors, degrees = np.hypot(x, y) / 10, np.degrees(np.arctan2(x, -y))
        np.testing.assert_allclose([factors.min(), factors.max()], [0.7, 1.35], atol=0.01)
        np.testing.assert_allclose([degrees.min(), degrees.max()], [-45, 45], atol=0.5)
        turned = np.abs(degrees) > 1e-3
        assert abs(turned.mean() - 0.6) < 3 * np.sqrt(0.24 / count)
        # Uniform, and either way.
        half = np.sqrt(0.25 / turned.sum())
        assert abs(np.mean(degrees[turned] > 0) - 0.5) < 3 * half
        assert abs(np.mean(np.abs(degrees[turned]) > 22.5) - 0.5) < 3 * half

    def test_random_is_every_sequence_once(self):
        policy = random_policy(stages=2, magnitude=3, spread=1, operations=("Rotate", "Cutout", "Scale"))
        pairs = [tuple(stage.operation for stage in stages) for stages in policy.sub_policies]
        assert len(pairs) == len(set(pairs)) == 9 and {len(pair) for pair in pairs} == {2}
        stages = [stage for stages in policy.sub_policies for stage in stages]
        assert {(stage.probability, stage.magnitude, stage.spread) for stage in stages} == {(1, 3, 1)}
        assert len(Policy.load("random").sub_policies) == len(NAMES) ** 2

    def test_the_paper_s_has_three_of_two(self):
        policy = Policy.load("paper")
        assert [len(stages) for stages in policy.sub_policies] == [2, 2, 2]
        assert "inferred" in policy.provenance


class TestFile:
    TEXT = """\
schema_version: 1
name: found
provenance:
  config: configs/search.yaml
  seed: 3
  version: 0.1.0
  weights: [0.5, 0.25]
sub_policies:
  - - {operation: Rotate, probability: 0.125, magnitude: 7.5, spread: 0.0}
    - {operation: Cutout, probability: 1.0, magnitude: 3.0, spread: 2.0}
  - - {operation: Equalize, probability: 1e-05, magnitude: 0.0, spread: 0.0}
"""
    POLICY = Policy(
        sub_policies=[
            [Stage("Rotate", 0.125, 7.5), Stage("Cutout", 1, 3, 2)],
            [Stage("Equalize", 1e-5, 0)],
        ],
        name="found",
        provenance={
            "config": "configs/search.yaml",
            "seed": 3,
            "version": "0.1.0",
            "weights": (0.5, 0.25),
        },  # fmt: skip
    )

    def test_bytes_and_round_trip(self, tmp_path):
        self.POLICY.save(tmp_path / "deep" / "policy.yaml")
        assert (tmp_path / "deep" / "policy.yaml").read_bytes() == self.TEXT.encode()
        assert Policy.load(tmp_path / "deep" / "policy.yaml") == self.POLICY
        assert Policy.load(str(tmp_path / "deep")) == self.POLICY

    def test_numbers_and_texts_survive_to_the_last_bit(self, tmp_path):
        random = np.random.default_rng(0)
        stages = [Stage("Rotate", *random.uniform(size=3)) for _ in range(50)]
        odd = {"on": "yes", "cost": "${HOME}", "empty": None, "deep": {"list": [{"a": 1.0}, "1e3"]}}
        policy = Policy([stages], "off", odd)
        policy.save(tmp_path / "p.yaml")
        assert Policy.load(tmp_path / "p.yaml") == policy

    def test_a_name_may_be_missing(self, tmp_path):
        (tmp_path / "mine.yaml").write_text(self.TEXT.replace("name: found\n", ""))
        assert Policy.load(tmp_path / "mine.yaml").name == "mine"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("schema_version: 1", "schema_version: 2", ":1: schema_version: version 2 is not 1.*; update"),
            ("schema_version: 1\n", "", ":1: required key 'schema_version' is missing"),
            ("operation: Rotate", "operation: Rotat",
             r":9: sub_policies\.0\.0\.operation: there is no operation 'Rotat'; did you mean 'Rotate'\?$"),
            ("probability: 0.125", "probability: 1.5",
             r":9: sub_policies\.0\.0\.probability: found the number 1.5, expected a number .* at most 1$"),
            ("magnitude: 3.0", "magnitude: high", r":10: sub_policies\.0\.1\.magnitude: found text 'high'"),
            ("magnitude: 3.0", "magnitude: .nan", r":10: sub_policies\.0\.1\.magnitude: found the n"),
            ("spread: 2.0", "spred: 2.0", "unknown key 'sub_policies.0.1.spred'; did you mean 'spread'"),
            ("provenance:", "provenence:", "unknown key 'provenence'; did you mean 'provenance'"),
            (TEXT[TEXT.index("\n  - -"):], " []", ":8: sub_policies: the policy is empty"),
            (TEXT[TEXT.index("  - - {operation: Eq"):], "  - []\n", "sub_policies: sub-policy 1 is empty"),
            ("  - - {operation: R", "  - {operation: R", "not valid YAML"),
            (TEXT, "3", "a configuration is a mapping"),
        ],
    )  # fmt: skip
    def test_faults_are_named(self, tmp_path, old, new, message):
        path = tmp_path / "policy.yaml"
        assert self.TEXT.count(old) == 1
        path.write_text(self.TEXT.replace(old, new))
        with pytest.raises(PolicyError, match=message) as caught:
            Policy.load(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)

    @pytest.mark.parametrize(("source", "hint"), [("papr", "did you mean 'paper'"), ("/no.yaml", "known: n")])
    def test_a_missing_file(self, source, hint):
        message = f"policy '{source}': neither a file nor a built-in policy; {hint}"
        with pytest.raises(PolicyError, match=message):
            Policy.load(source)

    def test_made_in_python_the_same_rules_hold(self):
        with pytest.raises(ValueError, match="did you mean 'TranslateX'"):
            Stage("TranslatX", 1, 1)
        with pytest.raises(ValueError, match="the policy is empty"):
            Policy([])
        with pytest.raises(ValueError, match="only plain text, numbers, lists and mappings"):
            Policy(MIXED.sub_policies, "x", {"weights": np.ones(3)})
        with pytest.raises(ValueError, match="frozen"):
            MIXED.name = "other"

    def test_a_stage_in_words(self):
        assert str(Stage("Rotate", 0.6, 5, 5)) == "Rotate 0..10, p 0.6"
        assert str(Stage("Scale", 1, 9, 3)) == "Scale 6..10"
        assert str(Stage("Equalize", 0.25, 3)) == "Equalize, p 0.25"
