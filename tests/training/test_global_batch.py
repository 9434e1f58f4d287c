"""An update is that of the global batch: the same on 1, 2 and 4 replicas, accumulated or not."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import replica_updates
import tensorflow as tf
from replica_updates import BATCHES, CASES, CLASSES, COMMON, OVERFLOWN

from p2net_tf.training.optimizers import SGD, Adam
from p2net_tf.utils.compat import averages_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> dict:
    """Case -> what it did on 1, 2 and 4 replicas."""
    command = [sys.executable, replica_updates.__file__]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


def updates_of(case: str) -> list[list[np.ndarray]]:
    """The gradients that are due an update: means over as many batches as are accumulated."""
    batches = [i for i in range(BATCHES) if not (case.endswith("scaled") and i == OVERFLOWN)]
    size = CASES[case].get("gradient_accumulation_steps", 1)
    whole = [batches[i : i + size] for i in range(0, len(batches) - size + 1, size)]
    totals = [part.sum(axis=1) for part in replica_updates.shares()]
    return [[total[rows].mean(axis=0) for total in totals] for rows in whole]


def keras_on_one_device(case: str) -> tuple[list, list]:
    """Weights and averages when Keras' own optimizer is handed each global gradient as a whole."""
    options = {k: v for k, v in CASES[case].items() if k != "gradient_accumulation_steps"}
    optimizer = getattr(keras.optimizers, CLASSES[case.split()[0]])(**COMMON, **options)
    weights = [keras.Variable(w, dtype="float64") for w in replica_updates.start_values()]
    if "weight_decay" in options:
        optimizer.exclude_from_weight_decay(var_list=[weights[1].value])
    optimizer.build(weights)
    for gradients in updates_of(case):
        optimizer.apply([tf.constant(gradient) for gradient in gradients])
    averages = [average for _, average in averages_of(optimizer)] if optimizer.use_ema else []
    return [w.numpy() for w in weights], [w.numpy() for w in averages]


@pytest.mark.parametrize("case", CASES)
def test_equals_keras_on_the_global_batch(found, case):
    weights, averages = keras_on_one_device(case)
    assert [result["replicas"] for result in found[case]] == [1, 2, 4]
    for result in found[case]:
        for name, expected in {"weights": weights, "averages": averages}.items():
            for one, other in zip(result[name], expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8, err_msg=str(result["replicas"]))


@pytest.mark.parametrize("case", CASES)
def test_counts_updates_and_leaves_replicas_alike(found, case):
    for result in found[case]:
        assert result["updates"] == len(updates_of(case))
        assert result["on_every_replica"]


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith("scaled")])
def test_an_overflow_on_any_replica_halves_the_scale_of_all(found, case):
    """Infinite is the last share: on two and four replicas the first one knows nothing of it."""
    assert [result["scale"] for result in found[case]] == [512, 512, 512]


def test_the_gradients_are_long_enough_to_be_clipped_and_short_enough_not_to():
    """Else the cases above would not tell whether, and where, it is clipped."""
    for case in CASES:
        norms = [np.sqrt(sum(np.sum(part**2) for part in gradients)) for gradients in updates_of(case)]
        assert max(norms) > COMMON["global_clipnorm"]
    shares = replica_updates.shares()
    of_shares = np.sqrt(sum(np.sum(part.reshape(BATCHES, 4, -1) ** 2, axis=-1) for part in shares))
    assert (of_shares < COMMON["global_clipnorm"]).any()


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 * (keras.ops.cast(step, "float32") + 1)


class TestAccumulation:
    def test_nothing_moves_before_the_last_batch(self):
        """Then one step along the mean, at the rate of the update and not of the batch."""
        optimizer = SGD(Rising(), gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5)
        weight = keras.Variable([1.0, 2.0])
        optimizer.build([weight])
        average = averages_of(optimizer)[0][1]
        expected, seen = [[1, 2], [0.8, 1.9], [0.8, 1.9], [0.2, 1.9]], []
        for gradient in ([1.0, 0.0], [3.0, 2.0], [2.0, -4.0], [4.0, 4.0]):
            optimizer.apply([tf.constant(gradient)])
            seen.append(weight.numpy())
        np.testing.assert_allclose(seen, expected, rtol=1e-6)
        np.testing.assert_allclose(average, [0.5, 1.9], rtol=1e-6)
        assert int(optimizer.iterations.numpy()) == 2

    def test_before_the_first_update_the_average_is_the_weights(self):
        """A validation may come first, and what it found best would be saved as zeros."""
        optimizer = SGD(1.0, gradient_accumulation_steps=2, use_ema=True)
        weight = keras.Variable([1.0, 2.0])
        optimizer.build([weight])
        optimizer.apply([tf.constant([3.0, 3.0])])
        optimizer.finalize_variable_values([weight])
        np.testing.assert_array_equal(weight, [1, 2])

    def test_half_of_an_update_is_in_the_variables(self):
        """So a run goes on between two updates from what a checkpoint keeps of its optimizer."""
        gradients = [tf.constant([float(i), 1.0]) for i in range(1, 7)]

        def start():
            optimizer, weight = Adam(0.1, gradient_accumulation_steps=3), keras.Variable([1.0, 2.0])
            optimizer.build([weight])
            return optimizer, weight

        optimizer, weight = start()
        for gradient in gradients[:4]:
            optimizer.apply([gradient])
        resumed, copy = start()
        copy.assign(weight)
        for mine, theirs in zip(resumed.variables, optimizer.variables, strict=True):
            mine.assign(theirs)
        for gradient in gradients[4:]:
            optimizer.apply([gradient])
            resumed.apply([gradient])
        np.testing.assert_array_equal(copy, weight)
        assert int(resumed.iterations.numpy()) == 2

    def test_sparse_gradients_accumulate(self):
        optimizer, weight = (
            SGD(1.0, gradient_accumulation_steps=2),
            keras.Variable(np.zeros((3, 1), "float32")),
        )
        optimizer.build([weight])
        for row in (0, 2):
            optimizer.apply([tf.IndexedSlices(tf.ones((1, 1)), [row], (3, 1))])
        np.testing.assert_allclose(weight, [[-0.5], [0], [-0.5]])


def test_overwriting_weights_with_their_average_is_refused():
    with pytest.raises(ValueError, match="ema_overwrite_frequency"):
        SGD(1.0, use_ema=True, ema_overwrite_frequency=3)
