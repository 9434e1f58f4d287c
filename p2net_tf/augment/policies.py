"""An augmentation policy: K sub-policies of N stages, a YAML file that search, tuner and people write alike.

A sample draws one of the sub-policies and goes through its stages, each applied with its probability. The
paper (section 3.4) draws one sub-policy for a whole batch; one per sample has the same expectation and
a smaller variance. One function, `augment`, does this for a batch, in a `tf.data` pipeline
(`Policy.over`), in a Keras layer (`augment.layer`) and in the search. A policy that changes while a network
trains is the other form of such a file: `augment.schedule`.

>>> policy = Policy.load("hand_crafted")  # or a file, or the folder of a search
>>> [stage.operation for stage in policy.sub_policies[0]]
['Rotate', 'Scale']
>>> crops, keypoints = policy(tf.zeros((2, 64, 48, 3)), tf.ones((2, 17, 3)), seed=(0, 1))
>>> crops.shape, keypoints.shape
(TensorShape([2, 64, 48, 3]), TensorShape([2, 17, 3]))

In a model it is a layer: `PoseModel(network, augmentation=PolicyAugmentation(policy))`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from pydantic import field_validator

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.policy_files import (
    BUILTIN_POLICIES,
    SCHEMA_VERSION,
    Chance,
    Level,
    OperationName,
    PolicyError,
    Provenance,
    Record,
    Versioned,
    fill,
    is_schedule,
    on_one_line,
    policy_file,
    read_policy_file,
)
from p2net_tf.utils.files import write_text
from p2net_tf.utils.yaml_files import Document, dump_text

IDENTITY = ops.OPERATION_NAMES.index("Identity")

_RANDOM_STAGES = {f"random_{stages}": stages for stages in range(1, 5)}
_FOLDER = Path(__file__).parent / "builtin"
_CHAIN_DRAWS = 1 << 20
"""Keeps the draws of a chain apart from those of its operations, which `ops.apply_chain` numbers from 0."""


class Stage(Record):
    """One operation of a sub-policy.

    Attributes:
        operation: a name of `ops.OPERATIONS`.
        probability: with which the operation is applied, 0..1; else the stage does nothing.
        magnitude: level 0..10, which each operation maps to its own range.
        spread: the level is drawn uniformly from `magnitude` +- `spread`, then clipped to 0..10.
    """

    operation: OperationName
    probability: Chance
    magnitude: Level
    spread: Level = 0.0

    def __str__(self) -> str:
        words = with_levels(self.operation, self.magnitude, self.spread)
        return words if self.probability == 1 else f"{words}, p {self.probability:.3g}"


class Policy(Record):
    """K sub-policies, one of which every sample draws with equal chances.

    Sub-policies may differ in length: `tensors` fills the shorter ones up with Identity.

    Attributes:
        sub_policies: K tuples of at least one `Stage` each.
        name: for tables and captions.
        provenance: plain YAML values that say how the policy was made. Left without a date, so that the same
            seed writes the same file.
    """

    sub_policies: tuple[tuple[Stage, ...], ...]
    name: str = "policy"
    provenance: Provenance = {}

    @field_validator("sub_policies")
    @classmethod
    def _not_empty(cls, sub_policies):
        empty = [row for row, stages in enumerate(sub_policies) if not stages]
        if not sub_policies or empty:
            where = f"sub-policy {empty[0]}" if empty else "the policy"
            raise ValueError(f"{where} is empty; 'Identity' is the operation that does nothing")
        return sub_policies

    @classmethod
    def load(cls, source: str | Path) -> Policy:
        """Reads a policy.

        Args:
            source: a YAML file, a folder that holds a `policy.yaml`, or a name that `is_built_in` (a name
                wins over a file of that name; write `./random` for the file).

        Raises:
            PolicyError: no such policy, or all faults of the file, one per line.
        """
        if is_built_in(str(source)):
            return _built_in(str(source))
        return _read(policy_file(source))

    def save(self, path: str | Path) -> None:
        """Writes the YAML that `load` reads back equal; the same policy gives the same bytes."""
        write_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The contents of the file: a head, then each sub-policy with one stage per line."""
        head = {"schema_version": SCHEMA_VERSION, "name": self.name, "provenance": self.provenance}
        lines = ["sub_policies:"]
        for sub_policy in self.sub_policies:
            for number, stage in enumerate(sub_policy):
                lines.append(f"{'  - - ' if number == 0 else '    - '}{on_one_line(stage)}")
        return dump_text(head) + "\n".join(lines) + "\n"

    @property
    def stages(self) -> int:
        """N, of the longest sub-policy."""
        return max(map(len, self.sub_policies))

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

    def __call__(self, crops, keypoints, seed, indices=None):
        """Augments a batch, see `augment`.

        Args:
            indices: numbers of the persons in a training, as `PolicySchedule.during` needs them; a policy is
                the same for all.
        """
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
    numbers = chain_numbers(seeds, stages)
    row = tf.cast(numbers.row * count, tf.int32)
    operations, probabilities, magnitudes, spreads = (tf.gather(column, row) for column in tensors)
    applied = numbers.choices < probabilities
    levels = levels_around(magnitudes, spreads, numbers.levels)
    return tf.where(applied, operations, IDENTITY), tf.where(applied, levels, 0.0)


class ChainNumbers(NamedTuple):
    """Random numbers in 0..1 that decide on the chain of each sample, apart from those of its operations."""

    row: tf.Tensor
    """`[B]`: of the sub-policy."""
    choices: tf.Tensor
    """`[B, N]`: of what each stage does."""
    levels: tf.Tensor
    """`[B, N]`: of the level of each stage."""


def chain_numbers(seeds, stages: int) -> ChainNumbers:
    """Args:
    seeds: `[B, 2]`, one per sample.
    stages: N.
    """
    numbers = stateless_random.uniform(stateless_random.fold_in(seeds, _CHAIN_DRAWS), 1 + 2 * stages)
    return ChainNumbers(numbers[:, 0], numbers[:, 1 : 1 + stages], numbers[:, 1 + stages :])


def levels_around(magnitudes, spreads, numbers):
    """Levels uniform in `magnitudes` +- `spreads`, clipped to 0..10, by `numbers` in 0..1."""
    return tf.clip_by_value(magnitudes + spreads * (2.0 * numbers - 1.0), 0.0, ops.LEVELS)


def with_levels(operation: str, magnitude: float, spread: float) -> str:
    """`Rotate 2..4`: the levels that an operation may have."""
    low, high = max(0.0, magnitude - spread), min(ops.LEVELS, magnitude + spread)
    return with_level(operation, f"{low:.3g}..{high:.3g}" if spread else f"{low:.3g}")


def with_level(operation: str, level: str) -> str:
    """`Rotate 3`, but only `Equalize`: some operations have no magnitude."""
    return f"{operation} {level}" if ops.OPERATIONS[operation].has_level else operation


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
    rows = itertools.product([Stage(name, 1.0, magnitude, spread) for name in operations], repeat=stages)
    provenance = {
        "summary": f"RandAugment: {stages} of {len(operations)} operations at random",
        "made_by": "p2net_tf.augment.policies.random_policy",
        "stages": stages,
        "magnitude": magnitude,
        "spread": spread,
        "operations": list(operations),
    }
    return Policy(sub_policies=tuple(rows), name="random", provenance=provenance)


def is_built_in(name: str) -> bool:
    """Of `BUILTIN_POLICIES`; `random_1` to `random_4`, of so many stages; or an operation, which is then
    the only one, always applied, at levels uniform in 0..10."""
    return name in (*BUILTIN_POLICIES, *_RANDOM_STAGES, *ops.OPERATION_NAMES)


def _built_in(name: str) -> Policy:
    if name == "random":
        return random_policy()
    if name in _RANDOM_STAGES:
        return random_policy(_RANDOM_STAGES[name]).model_copy(update={"name": name})
    if name in ops.OPERATION_NAMES:
        stage = Stage(name, 1.0, ops.LEVELS / 2, ops.LEVELS / 2)
        return Policy([[stage]], name=name, provenance={"summary": f"{name} alone, always applied"})
    return _read(_FOLDER / f"{name}.yaml")


class _File(Policy, Versioned):
    """What a file holds: the policy and the version of its form."""


def policy_of(document: Document) -> Policy:
    """Raises:
    PolicyError: all faults of the file, one per line.
    """
    if is_schedule(document):
        raise PolicyError(
            f"{document.source}: a schedule, which changes while a network trains, not a policy of "
            "sub-policies; open it with PolicySchedule.load, or either form with load_policy"
        )
    file = fill(_File, document)
    return Policy(sub_policies=file.sub_policies, name=file.name, provenance=file.provenance)


def _read(path: Path) -> Policy:
    return policy_of(read_policy_file(path))
