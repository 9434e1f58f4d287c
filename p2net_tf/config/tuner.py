"""The `tuner` section of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, field_validator

from p2net_tf.utils.yaml_files import Section


class TunerConfig(Section):
    """The black-box search to compare Auto-Pose with: keras-tuner over the operations and sub-policies of
    `search`, and over how much is done to a person."""

    algorithm: Literal["random", "hyperband", "bayesian"] = "random"
    trials: PositiveInt = 20
    """Networks trained. With hyperband, whose trials are of different length: as many steps as so many."""
    steps_per_trial: PositiveInt = 200
    """Training steps of a trial; with hyperband, of its longest ones (others take a third or a ninth)."""
    initial_trials: PositiveInt | None = None
    """bayesian: random trials before its model is asked. None: a third of `trials`."""
    stages: tuple[PositiveInt, PositiveInt] = (1, 4)
    """Fewest and most operations that a person draws; how many is searched, too."""
    search_strength: bool = True
    """Also a factor of all probabilities, in tenths: how strong a policy is in one number."""

    @field_validator("stages")
    @classmethod
    def _rises(cls, stages):
        if stages[0] > stages[1]:
            raise ValueError(f"[{stages[0]}, {stages[1]}]: the fewest come first")
        return stages
