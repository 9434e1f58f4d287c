"""From settings to a searcher: the relaxed policy, the network, and the kind of step that they ask for."""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.mixture import Mixture
from p2net_tf.autopose.mixture_step import MixtureSearcher
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError, make_space
from p2net_tf.autopose.step import Searcher
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.training import build_pose_model
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import effective_learning_rate
from p2net_tf.training.strategy import one_host_strategy


def build_searcher(config: ExperimentConfig, skeleton: Skeleton) -> Searcher:
    """A searcher before its first step, on as many devices of this host as `training.replicas` says.

    Raises:
        SearchError: a precision whose loss has to be scaled, which a search does not do.
    """
    settings, training = config.search, config.training
    if training.precision == "mixed_float16":
        raise SearchError(
            "training.precision=mixed_float16: a search has losses of losses, and scales none of them; "
            "set training.precision=float32 or mixed_bfloat16"
        )
    keras.utils.set_random_seed(config.seed)
    rate = settings.weights_learning_rate or effective_learning_rate(training)
    changes = {"learning_rate": rate, "learning_rate_batch": None, "accumulate": 1}
    changes |= {"schedule": "constant", "ema_momentum": None, "warmup_steps": 0}
    plain = config.model_copy(update={"training": training.model_copy(update=changes)})
    strategy = one_host_strategy(training.replicas)
    with strategy.scope():
        model = build_pose_model(plain, skeleton, steps=1, replicas=strategy.num_replicas_in_sync)
        relaxed = make_relaxed(settings, config.seed)
    return make_searcher(model, relaxed, settings, config.seed, strategy)


def make_relaxed(settings: SearchConfig, seed: int) -> Expectation | Mixture:
    """The relaxed policy that `settings` ask for.

    Raises:
        SearchError: unknown operations, or a hypergradient that the relaxation does not have.
    """
    space = make_space(settings.sub_policies, settings.stages, settings.operations)
    if settings.relaxation == "expectation":
        if settings.hypergradient not in (None, "scores"):
            raise SearchError(
                f"search.hypergradient={settings.hypergradient}: `expectation` samples its operations, and "
                "only `scores` sees through that; leave it out, or set search.relaxation=mixture"
            )
        return Expectation(space)
    if settings.hypergradient == "scores":
        raise SearchError(
            "search.hypergradient=scores: belongs to search.relaxation=expectation; for mixture take "
            "double_backprop, unrolled or finite_differences"
        )
    return Mixture(*space, seed)


def make_searcher(
    model: PoseModel,
    relaxed: Expectation | Mixture,
    settings: SearchConfig,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Searcher:
    kind = ExpectationSearcher if isinstance(relaxed, Expectation) else MixtureSearcher
    return kind(model, relaxed, settings, seed, strategy)
