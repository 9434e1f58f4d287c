"""What is searched: K sub-policies of N stages, each a choice among O operations (section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from p2net_tf.augment.operations import OPERATION_NAMES, OPERATIONS
from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import did_you_mean

DECIMALS = 3
"""Of probabilities and magnitudes in a discretised policy."""


class SearchError(UserError):
    """A search that cannot be run; the message names the field and the remedy."""


class SearchSpace(NamedTuple):
    """Sub-policies K, stages N, and the names of the O candidates."""

    sub_policies: int = 3
    stages: int = 2
    operations: tuple[str, ...] = OPERATION_NAMES

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.sub_policies, self.stages, len(self.operations)

    @property
    def rows(self) -> list[int]:
        """Rows of the candidates in `OPERATION_NAMES`."""
        return [OPERATION_NAMES.index(name) for name in self.operations]


def make_space(sub_policies: int, stages: int, operations: Sequence[str] | None) -> SearchSpace:
    """Checks the names.

    Raises:
        SearchError: an unknown operation, one named twice, or fewer than two.
    """
    names = OPERATION_NAMES if operations is None else tuple(operations)
    for name in names:
        if name not in OPERATIONS:
            raise SearchError(f"search.operations: unknown '{name}'{did_you_mean(name, OPERATION_NAMES)}")
    if len(set(names)) != len(names) or len(names) < 2:
        raise SearchError(f"search.operations: {list(names)} must be at least two different operations")
    return SearchSpace(sub_policies, stages, names)


def discretize(
    space: SearchSpace,
    weights,
    probabilities,
    magnitudes,
    spreads=None,
    name: str = "learned",
    provenance: dict | None = None,
) -> Policy:
    """The most likely operation of every stage, with its probability and magnitude as learned.

    Args:
        weights, probabilities, magnitudes, spreads: `[K, N, O]`.
    """
    weights = np.asarray(weights)
    spreads = np.zeros(space.shape) if spreads is None else np.asarray(spreads)
    best = weights.argmax(axis=-1)

    def stage(k: int, n: int) -> Stage:
        o = best[k, n]
        values = (np.asarray(table)[k, n, o] for table in (probabilities, magnitudes, spreads))
        probability, magnitude, spread = (round(float(value), DECIMALS) for value in values)
        return Stage(
            operation=space.operations[o], probability=probability, magnitude=magnitude, spread=spread
        )

    sub_policies = [[stage(k, n) for n in range(space.stages)] for k in range(space.sub_policies)]
    return Policy(sub_policies=sub_policies, name=name, provenance=provenance or {})
