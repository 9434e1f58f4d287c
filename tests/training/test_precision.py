"""Half precision: what stays in float32, what an overflow does, and that files keep it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network, two_convolutions

from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import ExportOptions
from p2net_tf.inference.precision import Precision
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss
from p2net_tf.models import P2Net
from p2net_tf.training.averaging import AveragedWeights
from p2net_tf.training.optimizers import LossScaleOptimizer
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.settings import TrainingConfig
from p2net_tf.utils.compat import averages_of

HALVES = ["mixed_bfloat16", "mixed_float16"]
PRECISIONS = ["float32", *HALVES]


def people(number: int = 4, size: int = 32):
    """Crops and keypoints whose coordinates a half cannot hold."""
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(0, size, (number, 3, 2)), np.full((number, 3, 1), 2)], axis=-1)
    return rng.uniform(size=(number, size, size, 3)).astype("float32"), keypoints.astype("float32")


def half_heatmaps(precision: str, size=(48, 64)) -> dict:
    """Two outputs in half precision, and keypoints far from the origin, where its steps are wide."""
    dtype, rng = precision.removeprefix("mixed_"), np.random.default_rng(1)
    maps = {name: rng.normal(0, 0.3, (4, *size, 3)) for name in ("parallel_4", "heatmaps")}
    return {name: tf.cast(values, dtype) for name, values in maps.items()}


class TestLosses:
    @pytest.mark.parametrize("precision", HALVES)
    def test_are_the_float32_losses_of_half_heatmaps(self, precision):
        keras.config.set_dtype_policy(precision)
        model = PoseModel(two_convolutions(dtype=precision), ohkm=2, weight_decay=0.1)
        keras.config.set_dtype_policy("float32")
        maps = half_heatmaps(precision)
        keypoints = people(size=180)[1]
        exact = {name: tf.cast(values, tf.float32) for name, values in maps.items()}
        losses = model.losses_of(tf.constant(keypoints), maps)
        assert float(losses["intermediate_loss"]) == float(HeatmapLoss()(keypoints, exact["parallel_4"]))
        assert float(losses["final_loss"]) == float(OHKMLoss(2)(keypoints, exact["heatmaps"]))
        persons = model.person_losses(keypoints, maps)
        np.testing.assert_array_equal(persons, model.person_losses(keypoints, exact))
        kernels = [w.numpy() for w in model.trainable_weights if w.name == "kernel"]
        penalty = 0.05 * sum(np.sum(kernel.astype("float64") ** 2) for kernel in kernels)
        assert float(model.penalty()) == pytest.approx(penalty, rel=1e-6)

    @pytest.mark.parametrize("precision", HALVES)
    def test_keypoints_rounded_to_half_would_cost_something_else(self, precision):
        """The test above could not fail otherwise."""
        dtype, keypoints = precision.removeprefix("mixed_"), people(size=180)[1]
        rounded = tf.cast(tf.cast(keypoints, dtype), tf.float32)
        maps = tf.cast(half_heatmaps(precision)["heatmaps"], tf.float32)
        assert float(HeatmapLoss()(keypoints, maps)) != float(HeatmapLoss()(rounded, maps))

    def test_float64_stays(self):
        """What the search's hypergradients are checked in."""
        maps = np.random.default_rng(2).normal(size=(4, 8, 8, 3))
        model = PoseModel(two_convolutions(dtype="float64"), ohkm=2)
        keypoints = tf.constant(people()[1], tf.float64)
        persons = model.person_losses(
            keypoints, {"parallel_4": tf.constant(maps), "heatmaps": tf.constant(maps)}
        )
        assert persons.dtype == tf.float64


@pytest.mark.parametrize("precision", HALVES)
def test_batch_statistics_are_float32(precision):
    """The squares of 300 overflow float16, and its own half step is 0.125; of bfloat16 it is 1."""
    layer = two_convolutions(dtype=precision).layers[2]
    assert isinstance(layer, keras.layers.BatchNormalization)
    x = tf.cast(np.random.default_rng(3).normal(300, 1, (64, 8, 8, 4)), precision.removeprefix("mixed_"))
    exact = x.numpy().astype("float64")
    layer.momentum = 0.0
    assert layer(x, training=True).dtype == x.dtype
    np.testing.assert_allclose(layer.moving_mean, exact.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, exact.var(axis=(0, 1, 2)), rtol=1e-3)


def small_model(precision: str, **changes) -> PoseModel:
    """Compiled as `build_pose_model` does it, around a network that is quick to trace."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    model = PoseModel(two_convolutions(dtype=precision), ohkm=2)
    training = {"learning_rate": 0.01, "schedule": "constant", "ema_momentum": 0.5, **changes}
    model.compile(make_optimizer(TrainingConfig(precision=precision, **training), 10))
    model.optimizer.build(model.trainable_weights)
    return model


def loss_of(model: PoseModel) -> float:
    crops, keypoints = people()
    return float(model.losses_of(keypoints, model.network(crops, training=True))["loss"])


@pytest.mark.slow
class TestTraining:
    @pytest.fixture(scope="class", params=PRECISIONS)
    def trained(self, request):
        """Precision, a model behind twenty steps on the same people, and its loss before."""
        model = small_model(request.param)
        before = loss_of(model)
        model.fit(tf.data.Dataset.from_tensors(people()).repeat(20), verbose=0, shuffle=False)
        return request.param, model, before

    def test_lowers_the_loss(self, trained):
        _, model, before = trained
        assert loss_of(model) < 0.7 * before

    def test_weights_and_optimizer_are_float32(self, trained):
        precision, model, _ = trained
        variables = [*model.network.weights, *model.optimizer.variables]
        assert {v.dtype for v in variables if "float" in v.dtype} == {"float32"}
        assert model.network(people()[0])["heatmaps"].dtype == precision.removeprefix("mixed_")

    def test_float16_scales_its_loss_and_a_checkpoint_keeps_the_scale(self, trained):
        precision, model, _ = trained
        optimizer = model.optimizer
        assert isinstance(optimizer, LossScaleOptimizer) == (precision == "mixed_float16")
        if precision == "mixed_float16":
            kept = {id(variable) for variable in optimizer.variables}
            scale = [optimizer.dynamic_scale, optimizer.step_counter]
            assert {id(variable) for variable in (*scale, *optimizer.inner_optimizer.variables)} <= kept

    def test_rate_steps_and_average_are_reached_through_the_scale(self, trained):
        _, model, _ = trained
        assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
        assert int(model.optimizer.iterations) == 20
        inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        weight, average = model.trainable_weights[0], averages_of(inner)[0][1]
        before, expected = weight.numpy(), average.numpy() + 1.0
        average.assign(expected)
        with AveragedWeights(model):
            np.testing.assert_array_equal(weight, expected)
        np.testing.assert_array_equal(weight, before)


class TestOverflow:
    def test_halves_the_scale_and_leaves_everything_else_alone(self):
        """A scale beyond float16 makes every gradient infinite."""
        model = small_model("mixed_float16")
        model.train_step(people())
        model.optimizer.dynamic_scale.assign(2.0**40)
        kept = [*model.trainable_weights, *model.optimizer.inner_optimizer.variables]
        before = [variable.numpy() for variable in kept]
        model.train_step(people())
        assert float(model.optimizer.dynamic_scale) == 2.0**39
        for variable, value in zip(kept, before, strict=True):
            np.testing.assert_array_equal(variable, value, err_msg=variable.path)

    def test_gradients_are_clipped_without_their_scale(self):
        """Of length 5, clipped to 1: an update of SGD at rate 1 shows it."""
        changes = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 1.0, "clip_norm": 1.0}
        optimizer = make_optimizer(TrainingConfig(precision="mixed_float16", **changes), 1)
        weight = keras.Variable([0.0, 0.0])
        optimizer.build([weight])
        scale = float(optimizer.scale_loss(1.0))
        assert scale == 2.0**15
        optimizer.apply([scale * tf.constant([3.0, 4.0])])
        np.testing.assert_allclose(weight, [-0.6, -0.8], rtol=1e-6)


@pytest.mark.slow
class TestFiles:
    @pytest.fixture(scope="class", params=PRECISIONS)
    def network(self, request) -> P2Net:
        """Of a precision that is set for the process, not stated for the network."""
        keras.config.set_dtype_policy(request.param)
        network = tiny_network(input_size=(32, 32))
        for weight in network.weights:
            if weight.path.endswith("head/kernel"):
                weight.assign(np.random.default_rng(4).normal(0, 0.5, weight.shape))
        assert network.get_config()["dtype"] == request.param
        return network

    def test_give_the_same_heatmaps_whatever_is_set_by_then(self, network, tmp_path):
        network.save(tmp_path / "network.keras")
        expected = network(people()[0])
        assert {maps.dtype for maps in expected.values()} == {tf.float32}
        for policy in PRECISIONS:
            keras.config.set_dtype_policy(policy)
            loaded = keras.saving.load_model(tmp_path / "network.keras")
            for name, maps in loaded(people()[0]).items():
                np.testing.assert_array_equal(maps, expected[name], err_msg=policy)

    @pytest.mark.parametrize("wanted", [Precision.float32, Precision.mixed_bfloat16])
    def test_are_exported_in_the_precision_that_is_asked_for(self, network, wanted):
        """TFLite, for one, has no convolutions in float16."""
        exported = network_to_export(network, ExportOptions(precision=wanted))
        assert exported.get_config()["dtype"] == wanted
        assert (exported is network) == (wanted == network.get_config()["dtype"])
        same = tiny_network(input_size=(32, 32), dtype=wanted.value)
        same.set_weights(network.get_weights())
        crops = people()[0]
        np.testing.assert_array_equal(exported(crops)["heatmaps"], same(crops)["heatmaps"])
