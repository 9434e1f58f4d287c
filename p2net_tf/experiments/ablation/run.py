"""An ablation: the grid of its axes under every seed, each training a run folder of its own.

| file | content |
|---|---|
| `ablation.md`, `ablation.csv`, `ablation.png` | the result; the same seeds give the same bytes |
| `ablation.json` | the same, and under `circumstances` what differs from run to run |
| `cells/SETTING/seed_S/` | run folders, with the files of `experiments.cells` |
| `cells/SETTING/seed_S/log.txt`, `plan.json` | see `experiments.pool` |

Of the axis `detector` see `detectors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_pose_config
from p2net_tf.experiments.ablation.axes import Axis, choose_baseline, parse_axes
from p2net_tf.experiments.ablation.detectors import compare_detectors, is_detector_axis
from p2net_tf.experiments.ablation.grid import Load, make_grid
from p2net_tf.experiments.ablation.summary import summarize, table_of
from p2net_tf.experiments.cells import Cell, check_seeds
from p2net_tf.experiments.pool import WORKER, run_cells
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.provenance import describe_environment


def ablate(
    config: str | Path,
    overrides: Sequence[str],
    axes: Sequence[str],
    seeds: Sequence[int],
    folder: str | Path,
    *,
    baseline: Sequence[str] = (),
    jobs: int | None = None,
    command: str = "",
    worker: Sequence[str] = WORKER,
) -> dict:
    """Trains every setting under every seed and writes the result; returns the content of `ablation.json`.

    The same call in the same folder goes on where the last one stopped; values and seeds may be added. A
    training that fails is reported, and the others go on. Seeds are the outer loop, so that whole pairs come
    first.

    Args:
        config, overrides: of `load_pose_config`.
        axes: `NAME=V1,V2,...`, see `axes`.
        baseline: `NAME=VALUE` where the baseline is not the first value of an axis.
        jobs: see `pool.run_cells`.
        command: the command line, for the report.
        worker: see `pool.WORKER`.

    Raises:
        ConfigError, ExperimentError: all faults of all settings, or cells of another request in the folder.
        Interrupted: SIGTERM or Ctrl-C came; the trainings are saved.
    """
    folder, load = as_path(folder, "folder"), partial(_load, config, overrides)
    check_seeds(seeds)
    chosen = choose_baseline(parse_axes(axes, load([])), baseline)
    if is_detector_axis(chosen):
        report = compare_detectors(load([]), chosen, seeds, folder, jobs, worker)
    else:
        report = _compare_settings(load, chosen, seeds, folder, jobs, worker)
    report["circumstances"] |= {"environment": describe_environment(), "command": command}
    table_of(report).write(folder, "ablation", report)
    return report


def _compare_settings(
    load: Load, axes: Sequence[Axis], seeds: Sequence[int], folder: Path, jobs: int | None, worker
) -> dict:
    grid = make_grid(load, axes)
    cells = {
        (setting.name, seed): Cell(
            f"{setting.name}, seed {seed}",
            folder / "cells" / setting.folder / f"seed_{seed}",
            setting.config.model_copy(update={"seed": seed}),
        )
        for seed in seeds
        for setting in grid.settings
    }
    threads = run_cells(list(cells.values()), folder, jobs, worker)
    rows = {s.name: [cells[s.name, seed].outcome() for seed in seeds] for s in grid.settings}
    return summarize(grid, seeds, rows, threads)


def _load(config: str | Path, overrides: Sequence[str], more: Sequence[str]) -> ExperimentConfig:
    return load_pose_config(config, [*overrides, *more])
