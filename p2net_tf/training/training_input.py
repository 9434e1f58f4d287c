"""The training batches of a run, shared out over its input pipelines."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.pipeline import InputShard, training_batches
from p2net_tf.data.samples import Samples
from p2net_tf.training.averaging import CALIBRATION_BATCHES
from p2net_tf.training.run_state import RunState
from p2net_tf.training.strategy import shard_of


@dataclass(frozen=True)
class TrainingInput:
    """Every input pipeline loads its own share of the global batches.

    Args:
        batch_size: persons of a global batch.
        augment, box_padding, seed, policy, store, service: as `training_batches` takes them.
    """

    strategy: tf.distribute.Strategy
    samples: Samples
    crop_size: tuple[int, int]
    batch_size: int
    augment: AugmentConfig | None
    box_padding: float
    seed: int
    policy: Policy | None
    store: ImageCache | None
    service: str | None

    def going_on(self, state: RunState) -> tf.data.Dataset:
        """Endless distributed `TrainingBatch`es, from where `state` stands."""
        return self._distributed(lambda shard: self._batches(shard, self._first_index(state, shard)))

    def calibration(self) -> tf.data.Dataset:
        """What the batch statistics of averaged weights are measured on."""
        return self._distributed(
            lambda shard: self._batches(shard).take(CALIBRATION_BATCHES * shard.replicas)
        )

    def _distributed(self, batches_of) -> tf.data.Dataset:
        return self.strategy.distribute_datasets_from_function(lambda context: batches_of(shard_of(context)))

    def _batches(self, shard: InputShard, first_index: int = 0) -> tf.data.Dataset:
        return training_batches(
            self.samples,
            self.crop_size,
            self.batch_size,
            self.augment,
            self.box_padding,
            self.seed,
            self.policy,
            first_index,
            shard,
            self.store,
            self.service,
        )

    def _first_index(self, state: RunState, shard: InputShard) -> int:
        """Where the pipeline of `shard` goes on; with another number of pipelines, where all of them were."""
        straight = state.step * self.batch_size
        if self.service is not None:  # whose batches come in any order
            return straight
        if len(state.next_indices) == shard.num_shards:
            return int(state.next_indices[shard.index])
        return max(straight, int(state.next_indices.max(initial=0)))
