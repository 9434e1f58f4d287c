"""An augmentation policy: K sub-policies of N stages, a YAML file that search, tuner and people write alike.

A sample draws one of the sub-policies and goes through its stages, each applied with its probability. The
paper (section 3.4) draws one sub-policy for a whole batch; one per sample has the same expectation and
a smaller variance. One function, `policy_draws.augment`, does this for a batch, in a `tf.data` pipeline
(`Policy.over`), in a Keras layer (`augment.layer`) and in the search. A policy that changes while a network
trains is the other form of such a file: `augment.schedule`.

>>> import tensorflow as tf
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
from typing import TYPE_CHECKING

from pydantic import field_validator

from p2net_tf.augment.operation_cards import LEVELS, OPERATION_CARDS, OPERATION_NAMES
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

if TYPE_CHECKING:
    import tensorflow as tf

    from p2net_tf.augment.policy_draws import PolicyTensors

_RANDOM_STAGES = {f"random_{stages}": stages for stages in range(1, 5)}
_FOLDER = Path(__file__).parent / "builtin"


class Stage(Record):
    """One operation of a sub-policy.

    Attributes:
        operation: a name of `OPERATION_NAMES`.
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
        from p2net_tf.augment.policy_draws import policy_tensors

        return policy_tensors(self)

    def __call__(self, crops, keypoints, seed, indices=None):
        """Augments a batch, see `policy_draws.augment`.

        Args:
            indices: numbers of the persons in a training, as `PolicySchedule.during` needs them; a policy is
                the same for all.
        """
        from p2net_tf.augment.policy_draws import augment

        return augment(self.tensors(), crops, keypoints, seed)

    def over(self, dataset: tf.data.Dataset, seed: int = 0, start: int = 0) -> tf.data.Dataset:
        """Augments a data set of `(crops, keypoints)` batches, in order and in parallel.

        Args:
            start: number of the first batch; batch i has the seed `(seed, start + i)`, so a run that is
                resumed at batch n goes on with `start=n`.
        """
        from p2net_tf.augment.policy_draws import augment_batches

        return augment_batches(self.tensors(), dataset, seed, start)


def with_levels(operation: str, magnitude: float, spread: float) -> str:
    """`Rotate 2..4`: the levels that an operation may have."""
    low, high = max(0.0, magnitude - spread), min(LEVELS, magnitude + spread)
    return with_level(operation, f"{low:.3g}..{high:.3g}" if spread else f"{low:.3g}")


def with_level(operation: str, level: str) -> str:
    """`Rotate 3`, but only `Equalize`: some operations have no magnitude."""
    return f"{operation} {level}" if OPERATION_CARDS[operation].has_level else operation


def random_policy(
    stages: int = 2,
    magnitude: float = 5.0,
    spread: float = 5.0,
    operations: Sequence[str] = OPERATION_NAMES,
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
    return name in (*BUILTIN_POLICIES, *_RANDOM_STAGES, *OPERATION_NAMES)


def _built_in(name: str) -> Policy:
    if name == "random":
        return random_policy()
    if name in _RANDOM_STAGES:
        return random_policy(_RANDOM_STAGES[name]).model_copy(update={"name": name})
    if name in OPERATION_NAMES:
        stage = Stage(name, 1.0, LEVELS / 2, LEVELS / 2)
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
