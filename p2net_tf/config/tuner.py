"""The `tuner` section of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from p2net_tf.utils.yaml_files import Section


class TunerConfig(Section):
    """The black-box search to compare Auto-Pose with: keras-tuner over the same space as `search`."""

    algorithm: Literal["random", "hyperband", "bayesian"] = "random"
    trials: PositiveInt = 20
    """Networks trained. With hyperband, whose trials are of different length: as many steps as so many."""
    steps_per_trial: PositiveInt = 200
    """Training steps of a trial; with hyperband, of its longest ones (others take a third or a ninth)."""
    initial_trials: PositiveInt | None = None
    """bayesian: random trials before its model is asked. None: a third of `trials`."""
