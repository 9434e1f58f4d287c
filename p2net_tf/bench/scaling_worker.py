"""A process of `p2net bench scaling`, under `TF_CONFIG`: `python -m ... CONFIG BATCH ROUNDS OUT`."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from p2net_tf.bench.scaling import GRADIENTS, STATISTICS, STEP
from p2net_tf.bench.step import build_step_model, training_step
from p2net_tf.bench.subjects import noise_people
from p2net_tf.bench.timing import in_turns, timed
from p2net_tf.config.loading import load_pose_config
from p2net_tf.layers.compat import sublayers
from p2net_tf.models.summary import summarize
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.strategy import make_strategy
from p2net_tf.utils.files import write_text


def main(config_file: str, batch: str, rounds: str, out: str) -> None:
    strategy = make_strategy()  # before anything runs
    config = load_pose_config(config_file)
    skeleton = Skeleton.load(config.data.skeleton)
    with strategy.scope():
        model = build_step_model(config, skeleton, strategy.num_replicas_in_sync)
    people = noise_people(int(batch), skeleton.num_keypoints, config.model.input_size)
    channels = [
        layer.moving_mean.shape[0]
        for layer in sublayers(model.network)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    functions = {STEP: training_step(model, *people, strategy)}
    if strategy.num_replicas_in_sync > 1:
        shapes = [tuple(weight.shape) for weight in model.trainable_variables]
        functions[GRADIENTS] = all_reduce(strategy, shapes)
        functions[STATISTICS] = all_reduce_in_turn(strategy, channels + channels[::-1])
    seconds = in_turns({name: timed(function) for name, function in functions.items()}, int(rounds))
    size = summarize(model.network)
    found = {
        "seconds": {name: values.tolist() for name, values in seconds.items()},
        "parameters": size["parameters"],
        "multiply_adds": size["multiply_adds"],
        "batch_normalizations": len(channels),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    write_text(Path(out), json.dumps(found))


def all_reduce(strategy: tf.distribute.Strategy, shapes: list[tuple[int, ...]]) -> Callable:
    """The sum over the replicas of tensors of these shapes, all at once, as an optimizer asks for it."""

    def on_replica():
        values = [tf.ones(shape) for shape in shapes]
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    @tf.function(autograph=False)
    def run():
        return [value[(0,) * len(value.shape)] for value in _first(strategy, strategy.run(on_replica))]

    return run


def all_reduce_in_turn(strategy: tf.distribute.Strategy, channels: list[int]) -> Callable:
    """Sums of two vectors and a count of each number of channels, each after the one before it."""

    def on_replica():
        context, before = tf.distribute.get_replica_context(), tf.zeros(())
        for count in channels:
            values = [tf.ones(count) + before, tf.ones(count) + before, tf.ones(1)]
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
            before = 0 * sums[0][0]
        return [before]

    @tf.function(autograph=False)
    def run():
        return _first(strategy, strategy.run(on_replica))

    return run


def _first(strategy: tf.distribute.Strategy, values) -> list:
    """Of this process' replicas, which have all the same."""
    return [strategy.experimental_local_results(value)[0] for value in values]


if __name__ == "__main__":
    main(*sys.argv[1:])
