"""Everything that a training must remember to go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from p2net_tf.training.checkpoints import CheckpointError
from p2net_tf.training.collectives import assign_variables, read_variables, saved_shape


class Stateful(Protocol):
    """A part of a training with a memory of its own, such as the best score so far."""

    def state(self) -> dict[str, np.ndarray]: ...

    def restore(self, state: dict[str, np.ndarray]) -> None: ...


class RunState:
    """Weights, optimizer, running metrics, place in the data and in the schedule, as named arrays.

    Variables are listed one by one. TensorFlow's object graph does not look into the lists that Keras layers
    keep their sub-layers in, and leaves their moving statistics out without a word.

    Args:
        model: compiled, with a built network and optimizer.
        parts: other things with a memory, by name.

    Attributes:
        step: finished training steps.
        epoch: finished epochs, with all that happens at their end.
        next_indices: `[pipelines]` int64, the person of the endless sequence that each pipeline gives next;
            empty before the first step.
    """

    def __init__(self, model: keras.Model, parts: dict[str, Stateful] | None = None):
        self.step, self.epoch, self.next_indices = 0, 0, np.zeros([0], np.int64)
        self._parts = parts or {}
        self._strategy = model.network.distribute_strategy
        self._groups = {
            "network": model.network.variables,
            "optimizer": model.optimizer.variables,
            "metrics": model.metrics_variables,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it; must be called on all workers at once."""
        found = {
            "step": np.int64(self.step),
            "epoch": np.int64(self.epoch),
            "next_indices": self.next_indices,
        }
        for group, variables in self._groups.items():
            values = read_variables(self._strategy, variables)
            found |= {_name(group, number): value for number, value in enumerate(values)}
        for part, stateful in self._parts.items():
            found |= {f"{part}/{name}": np.asarray(value) for name, value in stateful.state().items()}
        return found

    def not_finite(self, arrays: dict[str, np.ndarray]) -> list[str]:
        """The paths of the network's variables that hold NaN or Inf in what `arrays` gave."""
        variables = self._groups["network"]
        return [
            variable.path
            for number, variable in enumerate(variables)
            if not np.isfinite(arrays[_name("network", number)]).all()
        ]

    def restore(self, arrays: dict[str, np.ndarray], path: Path) -> None:
        """Takes up what `arrays` gave.

        Args:
            path: of the checkpoint, for messages.

        Raises:
            CheckpointError: the checkpoint is of another model.
        """
        for group, variables in self._groups.items():
            _check(arrays, group, [saved_shape(variable) for variable in variables], path)
        for group, variables in self._groups.items():
            values = [arrays[_name(group, number)] for number in range(len(variables))]
            assign_variables(self._strategy, variables, values)
        for part, stateful in self._parts.items():
            stateful.restore(_below(arrays, part))
        self.step, self.epoch, self.next_indices = (
            int(arrays["step"]),
            int(arrays["epoch"]),
            arrays["next_indices"],
        )


def _name(group: str, number: int) -> str:
    # Not by its path: Keras counts layers up over the whole process, and layers of one name share a path.
    return f"{group}/{number:04d}"


def _below(arrays: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    start = f"{group}/"
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def _check(
    arrays: dict[str, np.ndarray], group: str, shapes: list[tuple[int | None, ...]], path: Path
) -> None:
    wanted = dict(enumerate(shapes))
    found = {int(name): value.shape for name, value in _below(arrays, group).items()}
    for number in sorted(wanted.keys() | found.keys()):
        if _fits(found.get(number), wanted.get(number)):
            continue
        side = "the checkpoint" if number in found else "the configuration"
        shape = found.get(number, wanted.get(number))
        raise CheckpointError(
            f"{path}: does not fit the {group} of the configuration: only {side} has a variable {number} of "
            f"shape {list(shape)}; resume with the model and optimizer that the run was begun with"
        )


def _fits(found: tuple[int, ...] | None, wanted: tuple[int | None, ...] | None) -> bool:
    """A None in `wanted` fits any length."""
    if found is None or wanted is None or len(found) != len(wanted):
        return False
    return all(theirs in (None, ours) for ours, theirs in zip(found, wanted, strict=True))
