"""An augmentation policy: K sub-policies of N stages, a YAML file that search, tuner and people write alike.

A sample draws one of the sub-policies and goes through its stages, each applied with its probability. The
paper (section 3.4) draws one sub-policy for a whole batch; one per sample has the same expectation and
a smaller variance. One function, `augment`, does this for a batch, in a `tf.data` pipeline
(`Policy.over`), in a Keras layer (`PolicyAugmentation`) and in the search.

```python
policy = Policy.load("hand_crafted")                      # or a file, or the folder of a search
crops, keypoints = policy(crops, keypoints, seed=(0, 1))
model = PoseModel(network, augmentation=PolicyAugmentation(policy))
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.policy_files import PolicyFile, Stage

_IDENTITY = ops.OPERATION_NAMES.index("Identity")
_CHAIN_DRAWS = 1 << 20
"""Keeps the draws of a chain apart from those of its operations, which `ops.apply_chain` numbers from 0."""


class Policy(PolicyFile):
    """K sub-policies, one of which every sample draws with equal chances.

    Sub-policies may differ in length: `tensors` fills the shorter ones up with Identity. Attributes and files
    are those of `PolicyFile`.
    """

    def tensors(self) -> PolicyTensors:
        """The policy as four constants `[K, N]`; sub-policies shorter than N end in Identity."""
        padding = Stage("Identity", 0.0, 0.0)
        rows = [[*stages, *[padding] * (self.stages - len(stages))] for stages in self.sub_policies]

        def column(value, dtype=tf.float32):
            return tf.constant([[value(stage) for stage in row] for row in rows], dtype)

        return PolicyTensors(
            operations=column(lambda stage: ops.OPERATION_NAMES.index(stage.operation), tf.int32),
            probabilities=column(lambda stage: stage.probability),
            magnitudes=column(lambda stage: stage.magnitude),
            spreads=column(lambda stage: stage.spread),
        )

    def __call__(self, crops, keypoints, seed):
        """Augments a batch, see `augment`."""
        return augment(self.tensors(), crops, keypoints, seed)

    def over(self, dataset: tf.data.Dataset, seed: int = 0, start: int = 0) -> tf.data.Dataset:
        """Augments a data set of `(crops, keypoints)` batches, in order and in parallel.

        Args:
            start: number of the first batch; batch i has the seed `(seed, start + i)`, so a run that is
                resumed at batch n goes on with `start=n`.
        """
        tensors = self.tensors()

        def step(number, batch):
            return augment(tensors, *batch, tf.stack([tf.constant(seed, tf.int64), number]))

        numbered = dataset.enumerate(start)
        step = tf.autograph.experimental.do_not_convert(step)
        return numbered.map(step, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class PolicyTensors(NamedTuple):
    """A policy of K sub-policies of N stages as numbers, `[K, N]` each.

    They may be variables: who assigns other values changes the policy without a new trace.

    Attributes:
        operations: int32, rows of `ops.OPERATION_NAMES`.
        probabilities: float32, 0..1.
        magnitudes, spreads: float32, levels 0..10.
    """

    operations: tf.Tensor | tf.Variable
    probabilities: tf.Tensor | tf.Variable
    magnitudes: tf.Tensor | tf.Variable
    spreads: tf.Tensor | tf.Variable


def augment(tensors: PolicyTensors, crops, keypoints, seed):
    """Sends every sample through a sub-policy of its own.

    Args:
        crops: `[B, H, W, 3]` float, 0..1, of known height and width.
        keypoints: `[B, K, 3]` in crop pixels.
        seed: `[2]` integers for the batch, or `[B, 2]`, one per sample.

    Returns:
        `(crops, keypoints)` of the same shapes and types.

    Raises:
        ValueError: crops of integers, or of unknown size.
    """
    crops = tf.convert_to_tensor(crops)
    seeds = stateless_random.sample_seeds(seed, tf.shape(crops)[0])
    operations, levels = draw_chains(tensors, seeds)
    return ops.apply_chain(crops, keypoints, operations, levels, seeds)


def draw_chains(tensors: PolicyTensors, seeds):
    """Draws a sub-policy per sample, which of its stages apply, and their levels.

    Args:
        seeds: `[B, 2]`, one per sample.

    Returns:
        `(operations [B, N] int32, levels [B, N] float32)` for `ops.apply_chain`; a stage that does not apply
        is Identity at level 0.
    """
    count, stages = tensors.operations.shape
    numbers = stateless_random.uniform(stateless_random.fold_in(seeds, _CHAIN_DRAWS), 1 + 2 * stages)
    row = tf.cast(numbers[:, 0] * count, tf.int32)
    operations, probabilities, magnitudes, spreads = (tf.gather(column, row) for column in tensors)
    applied = numbers[:, 1 : 1 + stages] < probabilities
    levels = magnitudes + spreads * (2.0 * numbers[:, 1 + stages :] - 1.0)
    levels = tf.clip_by_value(levels, 0.0, ops.LEVELS)
    return tf.where(applied, operations, _IDENTITY), tf.where(applied, levels, 0.0)


@keras.saving.register_keras_serializable("p2net_tf")
class PolicyAugmentation(keras.layers.Layer):
    """A policy as a layer: augments `(crops, keypoints)` in training and is the identity otherwise.

    Call i of the layer has the seed `(seed, i)`, as batch i of `Policy.over`; the count is a variable, is
    saved with the layer, and so goes on where it stood. Replicas of a strategy draw apart.

    Args:
        policy: a `Policy`, its built-in name, or the path of its file.
        seed: of all draws.
    """

    def __init__(self, policy: Policy | str | Path, seed: int = 0, **kwargs):
        # Keypoints must not be rounded to the half precision of a network.
        super().__init__(autocast=False, **kwargs)
        self.policy = _as_policy(policy)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # the number of samples per operation is not known beforehand
        self._tensors = self.policy.tensors()
        self.built = True

    def call(self, inputs, training=None):
        crops, keypoints = inputs
        if not training:
            return crops, keypoints
        return augment(self._tensors, crops, keypoints, self._next_seed())

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def _next_seed(self):
        seed = tf.cast(self.seed_generator.next(), tf.int64)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return seed
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        return tf.stack([seed[0], seed[1] * context.num_replicas_in_sync + replica])

    def save_own_variables(self, store):
        """Keras itself saves no seed generators."""
        store["seed_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        return {**super().get_config(), "policy": self.policy.model_dump(mode="json"), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "policy": Policy.model_validate(config["policy"])})


def random_policy(
    stages: int = 2,
    magnitude: float = 5.0,
    spread: float = 5.0,
    operations: Sequence[str] = ops.OPERATION_NAMES,
) -> Policy:
    """RandAugment (Cubuk et al., 2020): every stage one of O operations with equal chances, always applied.

    Written out as all O ** N sequences, a uniform choice of which is just that.

    Args:
        stages: N.
        magnitude, spread: level of every stage; the default is uniform in 0..10.
    """
    return Policy.at_random(stages, magnitude, spread, operations)


def _as_policy(policy: Policy | str | Path) -> Policy:
    return policy if isinstance(policy, Policy) else Policy.load(policy)
