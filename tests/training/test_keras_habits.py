"""What a Keras user does with a `PoseModel`, and what Keras itself would answer.

Freezing has tests of its own, `test_freezing.py`.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import habit_replicas
import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network, two_convolutions

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.data.coco import read_coco
from p2net_tf.data.pipeline import training_dataset
from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference.card import CardError
from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.losses import HeatmapLoss, KeypointAccuracy, OHKMLoss
from p2net_tf.models import P2Net
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.utils.keras_names import MODULES, StandIn

CHECKOUT = Path(__file__).parents[2]
SKELETON = Skeleton.load("lsp14")
OF_PERSONS = np.float32([0, 1, 2, 3])
OF_KEYPOINTS = np.random.default_rng(1).uniform(0, 2, (4, 3)).astype("float32")


def people(number: int = 4, keypoints: int = 3):
    """Crops and keypoints, a quarter of these without a label."""
    rng = np.random.default_rng(0)
    labels = 2 * (rng.integers(0, 4, (number, keypoints, 1)) > 0)
    values = np.concatenate([rng.uniform(4, 28, (number, keypoints, 2)), labels], axis=-1)
    return rng.uniform(size=(number, 32, 32, 3)).astype("float32"), values.astype("float32")


def batches(*parts, size: int = 4) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts).batch(size)


def one_output(keypoints: int = 3, **options) -> keras.Model:
    """One convolution, whose numbers are known, and the same every time."""
    keras.utils.set_random_seed(0)
    crops = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(keypoints, 4, strides=4, padding="same", name="head", **options)(crops)
    return keras.Model(crops, {"heatmaps": maps})


def compiled(network=None, rate: float = 0.0, settings: dict | None = None, **arguments) -> PoseModel:
    """Eager unless told otherwise: one step costs less than the tracing of its graph."""
    keras.utils.set_random_seed(0)
    model = PoseModel(network or two_convolutions(), **{"ohkm": 2, **(settings or {})})
    model.compile(keras.optimizers.SGD(rate), **{"run_eagerly": True, **arguments})
    return model


def logs_of(model, *parts) -> dict[str, float]:
    history = model.fit(batches(*parts), verbose=0).history
    return {name: float(column[-1]) for name, column in history.items()}


def scores_of(model, *parts, **options) -> dict[str, float]:
    return model.evaluate(batches(*parts, **options), verbose=0, return_dict=True)


def square(keypoints, heatmaps):
    """`[B]`, of both arguments."""
    return tf.reduce_mean(tf.square(heatmaps), axis=(1, 2, 3)) * (1 + keypoints[:, 0, 0])


def mean_square(keypoints, heatmaps):
    return tf.reduce_mean(square(keypoints, heatmaps))


class TestEndlessData:
    """`fit` without `steps_per_epoch` never ended, and said nothing."""

    @pytest.fixture
    def endless(self, rendered):
        return training_dataset(read_coco(rendered, "train"), (32, 32), 4)

    def test_is_asked_for_its_steps(self, endless):
        model = compiled(two_convolutions(17))
        with pytest.raises(ValueError, match="x: is an endless data set.*by steps_per_epoch"):
            model.fit(endless, verbose=0)
        for call in (model.evaluate, model.predict):
            with pytest.raises(ValueError, match="x: is an endless data set.*by steps, or take one pass"):
                call(endless, verbose=0)
        with pytest.raises(ValueError, match="validation_data: is an endless .*by validation_steps"):
            model.fit(endless.take(1), validation_data=endless, verbose=0)

    @pytest.mark.slow
    def test_with_steps_it_is_trained_on(self, endless):
        model = compiled(two_convolutions(17), 0.01)
        model.fit(endless, steps_per_epoch=2, verbose=0)
        assert int(model.optimizer.iterations) == 2

    @pytest.mark.slow
    def test_a_policy_changes_nothing(self, endless):
        dark = Policy([[Stage("Brightness", 1, 0)]]).over(endless)
        assert int(dark.cardinality()) == tf.data.INFINITE_CARDINALITY

    def test_a_data_set_of_the_model_is_one_pass(self, rendered):
        samples = read_coco(rendered, "train")
        model = PoseModel(two_convolutions(17), skeleton="coco17")
        assert int(model.make_dataset(samples, batch_size=4).cardinality()) == len(samples) // 4


class TestAsKerasItself:
    """The network compiled by plain Keras, with the same keypoints for every output, is the judge."""

    @pytest.mark.parametrize(
        ("arguments", "settings", "of_keras"),
        [
            pytest.param(
                {},
                {"sigma": 1.5, "intermediate_weight": 0.5},
                {
                    "loss": {"parallel_4": HeatmapLoss(1.5), "heatmaps": OHKMLoss(2, sigma=1.5)},
                    "loss_weights": {"parallel_4": 0.5, "heatmaps": 1.0},
                },
                id="the paper's losses",
            ),
            pytest.param(
                {"loss": square, "loss_weights": {"heatmaps": 3.0}},
                {},
                {
                    "loss": {"parallel_4": square, "heatmaps": square},
                    "loss_weights": {"parallel_4": 1.0, "heatmaps": 3.0},
                },
                id="a function",
            ),
            pytest.param(
                {"loss": {"parallel_4": HeatmapLoss()}, "loss_weights": 2.0},
                {},
                {"loss": {"parallel_4": HeatmapLoss(), "heatmaps": None}, "loss_weights": 2.0},
                id="one output",
            ),
        ],
    )
    @pytest.mark.parametrize("weights", [pytest.param(None, marks=pytest.mark.slow), OF_PERSONS])
    def test_losses(self, arguments, settings, of_keras, weights):
        crops, keypoints = people()
        extra = () if weights is None else (weights,)
        model = compiled(settings=settings, **arguments)
        judge = keras.models.clone_model(model.network)
        judge.set_weights(model.network.get_weights())
        if isinstance(of_keras["loss_weights"], float):
            of_keras = {
                **of_keras,
                "loss_weights": {"parallel_4": of_keras["loss_weights"], "heatmaps": None},
            }
        judge.compile(keras.optimizers.SGD(0.0), run_eagerly=True, **of_keras)
        target = dict.fromkeys(("parallel_4", "heatmaps"), keypoints)
        expected = judge.fit(batches(crops, target, *extra), verbose=0).history["loss"][0]
        assert logs_of(model, crops, keypoints, *extra)["loss"] == pytest.approx(expected, rel=1e-5)
        expected = judge.evaluate(batches(crops, target, *extra), verbose=0, return_dict=True)["loss"]
        assert scores_of(model, crops, keypoints, *extra)["loss"] == pytest.approx(expected, rel=1e-5)

    def test_metrics(self):
        """Of a network of one output, where Keras has no choice of names."""
        crops, keypoints = people()
        model = compiled(one_output(), metrics=[square, "accuracy"], weighted_metrics=[mean_or_square])
        judge = keras.models.clone_model(model.network)
        judge.set_weights(model.network.get_weights())
        judge.compile(
            loss={"heatmaps": HeatmapLoss()},
            metrics={"heatmaps": [square]},
            weighted_metrics={"heatmaps": [mean_or_square]},
            run_eagerly=True,
        )
        parts = (crops, {"heatmaps": keypoints}, OF_PERSONS)
        expected = judge.evaluate(batches(*parts), verbose=0, return_dict=True)
        found = scores_of(model, crops, keypoints, OF_PERSONS)
        for name in ("square", "mean_or_square"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6)


def mean_or_square(keypoints, heatmaps):
    """Another name for `square`."""
    return square(keypoints, heatmaps)


class OwnSquaredError(keras.losses.MeanSquaredError):
    """Somebody's own class, which still compares value by value."""


class TestTargets:
    """What is no `[B, K, 3]` is refused in one line, whichever step it comes to."""

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (lambda k: k[:, :1], r"a target \[B, 1, 3\], and the network has 3 keypoints: give keypoints"),
            (lambda k: np.repeat(k, 2, axis=1), r"a target \[B, 6, 3\], and the network has 3"),
            (lambda k: k[..., :2], r"a target \[B, 3, 2\]"),
            (lambda k: np.concatenate([k, k[..., :1]], axis=-1), r"a target \[B, 3, 4\]"),
            (lambda k: k.reshape(len(k), -1), r"a target \[B, 9\]"),
            (lambda k: np.zeros((len(k), 8, 8, 3)), r"a target \[B, 8, 8, 3\]"),
            (lambda k: {"heatmaps": k, "parallel_4": k}, "a target by outputs: give keypoints"),
            (lambda k: None, "no target: give keypoints"),
        ],
    )
    @pytest.mark.parametrize(
        "loss", [None, pytest.param(square, marks=pytest.mark.slow)], ids=["the paper's", "of yours"]
    )
    def test_of_another_form(self, target, message, loss):
        crops, keypoints = people()
        model = compiled(loss=loss)
        for call in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=message) as error:
                call(crops, target(keypoints), verbose=0)
            assert "\n" not in str(error.value)

    def test_of_one_keypoint(self):
        with pytest.raises(ValueError, match=r"a target \[B, 3, 3\], and the network has 1 keypoints"):
            compiled(one_output(1)).fit(*people(), verbose=0)

    def test_weights_by_output(self):
        with pytest.raises(ValueError, match=r"sample_weight by output: give one array, of persons \[B\]"):
            compiled().fit(*people(), sample_weight={"heatmaps": OF_PERSONS}, verbose=0)


class TestCompile:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"loss": "mse"}, "loss='mse': compares heatmaps with keypoints value by value"),
            ({"loss": keras.losses.MeanSquaredError()}, "loss=mean_squared_error: compares heatmaps"),
            ({"loss": keras.losses.mean_squared_error}, "compares heatmaps with keypoints"),
            ({"loss": [square, square]}, "loss: a list does not say which output .* parallel_4, heatmaps"),
            (
                {"loss": {"refine": square}},
                "loss: there is no output 'refine'; there are parallel_4",
            ),
            ({"loss": {"heatmaps": None}}, "loss: none of the outputs has one"),
            ({"loss": HeatmapLoss(reduction=None)}, "its reduction is None"),
            ({"loss_weights": {"heatmaps": 2}}, "loss_weights: .*PoseModel.intermediate_weight="),
            ({"loss": square, "loss_weights": [1, 2]}, "loss_weights: give a number, or a dict"),
            ({"loss": square, "loss_weights": {"x": 1}}, "loss_weights: there is no output 'x'"),
            ({"metrics": ["mae"]}, "metrics='mae': compares heatmaps with keypoints"),
            ({"metrics": [keras.metrics.MeanSquaredError()]}, "metrics=mean_squared_error: compares"),
            ({"weighted_metrics": ["mse"]}, "weighted_metrics='mse': compares heatmaps"),
            ({"metrics": {"refine": square}}, "metrics: there is no output 'refine'"),
            ({"metrics": [[square], [square]]}, "metrics: a list of lists does not say which output"),
            ({"metrics": [KeypointAccuracy(0.2)]}, "metrics: 'accuracy' is logged already; give your metric"),
            (
                {"loss": square, "metrics": [KeypointAccuracy(0.9, name="heatmaps_loss")]},
                "metrics: 'heatmaps_loss' is logged already",
            ),
            ({"loss": square, "loss_weights": {"heatmaps": None}}, "loss_weights of 'heatmaps': None is no"),
            (
                {"loss": square, "loss_weights": {"heatmaps": "2"}},
                "loss_weights of 'heatmaps': '2' is no",
            ),
            ({"loss": square, "loss_weights": True}, "loss_weights: give a number"),
            ({"loss": OwnSquaredError()}, "loss=.*: compares heatmaps with keypoints"),
            (
                {"metrics": [keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error)]},
                "metrics=.*: compares heatmaps with keypoints",
            ),
        ],
    )
    def test_refuses_in_one_line_what_has_no_meaning(self, arguments, message):
        with pytest.raises(ValueError, match=message) as error:
            compiled(**arguments)
        assert "\n" not in str(error.value)

    def test_a_loss_of_yours_takes_the_place_of_the_papers(self):
        crops, keypoints = people()
        model = compiled(loss=square, loss_weights={"parallel_4": 0.5})
        maps = model.network(crops, training=True)
        parts = {name: float(np.mean(square(keypoints, maps[name]))) for name in maps}
        assert logs_of(model, crops, keypoints) == pytest.approx(
            {
                "loss": parts["heatmaps"] + 0.5 * parts["parallel_4"],
                "heatmaps_loss": parts["heatmaps"],
                "parallel_4_loss": parts["parallel_4"],
                "accuracy": scores_of(model, crops, keypoints)["accuracy"],
            },
            rel=1e-4,
            abs=0.35,  # of the accuracy, whose batch statistics are others; the losses are below
        )
        found = logs_of(model, crops, keypoints)
        assert found["loss"] == pytest.approx(parts["heatmaps"] + 0.5 * parts["parallel_4"], rel=1e-5)

    def test_a_scalar_is_the_mean_over_the_batch(self):
        parts = people()
        scalar, persons = (logs_of(compiled(loss=loss), *parts)["loss"] for loss in (mean_square, square))
        assert scalar == pytest.approx(persons, rel=1e-6)

    def test_metrics_of_outputs_carry_their_names(self):
        model = compiled(metrics={"parallel_4": [square, "accuracy"], "heatmaps": square})
        crops, keypoints = people()
        found = scores_of(model, crops, keypoints)
        maps = model.network(crops)
        for name in maps:
            expected = float(np.mean(square(keypoints, maps[name])))
            assert found[f"{name}_square"] == pytest.approx(expected, rel=1e-5)
        judge = KeypointAccuracy()
        judge.update_state(keypoints, maps["parallel_4"])
        assert found["parallel_4_accuracy"] == pytest.approx(float(judge.result()))

    def test_their_variables_are_there_at_once_for_a_checkpoint_to_keep(self):
        plain, more = compiled(), compiled(loss=square, metrics=[square])
        assert len(plain.metrics_variables) == 4 * 2
        assert len(more.metrics_variables) == 5 * 2  # loss, two outputs, accuracy, square

    def test_is_kept_in_a_file(self, tmp_path):
        crops, keypoints = people()
        model = compiled(loss=square, loss_weights={"heatmaps": 2.0}, metrics=[square])
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"square": square})
        assert scores_of(loaded, crops, keypoints) == pytest.approx(scores_of(model, crops, keypoints))
        assert "square" in scores_of(loaded, crops, keypoints)

    def test_a_compute_loss_of_a_sub_class_is_what_is_minimized(self):
        class Mine(PoseModel):
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                return tf.reduce_sum(y_pred["heatmaps"])

        model = Mine(one_output())
        model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
        bias = model.network.get_layer("head").bias
        logs_of(model, *people(1))
        np.testing.assert_allclose(bias, [-64.0] * 3)  # heatmaps of 8 x 8


class TestWeights:
    def errors(self, model, crops, keypoints):
        """`[B, K]` squared errors in units of a Gaussian's energy, and which keypoints are labeled."""
        maps = model.network(crops)["heatmaps"].numpy()
        centres = np.arange(8) + 0.5
        x, y = (keypoints[..., axis, None] / 4 for axis in (0, 1))
        gaussians = [np.exp(-((centres - values) ** 2) / 8) for values in (x, y)]
        targets = gaussians[1][..., :, None] * gaussians[0][..., None, :]
        squared = (maps - targets.transpose(0, 2, 3, 1)) ** 2
        labels = keypoints[..., 2] > 0
        return squared.sum(axis=(1, 2)) / (4 * np.pi) * labels, labels

    @pytest.mark.parametrize("hard", [3, 2])
    def test_of_keypoints_multiply_errors_and_leave_the_divisor(self, hard):
        crops, keypoints = people()
        model = compiled(one_output(), settings={"ohkm": hard})
        errors, labels = self.errors(model, crops, keypoints)
        hardest = np.sort(errors * OF_KEYPOINTS, axis=1)[:, ::-1][:, :hard]
        expected = np.mean(hardest.sum(axis=1) / np.clip(labels.sum(axis=1), 1, hard))
        found = logs_of(model, crops, keypoints, OF_KEYPOINTS)
        assert found["loss"] == found["final_loss"] == pytest.approx(expected, rel=1e-4)
        assert scores_of(model, crops, keypoints, OF_KEYPOINTS)["loss"] == pytest.approx(expected, rel=1e-4)

    @pytest.mark.slow
    def test_of_persons_are_those_of_all_their_keypoints(self):
        parts = people()
        spread = np.repeat(OF_PERSONS[:, None], 3, axis=1)
        for weights in (OF_PERSONS[:, None], spread):
            found = logs_of(compiled(), *parts, weights)
            assert found == pytest.approx(logs_of(compiled(), *parts, OF_PERSONS), rel=1e-5)

    def test_twice_the_weight_is_twice_the_gradient(self):
        parts, steps = people(), []
        for weight in (1.0, 2.0):
            model = compiled(one_output(), rate=1.0)
            before = model.network.get_weights()[0]
            logs_of(model, *parts, np.full(4, weight, "float32"))
            steps.append(model.network.get_weights()[0] - before)
        np.testing.assert_allclose(steps[1], 2 * steps[0], rtol=1e-4, atol=1e-7)

    def test_the_accuracy_follows_them_also_below_one(self):
        crops, keypoints = people()
        model = compiled()
        persons = [scores_of(model, crops[i : i + 1], keypoints[i : i + 1])["accuracy"] for i in range(4)]
        counts = (keypoints[..., 2] > 0).sum(axis=1)
        weights = np.float32([0.1, 0.2, 0.0, 0.05])
        expected = np.sum(weights * counts * persons) / np.sum(weights * counts)
        assert scores_of(model, crops, keypoints, weights)["accuracy"] == pytest.approx(expected, abs=1e-6)

    def test_of_keypoints_under_a_loss_of_persons_are_refused(self):
        with pytest.raises(ValueError, match="the loss 'square' gives values of the shape .*weigh persons"):
            logs_of(compiled(loss=square), *people(), OF_KEYPOINTS)

    def test_of_another_shape_are_refused(self):
        with pytest.raises(ValueError, match=r"shape \[4, 2\]: give \[B\].* or \[B, 3\]"):
            logs_of(compiled(), *people(), OF_KEYPOINTS[:, :2])

    @pytest.mark.parametrize("call", ["fit", "train_on_batch"])
    def test_of_classes_are_refused(self, call):
        with pytest.raises(ValueError, match="class_weight: keypoints are of no class; weigh persons"):
            getattr(compiled(), call)(*people(), class_weight={0: 1.0, 1: 2.0})

    @pytest.mark.slow
    def test_in_arrays_and_on_a_batch(self):
        parts = people()
        expected = logs_of(compiled(), *parts, OF_PERSONS)["loss"]
        crops, keypoints = parts
        history = compiled().fit(crops, keypoints, sample_weight=OF_PERSONS, batch_size=4, verbose=0)
        assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)
        found = compiled().train_on_batch(crops, keypoints, sample_weight=OF_PERSONS, return_dict=True)
        assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)


class TestRegularizers:
    def test_of_weights_are_in_loss_and_gradient(self):
        """One step at rate 1 is longer by `2 * 0.1 * kernel`."""
        parts = people()
        plain = compiled(one_output(), rate=1.0)
        bound = compiled(one_output(kernel_regularizer=keras.regularizers.L2(0.1)), rate=1.0)
        kernel = plain.network.get_weights()[0]
        scores = [scores_of(model, *parts)["loss"] for model in (plain, bound)]
        assert scores[1] - scores[0] == pytest.approx(0.1 * np.sum(kernel**2), rel=1e-4)
        losses = [logs_of(model, *parts)["loss"] for model in (plain, bound)]
        assert losses[1] - losses[0] == pytest.approx(0.1 * np.sum(kernel**2), rel=1e-4)
        step = plain.network.get_weights()[0] - bound.network.get_weights()[0]
        np.testing.assert_allclose(step, 0.2 * kernel, rtol=1e-3, atol=1e-6)

    def test_of_activities_are_in_the_loss_as_keras_has_them(self):
        """Divided by the persons."""
        crops, keypoints = people()
        network = one_output(activity_regularizer=keras.regularizers.L1(0.01))
        model = compiled(network, settings={"final_weight": 0.0})
        expected = 0.01 * np.abs(network(crops)["heatmaps"]).sum() / len(crops)
        assert logs_of(model, crops, keypoints)["loss"] == pytest.approx(expected, rel=1e-5)

    def test_stand_beside_a_loss_of_yours_and_weight_decay(self):
        crops, keypoints = people()
        network = one_output(bias_regularizer=keras.regularizers.L1(1.0), bias_initializer="ones")
        model = compiled(network, settings={"weight_decay": 0.2}, loss=square)
        maps = network(crops)["heatmaps"]
        kernel = network.get_weights()[0]
        expected = np.mean(square(keypoints, maps)) + 3.0 + 0.1 * np.sum(kernel**2)
        assert logs_of(model, crops, keypoints)["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
class TestReplicas:
    @pytest.fixture(scope="class")
    def found(self) -> dict:
        run = subprocess.run(
            [sys.executable, habit_replicas.__file__], capture_output=True, text=True, timeout=900
        )
        assert run.returncode == 0, run.stderr[-3000:]
        return json.loads(run.stdout)

    @pytest.mark.parametrize("case", habit_replicas.CASES)
    def test_change_nothing(self, found, case):
        one, two = found[case]["1"], found[case]["2"]
        np.testing.assert_allclose(two["weights"], one["weights"], atol=5e-6)
        assert one["logs"].keys() == two["logs"].keys()
        for name, values in one["logs"].items():
            np.testing.assert_allclose(two["logs"][name], values, rtol=1e-4, err_msg=name)

    @pytest.mark.parametrize(
        "case", [case for case in habit_replicas.CASES if case not in ("plain", "metrics")]
    )
    def test_each_case_is_another_training(self, found, case):
        """What is ignored would change nothing, either."""
        plain, other = (np.array(found[name]["1"]["weights"]) for name in ("plain", case))
        assert np.abs(plain - other).max() > 1e-4


class TestAnyNetwork:
    """What can be read from shapes is read; nothing else is asked of a `keras.Model`."""

    class Own(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = keras.layers.Conv2D(14, 3, strides=4, padding="same")

        def call(self, crops):
            return {"heatmaps": self.head(crops)}

    @pytest.mark.slow
    def test_of_a_class_of_yours(self):
        network = self.Own()
        network(np.zeros((1, 32, 32, 3), "float32"))
        model = compiled(network, rate=0.1, settings={"skeleton": SKELETON, "ohkm": None})
        assert (model.card.input_size, model.ohkm) == ((32, 32), 14)
        before = network.get_weights()[0]
        logs_of(model, *people(keypoints=14))
        assert np.abs(network.get_weights()[0] - before).max() > 0
        picture = np.zeros((40, 40, 3), "uint8")
        assert PoseEstimator(model).predict(picture, detector="whole_image")[0].keypoints.shape == (1, 14, 2)

    def test_that_was_never_called(self):
        with pytest.raises(CardError, match="was never called.*call it once on crops"):
            PoseModel(self.Own(name="own"))

    def test_of_another_stride_is_refused(self):
        crops = keras.Input((32, 32, 3))
        maps = keras.layers.Conv2D(3, 3, strides=8, padding="same")(crops)
        with pytest.raises(CardError, match=r"gives 'heatmaps' of \[4, 4\] for crops of \[32, 32\].*quarter"):
            PoseModel(keras.Model(crops, {"heatmaps": maps}))

    @pytest.mark.slow
    def test_a_clone_has_the_loss_of_the_original(self):
        """It is a plain `Functional`, without the attributes of a `P2Net`."""
        network = tiny_network(14, (32, 32))
        clone = keras.models.clone_model(network)
        assert type(clone) is not type(network)
        original, copy = (PoseModel(one, skeleton=SKELETON) for one in (network, clone))
        assert copy.ohkm == original.ohkm == 8
        assert copy.card == original.card.updated(normalization=None)
        clone.set_weights(network.get_weights())
        parts = people(2, 14)
        for model in (original, copy):
            model.compile(run_eagerly=True)
        assert scores_of(copy, *parts) == pytest.approx(scores_of(original, *parts))

    def test_a_clone_of_the_model_is_one(self):
        model = compiled(settings={"sigma": 1.5})
        clone = keras.models.clone_model(model)
        assert (type(clone), clone.sigma, clone.compiled) == (PoseModel, 1.5, True)


class TestFiles:
    def model(self, network=None) -> PoseModel:
        return compiled(network or two_convolutions(14), 0.01, {"skeleton": SKELETON})

    def poses(self, estimator: PoseEstimator) -> np.ndarray:
        picture = (255 * people(1)[0][0]).astype("uint8")
        return estimator.predict(picture, detector="whole_image")[0].keypoints

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "network", [two_convolutions, pytest.param(tiny_network, marks=pytest.mark.slow)]
    )
    def test_a_checkpoint_of_keras_opens(self, network, tmp_path):
        model = self.model(network(14, (32, 32)))
        keep = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True)
        model.fit(batches(*people(2, 14)), verbose=0, callbacks=[keep])
        expected = self.poses(PoseEstimator(model))
        for found in (
            PoseEstimator.load(tmp_path / "best.keras"),
            PoseEstimator(keras.saving.load_model(tmp_path / "best.keras")),
        ):
            np.testing.assert_allclose(self.poses(found), expected, atol=1e-4)

    @pytest.mark.slow
    def test_export_leads_back(self, tmp_path):
        """Also before the first step, and of what was loaded."""
        model = self.model()
        model.export(tmp_path / "exported", verbose=False)
        opened = PoseEstimator.load(tmp_path / "exported")
        assert opened.card == model.card
        np.testing.assert_allclose(self.poses(opened), self.poses(PoseEstimator(model)), atol=1e-4)

    def test_a_saved_model_of_one_batch_size(self, tmp_path):
        """The flip test doubles it, and more people are another one."""
        signature = [keras.layers.InputSpec(dtype="float32", shape=(1, 32, 32, 3))]
        self.model().export(tmp_path / "exported", input_signature=signature, verbose=False)
        with pytest.raises(CardError, match="exported: takes 1 crops at once and no other number"):
            PoseEstimator.load(tmp_path / "exported")

    def test_a_configuration_may_be_used_twice(self):
        model = self.model()
        config = model.get_config()
        first, second = PoseModel.from_config(config), PoseModel.from_config(config)
        assert first.card == second.card == model.card

    def test_a_class_that_is_not_registered(self, tmp_path):
        class Mine(PoseModel):
            pass

        Mine(self.model().network, skeleton=SKELETON).save(tmp_path / "model.keras")
        with pytest.raises(NetworkFileError, match="holds a Mine, which is not registered; import") as error:
            PoseEstimator.load(tmp_path / "model.keras")
        assert len(str(error.value)) < 400

    def test_a_saved_model_without_a_card(self, tmp_path):
        model = compiled()
        model.export(tmp_path / "exported", verbose=False)
        with pytest.raises(CardError, match="exported: is a SavedModel without a card; give the .keras file"):
            PoseEstimator.load(tmp_path / "exported")

    def test_weights_of_another_skeleton(self, tmp_path):
        source, model = self.model(), compiled(two_convolutions(17))
        source.save_weights(tmp_path / "some.weights.h5")
        before = model.network.get_weights()
        with pytest.warns(
            UserWarning, match="does not fit, and left as they were: heatmaps, parallel_4"
        ) as told:
            left = model.load_weights(tmp_path / "some.weights.h5", skip_mismatch=True)
        told = [one for one in told if one.category is UserWarning]
        assert (left, len(told)) == (["heatmaps", "parallel_4"], 1)
        for path, found, old, new in zip(
            [weight.path for weight in model.network.weights],
            model.network.get_weights(),
            before,
            source.network.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(found, old if path.split("/")[0] in left else new, err_msg=path)

    def test_weights_that_cannot_be_read_leave_everything(self, tmp_path):
        (tmp_path / "broken.weights.h5").write_bytes(b"no HDF5")
        model = compiled()
        before = model.network.get_weights()
        with pytest.raises(OSError):
            model.load_weights(tmp_path / "broken.weights.h5", skip_mismatch=True)
        for found, old in zip(model.network.get_weights(), before, strict=True):
            np.testing.assert_array_equal(found, old)

    def test_weights_that_fit_are_loaded_without_a_word(self, tmp_path):
        source, model = self.model(), self.model()
        source.network.get_layer("heatmaps").bias.assign(np.arange(14.0))
        source.save_weights(tmp_path / "some.weights.h5")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert model.load_weights(tmp_path / "some.weights.h5", skip_mismatch=True) == []
        np.testing.assert_array_equal(model.network.get_layer("heatmaps").bias, np.arange(14.0))


class TestNames:
    def test_all_classes_are_known(self):
        for module in MODULES:
            __import__(f"p2net_tf.{module}")
        registered = {
            name.partition(">")[2]: known
            for name, known in keras.saving.get_custom_objects().items()
            if name.startswith("p2net_tf>")
        }
        assert set(registered) == {name for names in MODULES.values() for name in names}
        assert not [name for name, known in registered.items() if isinstance(known, StandIn)]
        for module, names in MODULES.items():
            assert {registered[name].__module__ for name in names} == {f"p2net_tf.{module}"}

    @pytest.mark.slow
    @pytest.mark.parametrize("imports", ["import p2net_tf, keras", "import keras, p2net_tf"])
    def test_keras_opens_a_file_in_a_new_process(self, imports, tmp_path):
        """P2Net, its layers, the optimizer and its schedule: none of them is imported by then."""
        model = PoseModel(tiny_network(14, (32, 32)), skeleton=SKELETON)
        model.compile()
        model.save(tmp_path / "model.keras")
        code = (
            f"{imports}\nimport sys\nassert 'p2net_tf.models' not in sys.modules\n"
            f"model = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
            "print(type(model.network).__name__, p2net_tf.PoseEstimator(model))"
        )
        assert python(code).stdout.splitlines()[-1] == "P2Net PoseEstimator(p2net, lsp14, 32x32)"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *(("-c",) if len(arguments) == 1 else ()), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200", **environment},
    )


class TestOneLine:
    @pytest.mark.parametrize(
        ("size", "message"),
        [
            ((64, 64, 3), r"input_size=\(64, 64, 3\): give \(height, width\).*3 channels are understood"),
            (64, r"input_size=64: give \(height, width\)"),
            ((64.0, 64.0), r"input_size=\(64.0, 64.0\): give \(height, width\)"),
            ((0, 64), r"input_size \(0, 64\) must be multiples of 32"),
            ((60, 64), r"input_size \(60, 64\) must be multiples of 32"),
        ],
    )
    def test_input_size(self, size, message):
        with pytest.raises(ValueError, match=message):
            P2Net(14, size)

    def test_channels_first(self):
        keras.config.set_image_data_format("channels_first")
        try:
            with pytest.raises(ValueError, match="image data format is channels_first; these networks have"):
                P2Net(14, (64, 64))
        finally:
            keras.config.set_image_data_format("channels_last")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "code", ["import p2net_tf; p2net_tf.PoseModel", "from p2net_tf.estimator import PoseEstimator"]
    )
    def test_another_backend(self, code):
        pytest.importorskip("torch", reason="Keras on torch needs torch")
        run = python(code, KERAS_BACKEND="torch")
        last = run.stderr.splitlines()[-1]
        assert "needs Keras on TensorFlow, and its backend is 'torch'; unset KERAS_BACKEND" in last

    @pytest.mark.slow
    def test_another_backend_on_the_command_line(self):
        run = python("-m", "p2net_tf", "config", "list", KERAS_BACKEND="jax")
        assert run.returncode == 2
        assert (run.stdout + run.stderr).strip() == (
            "error p2net needs Keras on TensorFlow, and its backend is 'jax'; unset KERAS_BACKEND, or set it "
            "to tensorflow, before Python starts"
        )

    @pytest.mark.slow
    def test_the_package_is_a_program(self):
        run = python("-m", "p2net_tf", "--help")
        assert run.returncode == 0
        assert "P2Net: top-down human pose estimation" in run.stdout
