"""What a training step costs beside the bare network: `p2net bench step`.

The step is the training's own: loss with heatmaps drawn on the device, gradient, update, metrics, and the
loss read back for the log. The bare step is the same network's forward and backward pass and update by the
same kind of optimizer, for the plain mean of its outputs. Both are graphs on one device and one batch of
noise. The parts are measured as graphs of their own; they overlap where the step shares their work.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.bench.subjects import describe_network, noise_people
from p2net_tf.bench.timing import (
    Circumstances,
    graph_of,
    in_turns,
    quartiles,
    timed,
)
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.pipeline import TrainingBatch
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.keypoints import heatmaps
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.loop import make_step_function
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.utils.files import write_text

LIMIT = 1.10
"""Bare steps that a training step may cost."""
STEP, BARE = "training step", "bare network"


def bench_step(config: ExperimentConfig, out: str | Path, repeats: int = 20, command: str = "") -> dict:
    """Measures both on `training.batch_size` people, writes the JSON and returns it.

    Args:
        repeats: rounds that count.
        command: the command line, for the report.
    """
    model = build_step_model(config, Skeleton.load(config.data.skeleton))
    people = noise_people(config.training.batch_size, model.network.num_keypoints, config.model.input_size)
    functions = {STEP: training_step(model, *people), BARE: bare_step(config, model.network, people[0])}
    parts = _parts_of(model, *people)
    circumstances = Circumstances(command, seed=config.seed)
    seconds = in_turns({name: timed(function) for name, function in (functions | parts).items()}, repeats)
    whole = np.median(seconds[STEP])
    report = {
        "title": config.name,
        "limit": LIMIT,
        "ratio": quartiles(seconds[STEP] / seconds[BARE]),
        "seconds": {name: quartiles(seconds[name]) for name in functions},
        "parts": {
            name: {**quartiles(seconds[name]), "share": float(np.median(seconds[name]) / whole)}
            for name in parts
        },
        "batch": config.training.batch_size,
        "precision": config.training.precision,
        "optimizer": config.training.optimizer,
        "network": describe_network(config, model.network),
        "repeats": repeats,
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def build_step_model(config: ExperimentConfig, skeleton: Skeleton, replicas: int = 1) -> PoseModel:
    """The model of `config` with random weights, which cost what others do."""
    keras.utils.set_random_seed(config.seed)
    return build_pose_model(config, skeleton, steps=1000, replicas=replicas, download=False)


def training_step(
    model: PoseModel, crops, keypoints, strategy: tf.distribute.Strategy | None = None
) -> Callable[[], tuple[float, float]]:
    """The step as the training loop runs it, on one batch, which is that of each replica."""
    step = make_step_function(model, strategy or tf.distribute.get_strategy())
    rows = tf.range(len(crops), dtype=tf.int64)
    batch, going_on = TrainingBatch(crops, keypoints, rows, rows), tf.constant(0.0)
    return lambda: tuple(float(value) for value in step(batch, going_on))


def bare_step(config: ExperimentConfig, network: keras.Model, crops) -> Callable[[], float]:
    """Forward pass, backward pass and update, for the mean of all outputs."""
    optimizer = make_optimizer(config.training, 1000)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step(crops):
        with tf.GradientTape() as tape:
            outputs = network(crops, training=True)
            loss = tf.add_n([tf.reduce_mean(tf.cast(maps, tf.float32)) for maps in outputs.values()])
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    return lambda: float(step(crops))


def _parts_of(model: PoseModel, crops, keypoints) -> dict[str, Callable]:
    """What a training step does beside the bare one, given the network's outputs."""
    outputs = {name: tf.zeros_like(maps) for name, maps in model.network(crops, training=False).items()}
    size = tuple(outputs["heatmaps"].shape[1:3])

    def draw():
        return heatmaps.encode(keypoints, size, model.sigma)

    def losses():
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = model.losses_of(keypoints, outputs)["loss"]
        return tape.gradient(loss, list(outputs.values()))

    def penalty():
        with tf.GradientTape() as tape:
            loss = tf.convert_to_tensor(model.penalty())
        return [found for found in tape.gradient(loss, model.trainable_weights) if found is not None]

    def metrics():
        return model.accuracy.update_state(keypoints, outputs["heatmaps"])

    parts = {
        "heatmaps, drawn once": draw,
        "losses and their gradients": losses,
        "penalty of the weights": penalty,
        "accuracy": metrics,
    }
    return {name: graph_of(part) for name, part in parts.items()}
