"""The plot of a comparison: a point per seed, mean and spread beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from p2net_tf.utils.plotting import new_figure

_INK, _GRID = "#333a45", "#8a94a344"
_SEED_COLORS = ("#5b8def", "#f28c38", "#2fae8f", "#c15bd0", "#b58900", "#d64550")


def draw_seeds(entries: Mapping[str, dict], seeds: Sequence[int], score: str, across: str, title: str):
    """A figure with one column per entry: a point per seed, of the seed's color, and mean and spread.

    Args:
        entries: label -> `values` per seed, None where there is none, `mean` and `spread`.
        score: what the vertical axis shows.
        across: what the columns differ in.
    """
    figure = new_figure(max(5.0, 1.7 + 1.3 * len(entries)), 4.0)
    axes = figure.subplots()
    offsets = np.linspace(-0.22, 0.06, len(seeds)) if len(seeds) > 1 else [-0.08]
    for index, (seed, offset) in enumerate(zip(seeds, offsets, strict=True)):
        points = [(place + offset, entry["values"][index]) for place, entry in enumerate(entries.values())]
        points = [point for point in points if point[1] is not None]
        color = _SEED_COLORS[index % len(_SEED_COLORS)]
        axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=color, label=f"seed {seed}")
    for place, entry in enumerate(entries.values()):
        if entry["mean"] is None:
            axes.annotate("failed", (place, 0.5), xycoords=("data", "axes fraction"), color=_INK, ha="center")
            continue
        height = entry["spread"] or 0.0
        axes.errorbar(place + 0.24, entry["mean"], height, fmt="D", color=_INK, capsize=4, markersize=5)
    axes.errorbar([], [], [], fmt="D", color=_INK, capsize=4, markersize=5, label="mean ± standard deviation")
    axes.set_xticks(range(len(entries)), entries, color=_INK)
    axes.set_xlim(-0.6, len(entries) - 0.4)
    axes.set_ylabel(score, color=_INK)
    axes.set_xlabel(across, color=_INK)
    axes.set_title(title, color=_INK, fontsize=11, loc="left")
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
