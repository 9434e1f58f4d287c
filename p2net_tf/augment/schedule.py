"""A policy that changes while a network trains: shares of operations at points of the training's progress.

What an online search learned is written down as a schedule, and replayed on other data or another network.
Every person makes N independent draws. Each is one operation by its share of that moment, or nothing by what
the shares leave; its level is uniform in magnitude +- spread. Between two knots everything goes linearly.

```yaml
schema_version: 1
name: warmer
draws: 2
provenance: {}
knots:
  - progress: 0.0
    shares:
      - {operation: Rotate, share: 0.5, magnitude: 3.0, spread: 3.0}
  - progress: 1.0
    shares:
      - {operation: Rotate, share: 0.5, magnitude: 7.0, spread: 3.0}
      - {operation: Brightness, share: 0.5, magnitude: 5.0, spread: 5.0}
```

```python
schedule = PolicySchedule.load("warmer.yaml")               # `load_policy` opens a `Policy`, too
crops, keypoints = schedule(crops, keypoints, seed=(0, 1), progress=0.25)
model = PoseModel(network, augmentation=PolicyAugmentation(schedule, steps=epochs * steps_per_epoch))
```
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt, field_validator

from p2net_tf.augment.operation_cards import LEVELS, OPERATION_NAMES
from p2net_tf.augment.policies import Policy, is_built_in, policy_of, with_levels
from p2net_tf.augment.policy_files import (
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

    from p2net_tf.augment.scheduled_draws import ScheduleTensors

_ROUNDING = 1e-6
"""By so much shares may sum to more than 1: those of a softmax in float32 do."""


class Share(Record):
    """One operation at one knot.

    Attributes:
        operation: a name of `OPERATION_NAMES`.
        share: chance of the operation in one draw, 0..1.
        magnitude: level 0..10, which each operation maps to its own range.
        spread: the level is drawn uniformly from `magnitude` +- `spread`, then clipped to 0..10.
    """

    operation: OperationName
    share: Chance
    magnitude: Level
    spread: Level = 0.0

    @property
    def mean_level(self) -> float:
        """Of the levels that are drawn, after clipping."""
        low, high = self.magnitude - self.spread, self.magnitude + self.spread
        if low == high:
            return self.magnitude
        first, last = max(0.0, low), min(LEVELS, high)
        inside = (last**2 - first**2) / 2
        return (inside + LEVELS * (high - last)) / (high - low)

    def __str__(self) -> str:
        return f"{with_levels(self.operation, self.magnitude, self.spread)}, {self.share:.0%}"


class Knot(Record):
    """The shares at one moment of a training.

    Attributes:
        progress: of the training, from 0 at its first person to 1 at its last.
        shares: of different operations, in any order; they sum to at most 1, and the rest of a draw does
            nothing.
    """

    progress: Chance
    shares: tuple[Share, ...]

    @field_validator("shares")
    @classmethod
    def _divide_a_draw(cls, shares):
        names = [share.operation for share in shares]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice; give an operation one share")
        total = sum(share.share for share in shares)
        if total > 1 + _ROUNDING:
            raise ValueError(f"they sum to {total:.6g}; one draw is shared out, so give at most 1 in all")
        return shares


class PolicySchedule(Record):
    """Shares of operations over the progress of a training.

    An operation that a knot does not name has share 0 there; its magnitude and spread go from the one knot
    that names it to the next. After the last knot nothing changes.

    Attributes:
        name: for tables and captions.
        draws: N, of each person, independent of each other and applied one after the other.
        knots: at least one, in the order of their progress, the first at 0.
        provenance: plain YAML values that say how the schedule was made. Left without a date, so that the
            same seed writes the same file.
    """

    name: str = "schedule"
    draws: PositiveInt
    knots: tuple[Knot, ...]
    provenance: Provenance = {}

    @field_validator("knots")
    @classmethod
    def _rise_from_0(cls, knots):
        if not knots:
            raise ValueError("a schedule needs a knot at progress 0")
        if knots[0].progress != 0:
            raise ValueError(
                f"the first knot is at progress {knots[0].progress:g}; add one at 0, or set it to 0"
            )
        for number, (knot, after) in enumerate(zip(knots, knots[1:], strict=False)):
            if after.progress <= knot.progress:
                raise ValueError(
                    f"progress must rise from knot to knot, and knot {number + 1} is at {after.progress:g} "
                    f"after {knot.progress:g}"
                )
        return knots

    @classmethod
    def load(cls, source: str | Path) -> PolicySchedule:
        """Reads a schedule.

        Args:
            source: a YAML file, or a folder that holds a `policy.yaml`, such as that of a run.

        Raises:
            PolicyError: no such file, a policy of sub-policies, or all faults of the file, one per line.
        """
        return _schedule_of(read_policy_file(policy_file(source)))

    def save(self, path: str | Path) -> None:
        """Writes the YAML that `load` reads back equal; the same schedule gives the same bytes."""
        write_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The contents of the file: a head, then each knot with one operation per line."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "draws": self.draws,
            "provenance": self.provenance,
        }
        lines = ["knots:"]
        for knot in self.knots:
            lines += [
                f"  - progress: {float(knot.progress)!r}",
                "    shares:" if knot.shares else "    shares: []",
                *(f"      - {on_one_line(share)}" for share in knot.shares),
            ]
        return dump_text(head) + "\n".join(lines) + "\n"

    @property
    def operations(self) -> tuple[str, ...]:
        """Those that some knot names, in the order of `OPERATION_NAMES`."""
        named = {share.operation for knot in self.knots for share in knot.shares}
        return tuple(name for name in OPERATION_NAMES if name in named)

    def at(self, progress: float) -> Knot:
        """The shares at any moment, of all `operations`."""
        moments = [knot.progress for knot in self.knots]
        columns = self._columns().items()
        found = [(name, *(np.interp(progress, moments, column) for column in rows)) for name, rows in columns]
        return Knot(progress, tuple(Share(*row) for row in found))

    def strength(self, progress: float) -> float:
        """Operations that a person gets on average."""
        return self.draws * sum(x.share for x in self.at(progress).shares if x.operation != "Identity")

    def tensors(self) -> ScheduleTensors:
        """The schedule as constants of the graph."""
        from p2net_tf.augment.scheduled_draws import schedule_tensors

        return schedule_tensors(self.operations, [knot.progress for knot in self.knots], self._columns())

    def _columns(self) -> dict[str, np.ndarray]:
        """By operation: share, magnitude and spread `[3, T]` at the T knots."""
        return {name: self._column(name) for name in self.operations}

    def _column(self, name: str) -> np.ndarray:
        named = {knot.progress: x for knot in self.knots for x in knot.shares if x.operation == name}
        moments = [knot.progress for knot in self.knots]
        shares = [named[moment].share if moment in named else 0.0 for moment in moments]
        magnitudes, spreads = (
            np.interp(moments, list(named), [getattr(share, key) for share in named.values()])
            for key in ("magnitude", "spread")
        )
        return np.array([shares, magnitudes, spreads])

    def __call__(self, crops, keypoints, seed, progress):
        """Augments a batch, in a graph or not. What a sample gets depends on its seed and progress alone.

        Args:
            crops: `[B, H, W, 3]` float, 0..1, of known height and width.
            keypoints: `[B, K, 3]` in crop pixels.
            seed: `[2]` integers for the batch, or `[B, 2]`, one per sample.
            progress: a number or `[B]`, 0..1; what lies beyond is clipped.

        Returns:
            `(crops, keypoints)` of the same shapes and types.

        Raises:
            ValueError: crops of integers, or of unknown size.
        """
        from p2net_tf.augment.scheduled_draws import augment_at

        return augment_at(self.tensors(), self.draws, crops, keypoints, seed, progress)

    def during(self, people: int) -> Callable:
        """The schedule stretched over one training.

        Args:
            people: that the whole training takes, epochs * steps of each * batch size; the one of index i is
                at progress i / people.

        Returns:
            `(crops, keypoints, seeds [B, 2], indices [B]) -> (crops, keypoints)`.

        Raises:
            ValueError: nobody.
        """
        from p2net_tf.augment.scheduled_draws import augment_at, progress_of

        _demand_length(people, "people")
        tensors = self.tensors()

        def augment(crops, keypoints, seeds, indices):
            return augment_at(tensors, self.draws, crops, keypoints, seeds, progress_of(indices, people))

        return augment

    def over(self, dataset: tf.data.Dataset, steps: int, seed: int = 0, start: int = 0) -> tf.data.Dataset:
        """Augments a data set of `(crops, keypoints)` batches, in order and in parallel.

        Args:
            steps: batches that the whole training takes; batch i is at progress i / steps.
            start: number of the first batch; batch i has the seed `(seed, start + i)`, so a run that is
                resumed at batch n goes on with `start=n`.

        Raises:
            ValueError: no steps.
        """
        from p2net_tf.augment.scheduled_draws import augment_batches

        _demand_length(steps, "steps")
        return augment_batches(self.tensors(), self.draws, dataset, steps, seed, start)


def load_policy(source: str | Path) -> Policy | PolicySchedule:
    """Reads a policy of either form.

    Args:
        source: a YAML file, a folder that holds a `policy.yaml`, or a name that `policies.is_built_in`.

    Raises:
        PolicyError: no such policy, or all faults of the file, one per line.
    """
    if is_built_in(str(source)):
        return Policy.load(source)
    document = read_policy_file(policy_file(source))
    if is_schedule(document):
        return _schedule_of(document)
    if "sub_policies" not in document.tree:
        raise PolicyError(
            f"{document.place(())}: neither a policy, which has 'sub_policies', nor a schedule, which has "
            f"'draws' and 'knots'; found the keys {', '.join(document.tree)}"
        )
    return policy_of(document)


def policy_from_plain(tree: dict) -> Policy | PolicySchedule:
    """What `model_dump` of either form gave."""
    return (PolicySchedule if "knots" in tree else Policy).model_validate(tree)


class _File(PolicySchedule, Versioned):
    """What a file holds: the schedule and the version of its form."""


def _schedule_of(document: Document) -> PolicySchedule:
    """Raises:
    PolicyError: a policy of the other form, or all faults of the file, one per line.
    """
    if not is_schedule(document) and "sub_policies" in document.tree:
        raise PolicyError(
            f"{document.source}: a policy of sub-policies, not a schedule; open it with Policy.load, or "
            "either form with load_policy"
        )
    file = fill(_File, document)
    return PolicySchedule(name=file.name, draws=file.draws, knots=file.knots, provenance=file.provenance)


def _demand_length(length: int, name: str) -> None:
    if length < 1:
        raise ValueError(
            f"{name}={length}: a schedule goes by the progress of a training; give the {name} of all epochs"
        )
