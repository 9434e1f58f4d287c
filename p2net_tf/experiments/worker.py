"""One cell in a process of its own: `python -m p2net_tf.experiments.worker [--strict] FOLDER`.

`FOLDER/config.yaml` says what to train, `request.json` whether a search comes first and which budget there
is; the folder becomes an ordinary run folder, and `cell.json` in it says what was found. Stdin is a pipe that
the comparison holds: when that ends, in whatever way, this process does, too.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from p2net_tf.autopose.settings import LEARN
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_pose_config
from p2net_tf.experiments.budget import charge, cut_training, online_cost
from p2net_tf.experiments.cells import CellFiles, read_kept, write_json
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.utils.quiet import import_tensorflow

ORPHANED = 77
"""Exit status of a worker without a comparison."""


def main(folder: Path, strict: bool) -> int:
    """The exit status: 0 when the cell is finished, 1 when it failed, 75 when it was asked to stop."""
    end_with_parent()
    import_tensorflow()
    try:
        return int("failed" in CellFiles(folder).attempt(lambda: run_cell(folder, strict)))
    except Interrupted as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return stop.EXIT_CODE


def end_with_parent() -> None:
    """Ends this process as soon as nobody holds the other end of its stdin.

    At once, as `kill -9` would: what is on the disk is whole at any time, and the next call goes on from it.
    """

    def watch():
        # Not through sys.stdin, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def train_and_score(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> dict[str, float]:
    """An ordinary run; metric -> value 0..1, higher is better, on the test part, else the validation part."""
    from p2net_tf.experiments.runs import evaluate_run, headline_scores, load_run, run_experiment

    scores = run_experiment(config, folder, resume=resume, strict=strict, command="a cell")["headline"]
    scores = {name: value for name, value in scores.items() if not isinstance(value, str)}
    if not config.data.test:
        scores = headline_scores(evaluate_run(load_run(folder), "validation", strict=strict))
    return scores


def search_learned(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> tuple[float, float]:
    """Auto-Pose; returns `(cost, seconds)`."""
    from p2net_tf.experiments.search import run_search

    report = run_search(config, folder, resume=resume, strict=strict)
    return _training_steps(report["gradient_steps"], config), report["seconds"]


def search_tuner(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> tuple[float, float]:
    """keras-tuner, which is an extra; returns `(cost, seconds)`, failed trials included."""
    from p2net_tf.experiments.tuner.run import run_tuning

    trials = run_tuning(config, folder, resume=resume, strict=strict)["trials"]
    seconds = sum(trial["seconds"] or 0.0 for trial in trials)
    return _training_steps(sum(trial["steps"] for trial in trials), config), seconds


@dataclass(frozen=True)
class Engines:
    """What a cell calls.

    Attributes:
        train: `(config, folder, resume, strict) -> {metric: value}`, of which the first judges; may leave a
            `history.csv` with `val_loss`.
        searches: name -> `(config, folder, resume, strict) -> (cost, seconds)`, which leaves `policy.yaml`;
            the cost in gradient steps of `training.batch_size` people.
    """

    train: Callable = train_and_score
    searches: Mapping[str, Callable] = field(
        default_factory=lambda: {"tuner": search_tuner, "learned": search_learned}
    )


def run_cell(folder: Path, strict: bool = False, engines: Engines | None = None) -> dict:
    """Runs what is left to run of the search, where the cell has one, and of the training.

    Args:
        strict: stop at the first broken item of the data.

    Returns:
        The content of `cell.json`.
    """
    from p2net_tf.training.checkpoints import Checkpoints

    engines, request = engines or Engines(), CellFiles(folder).request()
    config, budget = load_pose_config(folder / "config.yaml"), request.get("budget")
    accounts, cost, search_seconds = {}, 0.0, 0.0
    if searcher := request.get("searched_by"):
        config, cost, search_seconds = _search(config, folder, engines.searches[searcher], strict)
    if budget is not None:
        if config.policy == LEARN:
            cost = online_cost(config, budget)
        charged = charge(cost, budget) if cost else 0
        config = cut_training(config, budget - charged)
        accounts = {
            "training_steps": budget - charged,
            "epochs": config.training.epochs,
            "search_steps": charged,
            "search_cost": cost,
            "search_seconds": search_seconds,
        }
    resume, start = Checkpoints(folder / "checkpoints").exist(), time.perf_counter()
    scores = engines.train(config, folder, resume=resume, strict=strict)
    seconds = time.perf_counter() - start + search_seconds
    metric, value = next(iter(scores.items()))
    found = {"metric": metric, "value": value, "scores": scores, "validation_loss": _validation_loss(folder)}
    return found | accounts | {"seconds": seconds, "resumed": resume}


def _search(
    config: ExperimentConfig, folder: Path, search: Callable, strict: bool
) -> tuple[ExperimentConfig, float, float]:
    """The configuration with the policy found, cost in gradient-step equivalents, seconds.

    A finished search is only read.
    """
    place, file = folder / "search", folder / "search.json"
    found = read_kept(file, dict)
    if found is None:
        # Withheld, not merely left alone: no search can look at what will judge it.
        data = config.data.model_copy(update={"validation": [], "test": []})
        withheld = config.model_copy(update={"policy": None, "data": data})
        begun = place.is_dir() and any(place.iterdir())
        cost, seconds = search(withheld, place, resume=begun, strict=strict)
        found = {"cost": float(cost), "seconds": float(seconds)}
        write_json(file, found)
    policy = str((place / "policy.yaml").resolve())
    return config.model_copy(update={"policy": policy}), found["cost"], found["seconds"]


def _training_steps(search_steps: float, config: ExperimentConfig) -> float:
    """Steps of `search.batch_size` people in steps of `training.batch_size`, which cost less or more."""
    return search_steps * config.search.batch_size / config.training.batch_size


def _validation_loss(folder: Path) -> float | None:
    """Of the last network; None without a validation part."""
    from p2net_tf.training.callbacks import read_history

    rows = read_history(folder / "history.csv")
    loss = float((rows[-1].get("val_loss") if rows else None) or math.nan)
    return loss if math.isfinite(loss) else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[-1]), strict="--strict" in sys.argv[1:-1]))
