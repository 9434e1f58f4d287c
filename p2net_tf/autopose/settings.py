"""The `search` section of a configuration: Auto-Pose (section 3.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from p2net_tf.data.settings import DatasetConfig
from p2net_tf.utils.yaml_files import Probability, Section

LEARN = "learn"
"""What the configuration's `policy` says where the policy is learned while the network trains."""

Level = Annotated[float, Field(ge=0, le=10)]


class PlantConfig(Section):
    """Makes the outer part of a search differ from the inner one by a known operation, to see it found."""

    operation: str
    """A name of `p2net policy list`."""
    magnitude: tuple[Level, Level] = (0.0, 10.0)
    """Levels between which each person's is drawn; both signs occur."""


class OnlineConfig(Section):
    """`policy: learn`: the policy is learned while the network trains, as one distribution over single
    operations, of which every person draws several. The tables that these defaults come from are in
    docs/auto_pose.md."""

    every: PositiveInt = 8
    """Training steps from one step of the policy to the next."""
    draws: PositiveInt = 2
    """Operations that a person in training draws, one after the other."""
    uniform: Probability = 0.3
    """Share of them drawn uniformly: variety that evidence does not have to pay for."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """With which an operation is applied at the start."""
    scores: Literal["raw", "relative"] = "raw"
    """relative: a person's scores are divided by its loss, so that hard people do not drown the others."""
    join: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of the training after which the policy stays as it is, and the people it was judged by are
    trained on like all others."""
    magnitude_learning_rate: Annotated[float, Field(ge=0)] = 0.03
    """Of the levels; slower than in a search, which begins anew where this one goes on."""


class SearchConfig(Section):
    """Auto-Pose: the search of an augmentation policy (section 3.4, equations 6 to 8)."""

    relaxation: Literal["expectation", "mixture"] = "expectation"
    """expectation: sampled hard operations. mixture: equation 6 to the letter, averaged images."""
    hypergradient: Literal["scores", "double_backprop", "unrolled", "finite_differences"] | None = None
    """How equation 8 is computed; None: `scores` for expectation, `double_backprop` for mixture."""
    inner_step: Literal["adam", "sgd"] = "adam"
    """The look-ahead step: as the optimizer scales it, or equation 8's plain gradient step."""
    sub_policies: PositiveInt = 3
    stages: PositiveInt = 2
    operations: list[str] | None = None
    """Candidates; None takes Table 1 and Identity."""
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    """Steps of the weights alone before the policy moves: on plain crops in `p2net search`; under
    `policy: learn` on what the policy augments, and at most a tenth of the way to `online.join`."""
    steps: PositiveInt = 300
    """Steps of weights and policy."""
    batch_size: PositiveInt = 64
    outer_batch_size: PositiveInt | None = None
    """People per step of the outer part; None: as many as of the inner part."""
    weights_learning_rate: PositiveFloat | None = None
    """None: that of `training`, for its batch."""
    zeta: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 1e-3
    """Inner learning rate of equation 8. Not the training rate: 1e-2 overshoots. Negative: a control, which
    must find the worst operations."""
    learning_rate: PositiveFloat = 0.1
    """Of the mixing weights (Adam, beta 0.5); falls along a cosine to 0, so that noise undoes nothing."""
    probability_learning_rate: Annotated[float, Field(ge=0)] = 0.03
    magnitude_learning_rate: Annotated[float, Field(ge=0)] = 0.1
    chains_per_person: Annotated[int, Field(ge=2)] = 4
    """expectation: chains that each person of a score batch is seen with, to be compared with each other."""
    exploration: Probability = 0.3
    """Share of operations drawn uniformly at the end; it falls from 1, linearly."""
    outer_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training images that make up the outer part. None: 0.4 in `p2net search`, whose weights
    never train on them; 0.2 under `policy: learn`, where they join the training."""
    outer: list[DatasetConfig] = []
    """policy: learn. Labelled people of where the network will work, to judge by in place of a part of the
    training images. They join the training, too."""
    online: OnlineConfig = OnlineConfig()
    people: PositiveInt = 5000
    """At most so many take part (the paper searches on 5k images); their crops are kept in memory."""
    plant: PlantConfig | None = None
    gap_steps: Annotated[int, Field(ge=0)] = 20
    """Training steps after which the learned, continuous policy and the discrete one are compared."""
    checkpoint_every: PositiveInt = 80
    log_every: PositiveInt = 10

    @field_validator("zeta")
    @classmethod
    def _is_not_zero(cls, zeta: float) -> float:
        if zeta == 0:
            raise ValueError("with zeta 0 the weights do not move, and the gradient is zero (equation 8)")
        return zeta


def join_step(search: SearchConfig, steps: int) -> int:
    """The training step, of so many, from which on a policy that is learned meanwhile stays as it is."""
    return round(search.online.join * steps)


def first_policy_step(search: SearchConfig, steps: int) -> int:
    """The training step before which such a policy moves for the first time; never before the first, behind
    which alone Adam knows how it scales gradients."""
    return max(1, min(search.warmup_steps, join_step(search, steps) // 10))


def policy_steps(search: SearchConfig, steps: int) -> int:
    """How often it moves in all."""
    moving = join_step(search, steps) - first_policy_step(search, steps)
    return -(-moving // search.online.every)
