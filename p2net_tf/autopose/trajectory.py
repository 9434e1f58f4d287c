"""What a search went through: the tables of every step, as arrays, a file and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from p2net_tf.augment.listing import OPERATION_COLORS
from p2net_tf.autopose.space import SearchSpace
from p2net_tf.autopose.step import StepRecord
from p2net_tf.utils.files import replacing
from p2net_tf.utils.plotting import new_figure, save_figure

_SMOOTH = 20
"""Steps that noise and losses are averaged over where one number is shown."""


class Trajectory:
    """The records of S steps.

    Attributes, once there is a step: `weights`, `probabilities`, `magnitudes`, `spreads` `[S, K, N, O]`, and
    `inner_loss`, `outer_loss`, `noise` `[S]`.
    """

    def __init__(self, records: list[StepRecord] | None = None):
        self._records = records or []

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Trajectory:
        """What `arrays` wrote; an empty trajectory where the names are missing."""
        if "weights" not in arrays:
            return cls()
        columns = [arrays[name] for name in StepRecord._fields]
        return cls([StepRecord(*row) for row in zip(*columns, strict=True)])

    def __len__(self) -> int:
        return len(self._records)

    def __getattr__(self, name: str) -> np.ndarray:
        if name in StepRecord._fields:
            return np.stack([getattr(record, name) for record in self._records])
        raise AttributeError(name)

    def add(self, record: StepRecord) -> None:
        self._records.append(record)

    @property
    def records(self) -> tuple[StepRecord, ...]:
        return tuple(self._records)

    @property
    def last(self) -> StepRecord:
        return self._records[-1]

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in StepRecord._fields} if self._records else {}

    def recent(self, name: str) -> float:
        """Mean of a `[S]` column over the last steps."""
        values = [getattr(record, name) for record in self._records[-_SMOOTH:]]
        return float(np.mean(values)) if values else float("nan")

    def entropy(self) -> float:
        """Mean entropy of the mixing weights over that of the uniform ones: 1 undecided, 0 decided."""
        weights = np.clip(self.last.weights, 1e-12, 1.0)
        entropies = -(weights * np.log(weights)).sum(axis=-1)
        return float(entropies.mean() / np.log(weights.shape[-1]))

    def save(self, path: Path, space: SearchSpace) -> None:
        """Writes an NPZ with the names of the operations beside the columns."""
        with replacing(path) as scratch, open(scratch, "wb") as file:
            np.savez_compressed(file, operations=np.array(space.operations), **self.arrays())


def plot_weights(trajectory: Trajectory, space: SearchSpace, path: Path) -> None:
    """Mixing weights over the steps: one panel per stage of each sub-policy, one line per operation."""
    figure = new_figure(4.0 * space.stages, 2.6 * space.sub_policies)
    axes = figure.subplots(space.sub_policies, space.stages, sharex=True, sharey=True, squeeze=False)
    weights = trajectory.weights
    steps = np.arange(1, len(trajectory) + 1)
    for k, n in np.ndindex(space.sub_policies, space.stages):
        for o, name in enumerate(space.operations):
            axes[k, n].plot(
                steps, weights[:, k, n, o], color=OPERATION_COLORS[name], label=name, linewidth=1.4
            )
        axes[k, n].set_title(f"sub-policy {k + 1}, stage {n + 1}", fontsize=9)
        axes[k, n].set_ylim(0, 1)
        axes[k, n].grid(alpha=0.25)
    for axis in axes[-1]:
        axis.set_xlabel("search step")
    for axis in axes[:, 0]:
        axis.set_ylabel("mixing weight")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    save_figure(figure, path)
