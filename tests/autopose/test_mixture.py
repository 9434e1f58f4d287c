"""Equation 6 against loops over every chain of operations; soft targets against the losses of keypoints."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import OPERATIONS
from p2net_tf.autopose.mixture import Hypotheses, Mixture, soft_targets
from p2net_tf.autopose.space import SearchSpace
from p2net_tf.keypoints import heatmaps
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss
from p2net_tf.training.pose_model import PoseModel

SIZE, MAPS, SIGMA = (32, 48), (8, 12), 1.5
CANDIDATES = ("Identity", "Rotate", "Brightness", "TranslateX", "Cutout")
SEED = (5, 6)
CERTAIN = 1e4
"""A logit whose softmax or sigmoid is exactly 1, and its negative exactly 0."""


def random_people(seed: int = 0, persons: int = 4, number: int = 5, dtype="float64"):
    """Crops, and keypoints all over them, so that some leave when they are moved; the first is unlabeled."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, SIZE[::-1], (persons, number, 2))
    visibility = rng.integers(1, 3, (persons, number, 1))
    visibility[0, 0] = 0
    crops = rng.uniform(size=(persons, *SIZE, 3))
    return crops.astype(dtype), np.concatenate([places, visibility], axis=-1).astype(dtype)


def random_mixture(sub_policies: int, stages: int, operations=CANDIDATES, seed: int = 1) -> Mixture:
    mixture = Mixture(SearchSpace(sub_policies, stages, tuple(operations)), seed=0, dtype="float64")
    rng = np.random.default_rng(seed)
    for variable in mixture.variables:
        variable.assign(rng.normal(0, 1, variable.shape))
    return mixture


def certain_mixture(*names, level_logit: float = 1.0, dtype="float64") -> Mixture:
    """One sub-policy that applies `names` one after the other, for certain."""
    operations = tuple(OPERATIONS)
    mixture = Mixture(SearchSpace(1, len(names), operations), seed=0, dtype=dtype)
    one_hot = np.array([[[CERTAIN * (o == name) for o in operations] for name in names]])
    mixture.alpha.assign(one_hot.astype(dtype))
    mixture.probability.assign(np.full(one_hot.shape, CERTAIN, dtype))
    mixture.magnitude.assign(np.full(one_hot.shape, level_logit, dtype))
    return mixture


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def every_chain(mixture: Mixture, sub_policy: int):
    """Yields `(weight, [operation or None of each stage])`: which operation, and whether it was applied."""
    alpha, probability = mixture.alpha.numpy()[sub_policy], mixture.probability.numpy()[sub_policy]
    weights = np.exp(alpha) / np.exp(alpha).sum(axis=-1, keepdims=True)
    choices = list(itertools.product(range(len(mixture.space.operations)), (True, False)))
    for chain in itertools.product(choices, repeat=mixture.space.stages):
        weight = 1.0
        for stage, (o, applied) in enumerate(chain):
            p = sigmoid(probability[stage, o])
            weight *= weights[stage, o] * (p if applied else 1 - p)
        yield weight, [o if applied else None for o, applied in chain]


def apply(mixture: Mixture, o: int, stage: int, crops, keypoints):
    """Operation o of the stage of the only sub-policy, with the draws of the stage."""
    level = 10 * sigmoid(mixture.magnitude.numpy()[0, stage, o])
    levels = np.full(len(crops), level)
    seeds = stateless_random.fold_in(stateless_random.sample_seeds(SEED, len(crops)), stage)
    moved = OPERATIONS[mixture.space.operations[o]](crops, keypoints, levels, seeds, differentiable=True)
    return tuple(np.asarray(values) for values in moved)


def gaussian(x: float, y: float) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(MAPS[1]) + 0.5, np.arange(MAPS[0]) + 0.5)
    return np.exp(-((columns - x / 4) ** 2 + (rows - y / 4) ** 2) / (2 * SIGMA**2))


def targets_in_loops(mixture: Mixture, crops, keypoints):
    maps, labels = np.zeros((len(crops), *MAPS, keypoints.shape[1])), np.zeros(keypoints.shape[:2])
    for weight, chain in every_chain(mixture, 0):
        moved = keypoints
        for stage, o in enumerate(chain):
            if o is not None:
                _, moved = apply(mixture, o, stage, crops, moved)
        for b, k in np.ndindex(labels.shape):
            x, y, visibility = moved[b, k]
            if visibility > 0:
                maps[b, :, :, k] += weight * gaussian(x, y)
                labels[b, k] += weight
    return maps, labels


class TestMix:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=[] if name in ("Rotate", "Cutout", "Solarize") else pytest.mark.slow)
            for name in OPERATIONS
        ],
    )
    def test_a_certain_operation_is_the_operation(self, name):
        crops, keypoints = random_people()
        mixture = certain_mixture(name)
        mixed, hypotheses = mixture.mix(crops, keypoints, SEED)
        index = mixture.space.operations.index(name)
        expected, moved = apply(mixture, index, 0, crops, keypoints)
        np.testing.assert_array_equal(mixed, expected)
        (certain,) = np.flatnonzero(np.any(np.asarray(hypotheses.weights) > 0, axis=0))
        np.testing.assert_array_equal(hypotheses.weights[:, certain], np.ones(len(crops)))
        np.testing.assert_array_equal(hypotheses.keypoints[:, certain], moved)
        maps = np.random.default_rng(2).normal(0, 0.3, (len(crops), *MAPS, keypoints.shape[1]))
        for loss in (HeatmapLoss(SIGMA, dtype="float64"), OHKMLoss(2, sigma=SIGMA, dtype="float64")):
            soft = loss(soft_targets(hypotheses, MAPS, SIGMA, 4), maps)
            assert float(soft) == pytest.approx(float(loss(moved, maps)), rel=1e-12)

    def test_certain_operations_in_a_row(self):
        crops, keypoints = random_people()
        mixture = certain_mixture("Rotate", "Cutout")
        mixed, hypotheses = mixture.mix(crops, keypoints, SEED)
        names = mixture.space.operations
        once = apply(mixture, names.index("Rotate"), 0, crops, keypoints)
        expected, moved = apply(mixture, names.index("Cutout"), 1, *once)
        np.testing.assert_array_equal(mixed, expected)
        likely = np.argmax(hypotheses.weights[0])
        np.testing.assert_array_equal(hypotheses.keypoints[:, likely], moved)

    @pytest.mark.parametrize("stages", [1, 2])
    def test_crops_are_averaged_stage_after_stage(self, stages):
        crops, keypoints = random_people()
        mixture = random_mixture(1, stages)
        expected = crops
        for stage in range(stages):
            alpha, probability = mixture.alpha.numpy()[0, stage], mixture.probability.numpy()[0, stage]
            total = 0.0
            for o in range(len(CANDIDATES)):
                image, _ = apply(mixture, o, stage, expected, keypoints)
                p = sigmoid(probability[o])
                total += np.exp(alpha[o]) / np.exp(alpha).sum() * (p * image + (1 - p) * expected)
            expected = total
        mixed, _ = mixture.mix(crops, keypoints, SEED)
        np.testing.assert_allclose(mixed, expected, rtol=1e-10)

    @pytest.mark.parametrize("stages", [1, 2, 3])
    def test_hypotheses_weigh_one(self, stages):
        crops, keypoints = random_people()
        _, hypotheses = random_mixture(2, stages).mix(crops, keypoints, SEED)
        assert hypotheses.keypoints.shape == (4, 3**stages, 5, 3)  # Rotate and TranslateX move; so 2 + 1
        np.testing.assert_allclose(np.sum(hypotheses.weights, axis=1), np.ones(4), rtol=1e-12)

    def test_every_sample_draws_one_sub_policy(self):
        """Three sub-policies darken a white crop to different levels, which tells them apart."""
        mixture = Mixture(SearchSpace(3, 1, ("Brightness",)), seed=0)
        mixture.probability.assign(np.full((3, 1, 1), CERTAIN))
        mixture.magnitude.assign([[[-1.0]], [[-0.6]], [[-0.2]]])
        factors = 0.1 + 0.18 * mixture.levels().numpy().ravel()
        crops, keypoints = np.ones((3000, 2, 2, 3), "float32"), np.zeros((3000, 1, 3), "float32")
        left = mixture.mix(crops, keypoints, SEED)[0][:, 0, 0, 0]
        drawn = np.argmin(np.abs(left - factors[:, None]), axis=0)
        np.testing.assert_allclose(left, factors[drawn], rtol=1e-6)
        # Three standard deviations of a count of 1000 in 3000.
        assert np.all(np.abs(np.bincount(drawn, minlength=3) - 1000) < 78)
        again, other = (mixture.mix(crops, keypoints, seed)[0][:, 0, 0, 0] for seed in (SEED, (7, 8)))
        np.testing.assert_array_equal(again, left)
        assert np.mean(other != left) > 0.5

    @pytest.mark.slow
    def test_a_batch_is_a_loop_of_singles(self):
        crops, keypoints = random_people()
        mixture = random_mixture(3, 2)
        seeds = stateless_random.sample_seeds(SEED, 4)
        whole, hypotheses = mixture.mix(crops, keypoints, seeds)
        for b in range(4):
            single, alone = mixture.mix(crops[b : b + 1], keypoints[b : b + 1], seeds[b : b + 1])
            np.testing.assert_allclose(single[0], whole[b], rtol=1e-12)
            np.testing.assert_allclose(alone.weights[0], hypotheses.weights[b], rtol=1e-12)
            np.testing.assert_allclose(alone.keypoints[0], hypotheses.keypoints[b], rtol=1e-12)

    @pytest.mark.slow
    def test_a_graph_of_unknown_batch_size(self):
        crops, keypoints = random_people()
        mixture = random_mixture(2, 2)
        signature = [tf.TensorSpec([None, *SIZE, 3], "float64"), tf.TensorSpec([None, 5, 3], "float64")]

        @tf.function(input_signature=signature)
        def mix(crops, keypoints):
            mixed, hypotheses = mixture.mix(crops, keypoints, SEED)
            return mixed, *soft_targets(hypotheses, MAPS, SIGMA, 4)

        expected, hypotheses = mixture.mix(crops, keypoints, SEED)
        mixed, maps, labels = mix(crops, keypoints)
        np.testing.assert_allclose(mixed, expected, rtol=1e-10)
        for found, eager in zip((maps, labels), soft_targets(hypotheses, MAPS, SIGMA, 4), strict=True):
            np.testing.assert_allclose(found, eager, rtol=1e-10, atol=1e-14)


class TestTargets:
    @pytest.mark.parametrize("stages", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_targets_are_averages_over_every_chain(self, stages):
        crops, keypoints = random_people()
        mixture = random_mixture(1, stages)
        _, hypotheses = mixture.mix(crops, keypoints, SEED)
        maps, labels = soft_targets(hypotheses, MAPS, SIGMA, 4)
        expected_maps, expected_labels = targets_in_loops(mixture, crops, keypoints)
        partly = (expected_labels > 0) & (expected_labels < 0.999)
        assert partly.any(), "no keypoint leaves its crop in some chains: the case tests nothing"
        np.testing.assert_allclose(labels, expected_labels, rtol=1e-10)
        np.testing.assert_allclose(maps, expected_maps, rtol=1e-10, atol=1e-14)

    def test_operations_that_move_nothing_leave_the_target(self):
        crops, keypoints = random_people()
        mixture = random_mixture(2, 2, ("Brightness", "Equalize"))
        _, hypotheses = mixture.mix(crops, keypoints, SEED)
        assert hypotheses.weights.shape == (4, 1)
        maps, labels = soft_targets(hypotheses, MAPS, SIGMA, 4)
        np.testing.assert_allclose(maps, heatmaps.encode(keypoints, MAPS, SIGMA), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(labels, keypoints[..., 2] > 0, rtol=1e-12)


class TestSoftLosses:
    @staticmethod
    def case():
        rng = np.random.default_rng(3)
        labels = rng.uniform(size=(4, 6))
        labels[1] = [0, 0, 0.3, 0, 0, 0]
        labels[2] = [1, 0, 1, 0, 0.5, 0]
        labels[3] = 0
        return rng.uniform(size=(4, *MAPS, 6)), labels, rng.normal(0, 0.3, (4, *MAPS, 6))

    @pytest.mark.parametrize("hard", [None, 1, 3, 9])
    def test_loop(self, hard):
        target, labels, maps = self.case()
        persons = []
        for b in range(4):
            errors = [
                labels[b, k] * np.sum((maps[b, :, :, k] - target[b, :, :, k]) ** 2) / (math.pi * SIGMA**2)
                for k in range(6)
            ]
            kept = min(hard or 6, 6)
            largest = sorted(errors, reverse=True)[:kept]
            persons.append(sum(largest) / max(1.0, min(kept, labels[b].sum())))
        options = {"sigma": SIGMA, "dtype": "float64"}
        loss = OHKMLoss(hard, **options) if hard else HeatmapLoss(**options)
        assert float(loss((target, labels), maps)) == pytest.approx(np.mean(persons), rel=1e-12)

    @pytest.mark.parametrize("loss", [HeatmapLoss(SIGMA), OHKMLoss(2, sigma=SIGMA)])
    def test_whole_labels_are_the_loss_of_keypoints_to_the_bit(self, loss):
        _, keypoints = random_people(dtype="float32")
        maps = np.random.default_rng(4).normal(0, 0.3, (4, *MAPS, 5)).astype("float32")
        target = heatmaps.encode(keypoints, MAPS, SIGMA), (keypoints[..., 2] > 0).astype("float32")
        assert float(loss(target, maps)) == float(loss(keypoints, maps))

    def test_loss_of_a_certain_mixture_is_that_of_pose_model(self):
        model = PoseModel(
            tiny_network(5, (32, 64)), sigma=SIGMA, ohkm=2, intermediate_weight=0.7, final_weight=1.3
        )
        crops, keypoints = random_people(dtype="float32")
        mixture = certain_mixture("Rotate", dtype="float32")
        rng = np.random.default_rng(4)
        names = ("parallel_4", "parallel_8", "heatmaps")
        maps = {name: tf.constant(rng.normal(0, 0.3, (4, *MAPS, 5)), "float32") for name in names}
        _, hypotheses = mixture.mix(crops, keypoints, SEED)
        loss = mixture.loss(maps, hypotheses, model.intermediate_loss, model.final_loss, 0.7, 1.3)
        _, moved = apply(mixture, mixture.space.operations.index("Rotate"), 0, crops, keypoints)
        assert float(loss) == pytest.approx(float(model.losses_of(moved, maps)["loss"]), rel=1e-5)

    def test_losses_of_two_targets(self):
        hypotheses = Hypotheses(tf.zeros([1, 1, 5, 3]), tf.ones([1, 1]))
        with pytest.raises(ValueError, match="one sigma and one stride"):
            Mixture(SearchSpace(1, 1, CANDIDATES), seed=0).loss(
                {"heatmaps": tf.zeros([1, *MAPS, 5])}, hypotheses, HeatmapLoss(2.0), HeatmapLoss(3.0)
            )


class TestParameters:
    def test_names_and_first_values(self):
        mixture = Mixture(SearchSpace(3, 2, CANDIDATES), seed=0)
        assert [v.name.split(":")[0] for v in mixture.variables] == ["alpha", "probability", "magnitude"]
        assert {tuple(v.shape) for v in mixture.variables} == {(3, 2, 5)}
        np.testing.assert_allclose(mixture.weights(), np.full((3, 2, 5), 0.2), atol=2e-3)
        np.testing.assert_array_equal(mixture.probabilities(), np.full((3, 2, 5), 0.5))
        distance = np.abs(mixture.levels().numpy() - 5)
        assert distance.min() > 0.9 and distance.max() < 2.8

    def test_a_seed_gives_its_values(self):
        first, again, other = (Mixture(SearchSpace(3, 2, CANDIDATES), seed=seed) for seed in (0, 0, 1))
        for one, same in zip(first.variables, again.variables, strict=True):
            np.testing.assert_array_equal(one, same)
        assert np.any(first.alpha.numpy() != other.alpha.numpy())
        assert np.any(first.magnitude.numpy() != other.magnitude.numpy())

    def test_discretize(self):
        mixture = random_mixture(2, 2)
        mixture.alpha.assign(np.eye(5)[[[1, 0], [4, 2]]])
        found = mixture.discretize().sub_policies
        assert [[stage.operation for stage in row] for row in found] == [
            ["Rotate", "Identity"],
            ["Cutout", "Brightness"],
        ]
        # A policy keeps three decimals.
        stage = found[1][0]
        assert stage.probability == pytest.approx(sigmoid(mixture.probability.numpy()[1, 0, 4]), abs=5e-4)
        assert stage.magnitude == pytest.approx(10 * sigmoid(mixture.magnitude.numpy()[1, 0, 4]), abs=5e-4)
