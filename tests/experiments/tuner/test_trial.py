"""Trials of policies: repeatable, independent of each other, one graph, and what a training by hand gives."""

import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions_in_place_of_p2net

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.autopose import split
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data import datasets
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.experiments.tuner.trial import PolicyTrials
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.optimizers import Adam

BATCH, STEPS, SEED = 6, 3, 5
ROTATE = Policy([[Stage("Rotate", 1, 8), Stage("Cutout", 0.5, 4)]])
DARKEN = Policy([[Stage("Brightness", 1, 1), Stage("Equalize", 0.5, 0)]])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Validation and test part do not exist: who opens them fails."""
    root = tmp_path_factory.mktemp("people")
    options = SceneOptions(height=96, width=96, max_persons=2)
    write_synthetic(root, 18, seed=1, split="train", options=options)
    nowhere = [{"format": "coco", "root": str(root / "nowhere")}]
    return ExperimentConfig.model_validate(
        {
            "name": "tiny",
            "data": {
                "train": [{"format": "coco", "root": str(root), "split": "train"}],
                "validation": nowhere,
                "test": nowhere,
            },
            "model": {
                "backbone": "small",
                "input_size": (64, 64),
                "width": 4,
                "backbone_width": 4,
                "exchange_units": 1,
                "refine_bottlenecks": (0, 0, 0, 0),
            },
            "training": {
                "epochs": 3,
                "batch_size": 4,
                "learning_rate": 0.01,
                "schedule": "cosine",
                "ema_momentum": 0.9,
            },
            "search": {"batch_size": BATCH},
        }
    )


@pytest.fixture(scope="module")
def tables(config):
    inner, outer, problems = split.open_split(config.data, config.search, (64, 64), config.seed)
    assert not [problem for problem in problems if problem.severity == "error"]
    return inner, outer


@pytest.fixture(scope="module")
def trials(config, tables):
    """Of two convolutions, which are quick to trace."""
    with two_convolutions_in_place_of_p2net():
        return PolicyTrials(config, *tables)


@pytest.fixture(scope="module")
def p2net_trials(config, tables):
    return PolicyTrials(config, *tables)


def values(network) -> list[np.ndarray]:
    return [weight.numpy() for weight in network.weights]


class TestSplit:
    def test_share_no_picture_and_hold_the_training_part(self, tables, config):
        inner, outer = tables
        people, _ = datasets.open_datasets(config.data.train, config.data.skeleton)
        assert len(inner) + len(outer) == len(people)
        assert min(len(inner), len(outer)) >= BATCH
        assert inner.crops.shape[1:] == (64, 64, 3)

    def test_only_the_training_part_is_opened(self, config, monkeypatch):
        opened = []

        def open_datasets(sources, *arguments):
            opened.append(sources)
            return datasets.open_datasets(sources, *arguments)

        monkeypatch.setattr(split, "open_datasets", open_datasets)
        split.open_split(config.data, config.search, (64, 64), config.seed)
        assert opened == [config.data.train]

    def test_the_plant_moves_the_outer_part_alone(self, tables, config):
        plant = {"operation": "Brightness", "magnitude": (0, 0)}
        search = config.search.model_validate({**config.search.model_dump(), "plant": plant})
        inner, outer, _ = split.open_split(config.data, search, (64, 64), config.seed)
        np.testing.assert_array_equal(inner.crops, tables[0].crops)
        # Level 0 of Brightness is a factor of 0.1 (Table 1).
        np.testing.assert_allclose(outer.crops, 0.1 * tables[1].crops, atol=0.51)


class TestTrials:
    @pytest.mark.slow
    def test_a_trial_is_what_training_by_hand_gives(self, trials, tables, config):
        """By hand: a model of its own, the policy's own call, Adam on half a cosine of `STEPS` steps."""
        inner, outer = tables
        result = trials.run(ROTATE, STEPS, SEED)
        trained = values(trials.network)
        with two_convolutions_in_place_of_p2net():
            model = build_pose_model(config, Skeleton.load("coco17"), 1)
        model.compile(Adam(0.01))
        trials._fresh.assign(SEED)
        model.network.set_weights(values(trials.network))
        # In a graph, as trials train: eager steps round otherwise, and Adam makes much of a tiny gradient.
        train_step, losses = tf.function(model.train_step), []
        for step, batch in enumerate(inner.batches(BATCH, SEED, config.augment.flip_probability).take(STEPS)):
            model.optimizer.learning_rate = 0.01 * 0.5 * (1 + np.cos(np.pi * step / STEPS))
            model.reset_metrics()
            losses.append(float(train_step(ROTATE(*batch, seed=(SEED, step)))["loss"]))
        for mine, other in zip(trained, values(model.network), strict=True):
            np.testing.assert_allclose(mine, other, atol=2e-4)
        assert result.training_loss == pytest.approx(losses[-1], rel=1e-3)
        model.network.set_weights(trained)
        crops, keypoints = outer.crops.astype(np.float32) / 255, outer.keypoints
        heatmaps = model.network(crops, training=False)
        persons = model.person_losses(keypoints, heatmaps)
        assert result.validation_loss == pytest.approx(float(tf.reduce_mean(persons)), rel=1e-4)
        model.accuracy.reset_state()
        model.accuracy.update_state(keypoints, heatmaps["heatmaps"])
        assert result.validation_accuracy == pytest.approx(float(model.accuracy.result()), abs=1e-6)

    @pytest.mark.slow
    def test_repeats_bit_for_bit_whatever_ran_between(self, trials):
        first = trials.run(ROTATE, STEPS, SEED)
        weights = values(trials.network)
        other = trials.run(DARKEN, STEPS + 1, SEED + 1)
        again = trials.run(ROTATE, STEPS, SEED)
        assert first[:3] == again[:3]
        assert other[0] != first[0]
        for one, two in zip(weights, values(trials.network), strict=True):
            np.testing.assert_array_equal(one, two)

    @pytest.mark.slow
    def test_policy_and_seed_both_count(self, trials):
        runs = [(ROTATE, SEED), (DARKEN, SEED), (ROTATE, SEED + 1)]
        losses = {trials.run(policy, STEPS, seed).validation_loss for policy, seed in runs}
        assert len(losses) == 3

    @pytest.mark.slow
    def test_the_step_is_traced_once(self, trials):
        """Even for policies of another shape; which give other results."""
        policies = (ROTATE, DARKEN, Policy.load("none"))
        assert len({trials.run(policy, 1, SEED).training_loss for policy in policies}) == 3
        assert trials._train.experimental_get_tracing_count() == 1

    @pytest.mark.slow
    def test_every_kernel_starts_anew_and_nothing_else_does(self, p2net_trials):
        network = p2net_trials.network
        p2net_trials._fresh.assign(1)
        first = values(network)
        p2net_trials._fresh.assign(2)
        for weight, one, two in zip(network.weights, first, values(network), strict=True):
            assert np.any(one != two) == (weight.name == "kernel"), weight.path
        assert all(np.all(v.numpy() == 0) for v in p2net_trials._model.optimizer.variables)

    def test_kernels_have_the_spread_of_their_initializer(self, p2net_trials):
        """He normal: variance 2 / fan in; the heads 0.001 (section 3.2)."""
        p2net_trials._fresh.assign(3)
        scaled = []
        for weight in p2net_trials.network.weights:
            if weight.path.endswith("conv/kernel"):
                scaled.append((weight.numpy() * np.sqrt(np.prod(weight.shape[:3]) / 2)).ravel())
            elif "head" in weight.path and weight.name == "kernel":
                assert np.std(weight) == pytest.approx(0.001, rel=0.15)
        assert np.std(np.concatenate(scaled)) == pytest.approx(1, rel=0.05)

    @pytest.mark.slow
    def test_counts_its_steps(self, trials):
        steps = []
        trials.run(ROTATE, STEPS, SEED, on_step=lambda: steps.append(0))
        assert len(steps) == STEPS
