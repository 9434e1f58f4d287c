"""From settings to a searcher: the policy that is learned, and the kind of step that it asks for."""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.mixture import Mixture
from p2net_tf.autopose.mixture_step import MixtureSearcher
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError, make_space
from p2net_tf.autopose.step import Searcher
from p2net_tf.training.pose_model import PoseModel


def make_search_policy(settings: SearchConfig, seed: int) -> Expectation | Mixture:
    """The policy to learn, in the relaxation that `settings` ask for.

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
    return Mixture(space, seed)


def make_searcher(
    model: PoseModel,
    policy: Expectation | Mixture,
    settings: SearchConfig,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Searcher:
    kind = ExpectationSearcher if isinstance(policy, Expectation) else MixtureSearcher
    return kind(model, policy, settings, seed, strategy)
