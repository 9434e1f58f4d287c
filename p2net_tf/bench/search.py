"""What a search step costs, in training steps: `p2net bench search`.

The people are noise: no cost here depends on what is in a picture, and so no data are needed.

A search step has its parts timed one by one as well, the graphs that it is made of. Their shares are of the
whole step; the rest is what a step costs between them, and may be negative where the machine is not idle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.online import OnlineSearcher
from p2net_tf.autopose.settings import policy_steps
from p2net_tf.autopose.step import Searcher
from p2net_tf.bench.subjects import describe_network, noise_people
from p2net_tf.bench.timing import (
    Circumstances,
    in_turns,
    quartiles,
    timed,
)
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.search import build_searcher
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.files import write_text

LIMIT = 2.5
"""Plain training steps that a search step of `expectation` may cost."""
PLAIN, AUGMENTED = "training step", "training step under the policy"
ONLINE = "step of the policy beside the training"
ONLINE_LIMIT = 0.25
"""Of a training's time that `policy: learn` may add."""
_LONG = 100_000
"""Steps of a training whose warm-up does not count."""


def bench_search(
    config: ExperimentConfig,
    out: str | Path,
    repeats: int = 30,
    mixture: bool = False,
    command: str = "",
) -> dict:
    """Measures one training step and one search step on one batch, writes the JSON and returns it.

    Both are of `search.batch_size` people and on one device; a search step moves weights and policy.

    Args:
        repeats: rounds that count.
        mixture: also a step of `mixture` with double backprop, whatever the relaxation of `config`.
        command: the command line, for the report.
    """
    searcher = _searcher(config, "expectation")
    settings, model = config.search, searcher.model
    people = model.network.num_keypoints, config.model.input_size
    inner = noise_people(settings.batch_size, *people)
    outer = noise_people(settings.outer_batch_size or settings.batch_size, *people)
    # Half of the people are augmented then, and operations are drawn both by the policy and at random.
    number = settings.steps // 2
    functions = {
        PLAIN: lambda: searcher.train_plain(inner),
        AUGMENTED: lambda: searcher.train_augmented(inner, tf.constant(number, tf.int64)),
        "expectation": lambda: searcher.search_step(inner, outer, number),
    }
    if mixture:
        other = _searcher(config, "mixture")
        functions["mixture"] = lambda: other.search_step(inner, outer, number)
    online = _online_searcher(config)
    online.train_plain(inner)  # Adam's scales are those of a step
    functions[ONLINE] = lambda: online.policy_step(inner, inner, outer, number)
    parts = _parts_of(searcher, inner, outer, number)
    circumstances = Circumstances(command, seed=config.seed)
    seconds = in_turns({name: timed(function) for name, function in (functions | parts).items()}, repeats)
    whole = np.median(seconds["expectation"])
    shares = {name: float(np.median(seconds[name]) / whole) for name in parts}
    report = {
        "title": config.name,
        "limit": LIMIT,
        "ratio": {name: quartiles(seconds[name] / seconds[PLAIN]) for name in functions if name != PLAIN},
        "seconds": {name: quartiles(seconds[name]) for name in functions},
        "parts": {name: {**quartiles(seconds[name]), "share": shares[name]} for name in parts},
        "rest_share": 1.0 - sum(shares.values()),
        "online": {
            "every": settings.online.every,
            "limit": ONLINE_LIMIT,
            "steps_per_training_step": policy_steps(settings, _LONG) / _LONG,
            "added": quartiles(seconds[ONLINE] / seconds[AUGMENTED] * policy_steps(settings, _LONG) / _LONG),
            "memory_bytes": _online_bytes(online),
        },
        "batch": {
            "inner": len(inner[0]),
            "outer": len(outer[0]),
            "chains_per_person": settings.chains_per_person,
        },
        "space": searcher.policy.space._asdict(),
        "network": describe_network(config, model.network),
        "repeats": repeats,
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def _online_searcher(config: ExperimentConfig) -> OnlineSearcher:
    """Of one distribution over single operations, as `policy: learn` has it."""
    single = config.search.model_copy(update={"sub_policies": 1, "stages": 1})
    searcher = _searcher(config.model_copy(update={"search": single}), "expectation")
    return OnlineSearcher(searcher.model, searcher.policy, single, config.seed)


def _online_bytes(searcher: OnlineSearcher) -> int:
    """What it keeps beside the training: tables and their moments."""
    moments = [variable for optimizer in searcher.policy_optimizers for variable in optimizer.variables]
    kept = [*searcher.policy.variables, *moments]
    return sum(int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size for variable in kept)


def _searcher(config: ExperimentConfig, relaxation: str) -> Searcher:
    search = config.search.model_copy(update={"relaxation": relaxation, "hypergradient": None})
    training = config.training.model_copy(update={"replicas": 1})
    skeleton = Skeleton.load(config.data.skeleton)
    return build_searcher(config.model_copy(update={"search": search, "training": training}), skeleton)


def _parts_of(searcher: ExpectationSearcher, inner, outer, number: int) -> dict[str, Callable]:
    """The parts of `ExpectationSearcher.step`, each on what the parts before it give."""
    half, number = tf.constant(0.5), tf.constant(number, tf.int64)
    batch = searcher.sample_augmented(inner, number, half)
    gradients, _ = searcher.weight_gradients(batch)
    direction, _ = searcher.lookahead_direction(gradients, outer)
    scored, chains, importance = searcher.sample_scored(inner, number, half)
    scores = searcher.chain_scores(scored, direction)

    def update():
        policy_gradients, noise = searcher.policy_gradients(chains, importance, scores)
        searcher.update_policy(policy_gradients)
        searcher.update_weights(gradients)
        return noise

    return {
        "augmentation of the training batch": lambda: searcher.sample_augmented(inner, number, half),
        "gradient of the weights": lambda: searcher.weight_gradients(batch),
        "validation gradient at the look-ahead": lambda: searcher.lookahead_direction(gradients, outer),
        "chains and augmentation of the scored people": lambda: searcher.sample_scored(inner, number, half),
        "scores by forward mode": lambda: searcher.chain_scores(scored, direction),
        "gradient of the policy, updates": update,
    }
