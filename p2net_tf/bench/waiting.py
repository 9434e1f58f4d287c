"""How long a training waits for its data, on the machine that does both."""

from __future__ import annotations

import time

import tensorflow as tf

from p2net_tf.bench.step import build_step_model
from p2net_tf.bench.subjects import describe_network
from p2net_tf.bench.timing import WARM_UP
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.image_cache import open_image_cache
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.samples import Samples
from p2net_tf.training.loop import Clock, make_step_function
from p2net_tf.utils.console import track

LIMIT = 0.05
"""Of the time of a training that may be spent waiting for data."""


def measure_waiting(config: ExperimentConfig, samples: Samples, steps: int = 10) -> dict:
    """Trains the network of `config` on `samples` for some steps, as the training loop does."""
    model = build_step_model(config, samples.skeleton)
    step = make_step_function(model, tf.distribute.get_strategy())
    batches = iter(
        training_batches(
            samples,
            config.model.input_size,
            config.training.batch_size,
            config.augment,
            config.data.box_padding,
            store=open_image_cache(samples),
        )
    )
    clock = Clock()
    for number in track(range(WARM_UP + steps), "training steps"):
        start = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        float(step(batch, tf.constant(0.0))[0])
        if number >= WARM_UP:
            clock.waiting += ready - start
            clock.training += time.perf_counter() - ready
            clock.steps += 1
    return {
        "limit": LIMIT,
        "share": clock.waiting_share,
        "steps": clock.steps,
        "steps_per_second": clock.steps_per_second,
        "batch": config.training.batch_size,
        "network": describe_network(config, model.network),
    }
