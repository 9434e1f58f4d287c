"""The training batches of a run, shared out over its input pipelines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from p2net_tf.data.image_batches import InputShard
from p2net_tf.training.averaging import CALIBRATION_BATCHES
from p2net_tf.training.run_state import RunState
from p2net_tf.training.strategy import shard_of


@dataclass(frozen=True)
class TrainingInput:
    """Every input pipeline loads its own share of the global batches.

    Args:
        batch_size: samples of a global batch.
        batches: the endless batches of a share from a number of the endless sequence of samples on.
        in_order: False where a service gives batches in any order.
        calibration_index: the number in the endless sequence that `calibration` begins at.
    """

    strategy: tf.distribute.Strategy
    batch_size: int
    batches: Callable[[int, InputShard], tf.data.Dataset]
    in_order: bool = True
    calibration_index: int = 0

    def going_on(self, state: RunState) -> tf.data.Dataset:
        """Endless distributed batches, from where `state` stands."""
        return self._distributed(lambda shard: self.batches(self._first_index(state, shard), shard))

    def calibration(self) -> tf.data.Dataset:
        """What the batch statistics of averaged weights are measured on."""
        return self._distributed(
            lambda shard: self.batches(self.calibration_index, shard).take(
                CALIBRATION_BATCHES * shard.replicas
            )
        )

    def _distributed(self, batches_of) -> tf.data.Dataset:
        return self.strategy.distribute_datasets_from_function(lambda context: batches_of(shard_of(context)))

    def _first_index(self, state: RunState, shard: InputShard) -> int:
        """Where the pipeline of `shard` goes on; with another number of pipelines, where all of them were."""
        straight = state.step * self.batch_size
        if not self.in_order:
            return straight
        if len(state.next_indices) == shard.num_shards:
            return int(state.next_indices[shard.index])
        return max(straight, int(state.next_indices.max(initial=0)))
