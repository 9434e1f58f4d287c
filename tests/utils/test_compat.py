"""What is private to Keras, TensorFlow and LiteRT still does what it is taken for. One test per name."""

import ast
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import ExponentialDecay

import p2net_tf
from p2net_tf.utils import compat

PACKAGE = Path(p2net_tf.__file__).parent
PUBLIC = {"_asdict", "_fields", "_replace", "_exit"}
"""Documented by Python, in spite of the underscore: of named tuples, and `os._exit`."""
LEFT_TO_ITSELF = PACKAGE / "experiments" / "tuner"
"""The one place that keras-tuner's private parts are used in."""


def stepped(optimizer, *gradients, start=8.0):
    """A variable after one step along each of `gradients`; the optimizer keeps what it learned."""
    variable = keras.Variable([start])
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([tf.constant([gradient])])
    return variable


def test_averages():
    """To hold the averaged weights for a validation, and get the weights back."""
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75)
    variable = stepped(optimizer, 1.0, 1.0)
    [(weight, average)] = compat.averages_of(optimizer)
    assert weight is variable
    assert float(average[0]) == 0.75 * 7 + 0.25 * 6


def test_moments_of_adam():
    """TensorFlow's kernel of Adam takes both; the look-ahead of a search divides by the second."""
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.9, beta_2=0.99)
    stepped(optimizer, 2.0)
    [momentum], [velocity] = compat.adam_momentums(optimizer), compat.adam_velocities(optimizer)
    assert float(momentum[0]) == pytest.approx(0.1 * 2.0)
    assert float(velocity[0]) == pytest.approx(0.01 * 4.0)


def test_variable_index():
    """To find the moments of a variable, of which a strategy hands out the native copy."""
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables)
    assert [compat.variable_index(optimizer, v) for v in reversed(variables)] == [1, 0]
    assert compat.variable_index(optimizer, variables[1].value) == 1


def test_accumulated_gradients():
    """Sums over the replicas are accumulated, and the schedule counts updates, not micro-batches."""
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    variable = stepped(optimizer, 2.0, 5.0)
    [held] = compat.gradient_accumulators(optimizer)
    assert (float(held[0]), float(variable[0])) == (7.0, 8.0)
    assert (int(compat.micro_batches(optimizer)), int(optimizer.iterations)) == (2, 0)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ({"global_clipnorm": 1.0}, (0.6, 0.8)),
        ({"clipnorm": 3.5}, (3.0, 3.5)),
        ({"clipvalue": 2.0}, (2, 2)),
        ({}, (3, 4)),
    ],
)
def test_clip_gradients(clip, expected):
    """Behind the sum over the replicas, as only the global gradient has the norm that is meant."""
    gradients = [tf.constant([3.0]), tf.constant([4.0])]
    clipped = compat.clip_gradients(keras.optimizers.SGD(0.1, **clip), gradients)
    np.testing.assert_allclose(np.ravel(clipped), expected, rtol=1e-6)


def test_decays_weight():
    """AdamW decays kernels, and neither biases nor the scales and shifts of normalizations."""
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])
    assert [compat.decays_weight(optimizer, v) for v in (kernel, bias)] == [True, False]


def test_learning_rate_of():
    """The public `learning_rate` asks a schedule with the micro-batches."""
    schedule = ExponentialDecay(0.8, 1, 0.5)
    optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=2)
    stepped(optimizer, 1.0, 1.0)
    assert compat.learning_rate_of(optimizer) is schedule
    assert float(optimizer.learning_rate) == pytest.approx(0.2)
    assert float(keras.optimizers.SGD(0.3).learning_rate) == pytest.approx(0.3)


class TestOptimizerHooks:
    def test_apply_shares(self):
        """The sum over the replicas has to come before clipping."""

        class Doubled(compat.OptimizerHooks, keras.optimizers.SGD):
            def apply_shares(self, gradients, variables):
                super().apply_shares([2 * gradient for gradient in gradients], variables)

        assert float(stepped(Doubled(1.0), 1.0)[0]) == 8.0 - 2.0

    def test_current_learning_rate(self):
        """The rate that a step takes is the public one, too."""

        class Halved(compat.OptimizerHooks, keras.optimizers.SGD):
            def current_learning_rate(self):
                return 0.5 * super().current_learning_rate()

        optimizer = Halved(1.0)
        assert float(stepped(optimizer, 1.0)[0]) == 8.0 - 0.5
        assert float(optimizer.learning_rate) == 0.5


def test_merge_replicas():
    """Variables are updated once for all replicas; under any strategy, so that nobody need ask which."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")

    @tf.function
    def step():
        return strategy.run(
            lambda: compat.merge_replicas(lambda s, x: x * s.num_replicas_in_sync, strategy, 3.0)
        )

    assert float(step()) == 3.0


class Line(compat.FitHooks, keras.Model):
    """`y = w x` from w = 0."""

    def __init__(self):
        super().__init__()
        self.scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def call(self, x):
        return self.scale(x)


def fit(model) -> dict[str, list[float]]:
    """The history of one epoch on points of y = 3 x, without moving: a loss of 9."""
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model.fit(np.ones((4, 1)), np.full((4, 1), 3.0), batch_size=4, verbose=0).history


class TestFitHooks:
    @pytest.mark.parametrize("builds", [True, False])
    def test_prepare_first_step(self, builds):
        """Keras averages a distributed batch to build a model from it, which several workers cannot."""

        class Prepared(Line):
            def prepare_first_step(self):
                self.was_built = self.built
                return builds

        model = Prepared()
        if not builds:
            model(np.ones((1, 1)))
        assert fit(model) == {"loss": [9.0]}
        assert model.was_built is not builds

    def test_adapt_step(self):
        """Keras averages the logs of the workers along an axis that scalars do not have."""

        class Doubled(Line):
            def adapt_step(self, step):
                return lambda data: {"twice": 2 * step(data)["loss"]}

        assert fit(Doubled()) == {"twice": [18.0]}


def test_lite_operations():
    """Which results of a file to leave in float32 is found along its operations."""
    function = tf.function(lambda x: tf.cos(tf.exp(x)), input_signature=[tf.TensorSpec([1, 3])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    first, second = compat.lite_operations(interpreter)[:2]
    assert (first["op_name"], second["op_name"]) == ("EXP", "COS")
    assert list(first["outputs"]) == list(second["inputs"])
    names = {tensor["index"] for tensor in interpreter.get_tensor_details()}
    assert set(first["inputs"]) <= names


def test_nothing_private_is_used_elsewhere():
    """An attribute with an underscore that no module of this package defines is somebody else's."""
    trees = {file: ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")}
    nodes = [(file, node) for file, tree in trees.items() for node in ast.walk(tree)]
    defined = PUBLIC | {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {n.attr for _, n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    defined |= {n.id for _, n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno} {node.attr}"
        for file, node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and node.attr not in defined
        and file.name != "compat.py"
        and LEFT_TO_ITSELF not in file.parents
    ]
    found += [
        f"{file.relative_to(PACKAGE)}:{node.lineno} {node.module}"
        for file, node in nodes
        if isinstance(node, ast.ImportFrom)
        and {"src", "python", "__internal__"} & set((node.module or "").split("."))
        and LEFT_TO_ITSELF not in file.parents
    ]
    found += [
        f"{file.relative_to(PACKAGE)}:{node.lineno} __internal__"
        for file, node in nodes
        if isinstance(node, ast.Attribute) and node.attr == "__internal__" and file.name != "compat.py"
    ]
    assert found == []


def test_build_compiled_metrics():
    """Their variables belong into the first checkpoint, and Keras makes them at the first batch."""
    crops = keras.Input((2,))
    model = keras.Model(crops, keras.layers.Dense(1)(crops))
    model.compile(loss="mse", metrics=["mae"])
    before = len(model.metrics_variables)
    compat.build_compiled_metrics(model, keras.KerasTensor((None, 1)), keras.KerasTensor((None, 1)))
    assert len(model.metrics_variables) == before + 2
    model.compile(loss="mse")
    compat.build_compiled_metrics(model, keras.KerasTensor((None, 1)), keras.KerasTensor((None, 1)))


def test_wrapped_function():
    """To refuse Keras' own losses in classes of somebody else."""
    square = keras.losses.mean_squared_error
    assert compat.wrapped_function(keras.metrics.MeanMetricWrapper(square)) is square
    assert compat.wrapped_function(keras.losses.MeanSquaredError()) is square
    assert compat.wrapped_function(keras.losses.Loss()) is None
    assert compat.wrapped_function(keras.metrics.Mean()) is None


def test_losses_are_kept_apart():
    """Replicas run in threads that take turns within a forward pass."""
    crops = keras.Input((2,))
    model = keras.Model(crops, keras.layers.Dense(1, activity_regularizer="l1")(crops))
    compat.keep_losses_apart(model)
    found, first_called = {}, threading.Event()

    def first():
        model(tf.ones([1, 2]))
        first_called.set()
        second_thread.join()
        found["first"] = [float(loss) for loss in model.losses]

    def second():
        first_called.wait()
        model(10 * tf.ones([1, 2]))
        found["second"] = [float(loss) for loss in model.losses]

    first_thread, second_thread = (threading.Thread(target=one) for one in (first, second))
    for thread in (second_thread, first_thread):
        thread.start()
    first_thread.join()
    assert len(found["first"]) == len(found["second"]) == 1
    assert found["second"][0] == pytest.approx(10 * found["first"][0], rel=1e-5)
