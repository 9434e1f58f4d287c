"""An ablation: the grid of its axes under every seed, each training a run folder of its own.

| file | content |
|---|---|
| `ablation.md`, `ablation.csv`, `ablation.png` | the result; the same seeds give the same bytes |
| `ablation.json` | the same, and under `circumstances` what differs from run to run |
| `cells/SETTING/seed_S/` | run folders, with the files of `experiments.cells` |
| `cells/SETTING/seed_S/log.txt` | what the training wrote |
| `plan.json` | threads of every training, chosen by the first call |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.experiments.ablation.axes import choose_baseline, parse_axes
from p2net_tf.experiments.ablation.grid import Setting, make_grid
from p2net_tf.experiments.ablation.pool import WORKER, Job, alone_in, run_all, visible_gpus
from p2net_tf.experiments.ablation.summary import summarize
from p2net_tf.experiments.ablation.table import write_ablation
from p2net_tf.experiments.cells import (
    CellFiles,
    ExperimentError,
    check_seeds,
    is_built_in,
    read_json,
    request_of,
    write_json,
)
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.machine import usable_cores
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
        config, overrides: of `load_config`.
        axes: `NAME=V1,V2,...`, see `axes`.
        baseline: `NAME=VALUE` where the baseline is not the first value of an axis.
        jobs: trainings at a time. None: one on every GPU, or as many as there are cores.
        command: the command line, for the report.
        worker: see `pool.WORKER`.

    Raises:
        ConfigError, ExperimentError: all faults of all settings, or cells of another request in the folder.
        Interrupted: SIGTERM or Ctrl-C came; the trainings are saved.
    """
    folder, load = Path(folder), partial(_load, config, overrides)
    check_seeds(seeds)
    if jobs is not None and jobs < 1:
        raise ExperimentError(f"jobs {jobs}: give at least one")
    grid = make_grid(load, choose_baseline(parse_axes(axes, load([])), baseline))
    cells = {
        (setting.name, seed): _Cell(setting, seed, folder / "cells" / setting.folder / f"seed_{seed}")
        for seed in seeds
        for setting in grid.settings
    }
    with alone_in(folder) as lock:
        _refuse_other_requests(cells.values())
        jobs = jobs or len(visible_gpus()) or min(usable_cores(), len(cells))
        threads = _threads(folder, jobs)
        unfinished = [cell for cell in cells.values() if cell.files.found() is None]
        messages.print(
            f"{len(cells)} trainings, {len(cells) - len(unfinished)} of them finished; {jobs} at a time, "
            f"threads of each: {threads}; their logs: {folder / 'cells'}",
            soft_wrap=True,
        )
        for cell in unfinished:
            cell.prepare()
        again = f"all is saved in {folder}; the same command goes on"
        run_all([cell.job for cell in unfinished], jobs, threads, lock, again, worker)
        rows = {s.name: [cells[s.name, seed].outcome() for seed in seeds] for s in grid.settings}
        report = summarize(grid, seeds, rows, threads)
        report["circumstances"] |= {"environment": describe_environment(), "command": command}
        write_ablation(folder, report)
    return report


class _Cell:
    """One setting under one seed."""

    def __init__(self, setting: Setting, seed: int, folder: Path):
        self.files = CellFiles(folder)
        self.job = Job(f"{setting.name}, seed {seed}", self.files)
        self._config = setting.config.model_copy(update={"seed": seed})

    def refuse_another_request(self) -> None:
        self.files.refuse_another_request(self._request())

    def prepare(self) -> None:
        """Leaves what a worker reads; of a policy a copy, as its file may change before the worker begins."""
        request, config, folder = self._request(), self._config, self.files.folder
        self.files.note_request(request)
        if config.policy is not None and not is_built_in(config.policy):
            write_text(folder / "policy.yaml", request["policy"])
            config = config.model_copy(update={"policy": str((folder / "policy.yaml").resolve())})
        dump_config(config, folder / "config.yaml")

    def outcome(self) -> dict:
        """What it found, or `{"failed": reason}`."""
        return self.files.found() or {"failed": self.files.failure()}

    def _request(self) -> dict:
        return request_of(self._config, self._config.policy)


def _load(config: str | Path, overrides: Sequence[str], more: Sequence[str]) -> ExperimentConfig:
    return load_config(config, [*overrides, *more])


def _refuse_other_requests(cells: Sequence[_Cell]) -> None:
    faults = []
    for cell in cells:
        try:
            cell.refuse_another_request()
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        raise ExperimentError("\n".join(faults))


def _threads(folder: Path, jobs: int) -> int:
    """Of every training: what the first call chose, so that later ones change no number by other `jobs`."""
    file = folder / "plan.json"
    if not file.is_file():
        write_json(file, {"threads": max(1, usable_cores() // jobs)})
    return read_json(file)["threads"]
