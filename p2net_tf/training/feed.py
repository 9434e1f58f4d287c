"""The training batches of a run, shared out over its input pipelines."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from p2net_tf.augment.policy import Policy
from p2net_tf.config import ExperimentConfig
from p2net_tf.data.pipeline import Share, training_batches
from p2net_tf.data.pixel_store import PixelStore
from p2net_tf.data.samples import Samples
from p2net_tf.training.averaging import CALIBRATION_BATCHES
from p2net_tf.training.run_state import RunState
from p2net_tf.training.strategy import share_of


@dataclass(frozen=True)
class Feed:
    """Every input pipeline loads its own share of the global batches."""

    strategy: tf.distribute.Strategy
    config: ExperimentConfig
    samples: Samples
    policy: Policy | None
    store: PixelStore | None

    def going_on(self, state: RunState) -> tf.data.Dataset:
        """Endless distributed `TrainingBatch`es, from where `state` stands."""
        return self._distributed(lambda share: self._batches(share, self._first_draw(state, share)))

    def calibration(self) -> tf.data.Dataset:
        """What the batch statistics of averaged weights are measured on."""
        return self._distributed(lambda share: self._batches(share).take(CALIBRATION_BATCHES * share.pieces))

    def _distributed(self, batches_of) -> tf.data.Dataset:
        return self.strategy.distribute_datasets_from_function(lambda context: batches_of(share_of(context)))

    def _batches(self, share: Share, first_draw: int = 0) -> tf.data.Dataset:
        config = self.config
        return training_batches(
            self.samples,
            config.model.input_size,
            config.training.batch_size,
            config.augment,
            config.data.box_padding,
            config.seed,
            self.policy,
            first_draw,
            share,
            self.store,
            config.data.service,
        )

    def _first_draw(self, state: RunState, share: Share) -> int:
        """Where the pipeline of `share` goes on; with another number of pipelines, where all of them were."""
        straight = state.step * self.config.training.batch_size
        if self.config.data.service is not None:  # whose batches come in any order
            return straight
        if len(state.draws) == share.count:
            return int(state.draws[share.index])
        return max(straight, int(state.draws.max(initial=0)))
