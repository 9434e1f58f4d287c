"""An augmentation policy: K sub-policies of N stages, a YAML file that search, tuner and people write alike.

A sample draws one of the sub-policies and goes through its stages, each applied with its probability. The
paper (section 3.4) draws one sub-policy for a whole batch; one per sample has the same expectation and
a smaller variance. One function, `augment`, does this for a batch, in a `tf.data` pipeline
(`Policy.over`), in a Keras layer (`PolicyAugmentation`) and in the search.

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
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import keras
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field, field_validator

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.yaml_files import ConfigError, did_you_mean, dump_text, load_model

SCHEMA_VERSION = 1
"""Of the YAML file; a file of another version is refused."""
BUILTIN_POLICIES = ("none", "hand_crafted", "random", "paper")

_FOLDER = Path(__file__).parent / "builtin"
_FILE_NAME = "policy.yaml"
_IDENTITY = ops.OPERATION_NAMES.index("Identity")
_CHAIN_DRAWS = 1 << 20
"""Keeps the draws of a chain apart from those of its operations, which `ops.apply_chain` numbers from 0."""

Level = Annotated[float, Field(ge=0, le=ops.LEVELS, allow_inf_nan=False)]


class PolicyError(UserError):
    """A policy that cannot be used; the message names file, field and remedy."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, *values, **named):
        """Takes the fields by place or by name."""
        fields = list(type(self).model_fields)
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, not {len(values)}")
        super().__init__(**dict(zip(fields, values, strict=False)), **named)


class Stage(_Record):
    """One operation of a sub-policy.

    Attributes:
        operation: a name of `ops.OPERATIONS`.
        probability: with which the operation is applied, 0..1; else the stage does nothing.
        magnitude: level 0..10, which each operation maps to its own range.
        spread: the level is drawn uniformly from `magnitude` +- `spread`, then clipped to 0..10.
    """

    operation: str
    probability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    magnitude: Level
    spread: Level = 0.0

    @field_validator("operation")
    @classmethod
    def _in_the_table(cls, name: str) -> str:
        if name not in ops.OPERATIONS:
            raise ValueError(f"there is no operation '{name}'{did_you_mean(name, ops.OPERATION_NAMES)}")
        return name

    def __str__(self) -> str:
        low, high = (
            max(0.0, self.magnitude - self.spread),
            min(ops.LEVELS, self.magnitude + self.spread),
        )
        words = with_level(self.operation, f"{low:.3g}..{high:.3g}" if self.spread else f"{low:.3g}")
        return words if self.probability == 1 else f"{words}, p {self.probability:.3g}"


class Policy(_Record):
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
    provenance: dict[str, Any] = {}

    @field_validator("sub_policies")
    @classmethod
    def _not_empty(cls, sub_policies):
        empty = [row for row, stages in enumerate(sub_policies) if not stages]
        if not sub_policies or empty:
            where = f"sub-policy {empty[0]}" if empty else "the policy"
            raise ValueError(f"{where} is empty; 'Identity' is the operation that does nothing")
        return sub_policies

    @field_validator("provenance")
    @classmethod
    def _plain(cls, provenance: dict) -> dict:
        """As it will be read back: lists for tuples, and nothing that YAML has no plain form for."""
        try:
            return json.loads(json.dumps(provenance))
        except TypeError as error:
            raise ValueError(f"only plain text, numbers, lists and mappings can be kept: {error}") from None

    @classmethod
    def load(cls, source: str | Path) -> Policy:
        """Reads a policy.

        Args:
            source: a YAML file, a folder that holds a `policy.yaml`, or a name of `BUILTIN_POLICIES` (a name
                wins over a file of that name; write `./random` for the file).

        Raises:
            PolicyError: no such policy, or all faults of the file, one per line.
        """
        if str(source) in BUILTIN_POLICIES:
            return random_policy() if source == "random" else _read(_FOLDER / f"{source}.yaml")
        path = Path(source)
        path = path / _FILE_NAME if path.is_dir() else path
        if not path.is_file():
            known = did_you_mean(str(source), BUILTIN_POLICIES)
            raise PolicyError(f"policy '{source}': neither a file nor a built-in policy{known}")
        return _read(path)

    def save(self, path: str | Path) -> None:
        """Writes the YAML that `load` reads back equal; the same policy gives the same bytes."""
        write_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The contents of the file: a head, then each sub-policy with one stage per line."""
        head = {"schema_version": SCHEMA_VERSION, "name": self.name, "provenance": self.provenance}
        lines = ["sub_policies:"]
        for sub_policy in self.sub_policies:
            for number, stage in enumerate(sub_policy):
                values = ", ".join(f"{name}: {_scalar(value)}" for name, value in stage)
                lines.append(f"{'  - - ' if number == 0 else '    - '}{{{values}}}")
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


def with_level(operation: str, level: str) -> str:
    """`Rotate 3`, but only `Equalize`: some operations have no magnitude."""
    return operation if ops.OPERATIONS[operation].low == "-" else f"{operation} {level}"


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


def _as_policy(policy: Policy | str | Path) -> Policy:
    return policy if isinstance(policy, Policy) else Policy.load(policy)


class _File(Policy):
    """What a file holds: the policy and the version of its form."""

    schema_version: Literal[1]

    @field_validator("schema_version", mode="before")
    @classmethod
    def _known(cls, version):
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ValueError(
                f"version {version!r} is not {SCHEMA_VERSION}, the one that this p2net_tf reads; "
                "update p2net_tf, or make the policy anew"
            )
        return version


def _read(path: Path) -> Policy:
    try:
        file = load_model(_File, path)
    except ConfigError as error:
        raise PolicyError(str(error)) from None
    return Policy(sub_policies=file.sub_policies, name=file.name, provenance=file.provenance)


def _scalar(value) -> str:
    return value if isinstance(value, str) else repr(float(value))
