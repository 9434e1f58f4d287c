"""One training, scored and saved, on any number of replicas: what `tests/training/test_strategy.py` compares.

Devices and workers are fixed when TensorFlow starts, so this is a program:

    python replicas.py FOLDER OUT 1 2 4          one process; writes OUT_1.npz, OUT_2.npz, OUT_4.npz
    TF_CONFIG=... python replicas.py FOLDER OUT  one of two workers; writes OUT_INDEX.npz, then worker 1 dies
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from networks import two_convolutions

from p2net_tf.data.coco import read_coco
from p2net_tf.data.pipeline import training_batches, training_dataset
from p2net_tf.training.averaging import AveragedWeights, Calibration
from p2net_tf.training.cluster import naming_lost_workers, worker_of
from p2net_tf.training.collectives import assign_variables, from_all, from_chief, read_variables, saved_shape
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.scoring import Scoring, scoring_batches
from p2net_tf.training.strategy import make_strategy, shard_of

SIZE, BATCH, STEPS = (32, 32), 4, 5
UNEVEN = 5
"""Persons that are scored: the last batch of four holds one."""


def run(strategy, samples) -> dict[str, np.ndarray]:
    """Everything that must not depend on the replicas, and the start of the weights."""
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model, fitted = make_model(samples), make_model(samples)
        fitted.network.set_weights(model.network.get_weights())
    found = {"replicas": np.int64(strategy.num_replicas_in_sync)}
    found |= {"start": flat(model.network.trainable_weights)}
    found |= train(model, strategy, samples)
    found |= score(model, strategy, samples)
    if strategy.num_replicas_in_sync <= 2:  # it takes half a minute for four of them on two cores
        found |= fit(fitted, samples)
    found |= save_and_restore(model, strategy)
    return found


def make_model(samples) -> PoseModel:
    network = two_convolutions(samples.skeleton.num_keypoints, SIZE, synchronized=True)
    model = PoseModel(network, ohkm=10, weight_decay=1e-3)
    model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5))
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, strategy, samples) -> dict[str, np.ndarray]:
    @tf.function
    def step(batch):
        strategy.run(model.train_step, ((batch.crops, batch.keypoints),))

    batches = iter(strategy.distribute_datasets_from_function(lambda context: shared(samples, context)))
    model.reset_metrics()
    for _ in range(STEPS):
        step(next(batches))
    logs = {f"loop_{name}": np.float64(value) for name, value in model.get_metrics_result().items()}
    return {"loop": flat(model.network.weights), "averages": flat(model.optimizer.variables), **logs}


def shared(samples, context):
    return training_batches(samples, SIZE, BATCH, shard=shard_of(context))


def score(model, strategy, samples) -> dict[str, np.ndarray]:
    """Of the averaged weights, with statistics of their own, on a set whose last batch is not full."""

    def calibration(context):
        return shared(samples, context).take(2 * shard_of(context).replicas)

    few = samples.take(slice(UNEVEN))
    scoring = Scoring(model, scoring_batches(strategy, few, SIZE, BATCH))
    batches = strategy.distribute_datasets_from_function(calibration)
    with AveragedWeights(model, Calibration(model.network, batches)):
        weights = flat(model.network.weights)
        scores = [scoring.score() for _ in range(2)]
    assert scores[0] == scores[1]
    return {"averaged": weights, **{f"score_{name}": np.float64(x) for name, x in scores[0].items()}}


def fit(model, samples) -> dict[str, np.ndarray]:
    """On the same batches, which Keras shares out by itself."""
    few = samples.take(slice(2 * BATCH))
    crops, keypoints = next(iter(training_dataset(few, SIZE, 2 * BATCH)))
    people = tf.data.Dataset.from_tensor_slices((crops, keypoints)).batch(BATCH, drop_remainder=True)
    history = model.fit(people, epochs=2, validation_data=people, verbose=0).history
    return {"fit": flat(model.network.weights), **{f"fit_{name}": np.array(x) for name, x in history.items()}}


def save_and_restore(model, strategy) -> dict[str, np.ndarray]:
    variables = [*model.network.variables, *model.optimizer.variables, *model.metrics_variables]
    saved, before = read_variables(strategy, variables), model.get_metrics_result()
    assign_variables(strategy, variables, [np.zeros_like(value) for value in saved])
    assert not any(value.any() for value in read_variables(strategy, variables))
    assign_variables(strategy, variables, saved)
    for value, restored in zip(saved, read_variables(strategy, variables), strict=True):
        np.testing.assert_array_equal(restored, value)
    after = model.get_metrics_result()
    assert {name: float(value) for name, value in before.items()} == {
        name: float(value) for name, value in after.items()
    }
    apart = [saved_shape(variable)[:1] == (None,) for variable in variables]
    parts = np.stack([value for value, is_apart in zip(saved, apart, strict=True) if is_apart])
    # A checkpoint of twice the replicas: what they counted is not lost.
    twice = [np.concatenate([x, x]) if is_apart else x for x, is_apart in zip(saved, apart, strict=True)]
    assign_variables(strategy, variables, twice)
    sums = [value.sum(axis=0) for value in read_variables(strategy, model.metrics_variables)]
    np.testing.assert_allclose(sums, 2 * parts.sum(axis=1), rtol=1e-6)
    return {"parts": parts}


def talk(strategy) -> dict[str, np.ndarray]:
    """Numbers whose bytes a sum of floats would change."""
    worker = worker_of(strategy)
    own = [np.float32([-0.0, np.nan, 1e-45]) * (worker.index + 1), np.array(worker.index == 0), np.arange(3)]
    shapes = {"unlike": np.arange(2 + worker.index)}
    chief = from_chief(strategy, dict(zip("abc", own, strict=True)) if worker.is_chief else shapes)
    assert from_chief(strategy, None if worker.is_chief else shapes) is None
    assert from_all(strategy, []) == [[]] * worker.count
    return {
        "own": bytes_of(own),
        "from_chief": bytes_of([chief[name] for name in "abc"]),
        "from_all": np.stack([bytes_of(arrays) for arrays in from_all(strategy, own)]),
    }


def bytes_of(arrays) -> np.ndarray:
    return np.frombuffer(b"".join(array.tobytes() for array in arrays), np.uint8)


def flat(variables) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(variable)).astype("float64") for variable in variables])


def strategy_of(replicas: int):
    """Groups of devices are told apart by keys, which strategies of one process would share: TensorFlow's own
    tests set them apart like this."""
    tf.distribute.MirroredStrategy._collective_key_base += 100_000
    return make_strategy(replicas)


def main(folder: str, out: str, *replicas: str) -> None:
    strategies = [strategy_of(int(number)) for number in sorted(replicas, key=int, reverse=True)]
    strategies = strategies or [make_strategy()]
    samples = read_coco(Path(folder), "train")
    for strategy in strategies:
        worker = worker_of(strategy)
        name = strategy.num_replicas_in_sync if worker.count == 1 else worker.index
        np.savez(f"{out}_{name}.npz", **run(strategy, samples), **talk(strategy))
        from_all(strategy, [np.zeros(1)])  # worker 1 waits until both have written
        if worker.index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if worker.count > 1:
            with naming_lost_workers(worker):
                from_all(strategy, [np.zeros(1)])


if __name__ == "__main__":
    main(*sys.argv[1:])
