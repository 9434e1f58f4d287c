"""`p2net compare`: ways to come by an augmentation policy, under one budget of gradient steps for all.

A cell is one arm under one seed: the arm's search, where it has one, then a training from scratch for what is
left of the budget, then one score on the test part.

| arm | policy | trains for |
|---|---|---|
| `none` | plain crops | the budget |
| `hand_crafted` | none: the window augmentation of the configuration's `augment:` | the budget |
| `random` | the built-in random policy, a new draw for every person | the budget |
| `tuner` | found by keras-tuner (`search.tuner`), a study per seed | the budget less the study |
| `learned` | found by Auto-Pose (`search.run`), a search per seed | the budget less the search |
| another built-in name, or the file or folder of a policy | that one, made elsewhere | the budget |

All arms flip by `augment.flip_probability`. Searches are handed the training part alone.

| file | content |
|---|---|
| `compare.json`, `compare.md`, `compare.png` | the result |
| `ARM/seedK/` | run folder of the final training |
| `ARM/seedK/search/`, `search.json` | of `tuner` and `learned`: the search, and what it cost |
| `ARM/seedK/request.json` | what the cell was asked for; another request is refused, not mixed in |
| `ARM/seedK/cell.json` | what a finished cell found; it is not run again |
| `ARM/seedK/failed.txt` | the traceback of a failed cell, which the next run tries again |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras

from p2net_tf.config.cards import card_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.evaluation import evaluate as evaluation
from p2net_tf.experiments import training as trainer
from p2net_tf.experiments.cells import (
    CellFiles,
    ExperimentError,
    check_seeds,
    is_built_in,
    name_policy,
    read_json,
    request_of,
    write_json,
)
from p2net_tf.experiments.compare_table import summarize, write_comparison
from p2net_tf.training.callbacks import read_history
from p2net_tf.training.checkpoints import Checkpoints
from p2net_tf.utils.console import messages
from p2net_tf.utils.provenance import describe_environment

ARMS = ("none", "hand_crafted", "random", "tuner", "learned")
REFERENCE = "hand_crafted"
SEARCHED = ("tuner", "learned")

_EPOCHS = range(5, 21)
"""An epoch is the way from one checkpoint to the next here; about ten of them make a cell."""
_TYPICAL_EPOCHS = 10
_SHARE = 0.1
"""Of a cell's steps: what the warm-up and the average of the weights span at most."""


def train_cell(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> keras.Model:
    """An ordinary training; returns its last network."""
    keras.backend.clear_session()  # a comparison trains dozens of networks in one process
    return trainer.train(config, folder, resume=resume, strict=strict)


def score_cell(network: keras.Model, config: ExperimentConfig, strict: bool) -> tuple[str, float]:
    """`(name of the metric, value 0..1, higher is better)` on the test part."""
    found = evaluation.evaluate(
        network, card_of(config, network), config.data.test[0], config.evaluation, strict
    )
    return found.result.name, found.headline


def search_learned(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> tuple[float, float]:
    """Auto-Pose; returns `(cost, seconds)`."""
    from p2net_tf.autopose.run import run_search

    keras.backend.clear_session()
    report = run_search(config, folder, resume=resume, strict=strict)
    return _training_steps(report["gradient_steps"], config), report["seconds"]


def search_tuner(config: ExperimentConfig, folder: Path, resume: bool, strict: bool) -> tuple[float, float]:
    """keras-tuner, which is an extra; returns `(cost, seconds)`, failed trials included."""
    from p2net_tf.experiments.tuner.run import run_tuning

    keras.backend.clear_session()
    trials = run_tuning(config, folder, resume=resume, strict=strict)["trials"]
    seconds = sum(trial["seconds"] or 0.0 for trial in trials)
    return _training_steps(sum(trial["steps"] for trial in trials), config), seconds


@dataclass(frozen=True)
class Engines:
    """What a comparison calls.

    Attributes:
        train: `(config, folder, resume, strict) -> network`; may leave a `history.csv` with `val_loss`.
        score: `(network, config, strict) -> (metric, value)`.
        searches: arm -> `(config, folder, resume, strict) -> (cost, seconds)`, which leaves `policy.yaml`;
            the cost in gradient steps of `training.batch_size` people.
    """

    train: Callable = train_cell
    score: Callable = score_cell
    searches: Mapping[str, Callable] = field(
        default_factory=lambda: {"tuner": search_tuner, "learned": search_learned}
    )


def compare(
    config: ExperimentConfig,
    folder: str | Path,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    budget: int,
    strict: bool = False,
    command: str = "",
    engines: Engines | None = None,
) -> dict:
    """Runs every arm under every seed, writes `compare.json`, `.md` and `.png`; returns the JSON's content.

    Runs again in the same folder go on where the last one stopped; arms and seeds may be added. A cell that
    fails is reported, and the others go on. Seeds are the outer loop, so an early stop leaves whole pairs.

    Args:
        config: of all cells, but for `seed`, `policy`, and of `training` `epochs`, `steps_per_epoch`,
            `validation_every` (after the last step), `schedule` (a cosine over the cell's own steps),
            `warmup_steps` and `ema_momentum` (a tenth of these steps at most).
        arms: see the module; files are known by their names without suffix.
        budget: gradient steps of `training.batch_size` people that each cell has.
        strict: stop a cell at the first broken item of its data.
        command: the command line, for the report.

    Raises:
        ExperimentError: arms, seeds, budget or data that cannot be compared, or a folder with cells of
            another request.
        Interrupted: SIGTERM came; the cell it came in is saved.
        PolicyError: an arm that is no policy.
    """
    folder, engines = Path(folder), engines or Engines()
    _check(config, seeds, budget)
    policies = _policies(arms)
    cells = {
        (arm, seed): _Cell(config, folder / arm / f"seed{seed}", arm, policy, seed, budget, strict, engines)
        for seed in seeds
        for arm, policy in policies.items()
    }
    for cell in cells.values():
        cell.files.refuse_another_request(cell.request())
    results = {arm: {} for arm in policies}
    for number, ((arm, seed), cell) in enumerate(cells.items(), start=1):
        messages.print(f"[bold]{arm}, seed {seed}[/bold] ({number} of {len(cells)})")
        results[arm][seed] = found = cell.result()
        failed = found.get("failed")
        outcome = f"failed: {failed}" if failed else f"{found['metric']} {found['value']:.4f}"
        messages.print(f"{arm}, seed {seed}: {outcome}", soft_wrap=True, markup=False)
    report = summarize(results, list(seeds), budget, config.training.batch_size, REFERENCE)
    report = {"title": config.name, **report, "environment": describe_environment(), "command": command}
    write_comparison(folder, report)
    return report


def cut_epochs(steps: int) -> tuple[int, int] | None:
    """`(epochs, steps of each)` whose product is `steps`, with the number of epochs in 5..20 nearest to 10.

    Of less than five steps each is an epoch. None where no number of epochs fits, as for primes above 20.
    """
    if 1 <= steps < _EPOCHS.start:
        return steps, 1
    fitting = [epochs for epochs in _EPOCHS if steps > 0 and steps % epochs == 0]
    if not fitting:
        return None
    epochs = min(fitting, key=lambda number: abs(number - _TYPICAL_EPOCHS))
    return epochs, steps // epochs


def charge(cost: float, budget: int) -> int:
    """Whole steps that a search of `cost` gradient-step equivalents takes from the budget.

    Rounded up to the next number that leaves a training of equal epochs (`cut_epochs`): seldom more than two
    steps, and never to the advantage of the search.

    Raises:
        ExperimentError: nothing is left to train with.
    """
    for steps in range(math.ceil(cost), budget):
        if cut_epochs(budget - steps):
            return steps
    raise ExperimentError(
        f"the search cost {cost:.0f} of {budget} gradient steps, which leaves none to train with; "
        "give a larger budget or a shorter search"
    )


@dataclass(frozen=True)
class _Cell:
    """One arm under one seed; `policy` is None where the arm searches or has none."""

    config: ExperimentConfig
    folder: Path
    arm: str
    policy: str | None
    seed: int
    budget: int
    strict: bool
    engines: Engines

    @property
    def files(self) -> CellFiles:
        return CellFiles(self.folder)

    def result(self) -> dict:
        """What the cell found, after running what is left to run; `{"failed": reason}` where that fails."""
        if found := self.files.found():
            return found
        self.files.note_request(self.request())
        return self.files.attempt(self._run)

    def request(self) -> dict:
        """What the cell is asked for."""
        config = self.config.model_copy(update={"seed": self.seed})
        return {**request_of(config, self.policy, self.arm in SEARCHED), "budget": self.budget}

    def _run(self) -> dict:
        policy, cost, search_seconds = self.policy, 0.0, 0.0
        if self.arm in SEARCHED:
            policy, cost, search_seconds = self._search()
        charged = charge(cost, self.budget) if cost else 0
        epochs, steps = cut_epochs(self.budget - charged)
        config = self._training_config(policy, epochs, steps)
        resume = Checkpoints(self.folder / "checkpoints").exist()
        start = time.perf_counter()
        network = self.engines.train(config, self.folder, resume=resume, strict=self.strict)
        seconds = time.perf_counter() - start
        metric, value = self.engines.score(network, config, strict=self.strict)
        return {
            "metric": metric,
            "value": value,
            "validation_loss": _validation_loss(self.folder),
            "training_steps": epochs * steps,
            "epochs": epochs,
            "search_steps": charged,
            "search_cost": cost,
            "seconds": seconds + search_seconds,
            "search_seconds": search_seconds,
            "resumed": resume,
        }

    def _search(self) -> tuple[str, float, float]:
        """`(policy file, cost in gradient-step equivalents, seconds)`; a finished search is only read."""
        folder, file = self.folder / "search", self.folder / "search.json"
        if not file.is_file():
            # Withheld, not merely left alone: no search can look at what will judge it.
            data = self.config.data.model_copy(update={"validation": [], "test": []})
            config = self.config.model_copy(update={"seed": self.seed, "policy": None, "data": data})
            begun = folder.is_dir() and any(folder.iterdir())
            cost, seconds = self.engines.searches[self.arm](config, folder, resume=begun, strict=self.strict)
            write_json(file, {"cost": float(cost), "seconds": float(seconds)})
        found = read_json(file)
        return str((folder / "policy.yaml").resolve()), found["cost"], found["seconds"]

    def _training_config(self, policy: str | None, epochs: int, steps: int) -> ExperimentConfig:
        training, total = self.config.training, epochs * steps
        # What suits a run of days would leave a short one little but its warm-up and its initial weights,
        # and the shortest, those of arms that searched, least.
        window = max(0.0, 1.0 - 1.0 / (_SHARE * total))
        momentum = None if training.ema_momentum is None else min(training.ema_momentum, window)
        training = training.model_copy(
            update={
                "epochs": epochs,
                "steps_per_epoch": steps,
                "schedule": "cosine",
                "warmup_steps": min(training.warmup_steps, int(_SHARE * total)),
                "ema_momentum": momentum,
                # The last network is scored: choosing the best of several would favour who has more epochs.
                "validation_every": epochs,
            }
        )
        return self.config.model_copy(update={"seed": self.seed, "policy": policy, "training": training})


def _check(config: ExperimentConfig, seeds: Sequence[int], budget: int) -> None:
    check_seeds(seeds)
    if not config.data.test:
        raise ExperimentError("data.test is empty: arms are compared by their score on it; name a test part")
    if budget < 1 or not cut_epochs(budget):
        near = range(max(1, budget - _EPOCHS.stop), max(1, budget) + _EPOCHS.stop)
        better = min(filter(cut_epochs, near), key=lambda steps: abs(steps - budget))
        raise ExperimentError(
            f"a budget of {budget} cannot be cut into {_EPOCHS.start} to {_EPOCHS.stop - 1} equal epochs; "
            f"take {better}"
        )


def _policies(arms: Sequence[str]) -> dict[str, str | None]:
    """Arm -> what its trainings take for `policy`; None where they have none or must search for it."""
    if not arms:
        raise ExperimentError(f"arms: name at least one of {', '.join(ARMS)}, or a policy")
    policies = {}
    for arm in arms:
        label, policy = (arm, None) if arm in SEARCHED else name_policy(arm)
        if label in policies or (label != arm and (label in ARMS or is_built_in(label))):
            raise ExperimentError(f"arms: two arms are called '{label}'; rename the file of one")
        policies[label] = policy
    return policies


def _training_steps(search_steps: float, config: ExperimentConfig) -> float:
    """Steps of `search.batch_size` people in steps of `training.batch_size`, which cost less or more."""
    return search_steps * config.search.batch_size / config.training.batch_size


def _validation_loss(folder: Path) -> float | None:
    """Of the last network; None without a validation part."""
    rows = read_history(folder / "history.csv")
    loss = float((rows[-1].get("val_loss") if rows else None) or math.nan)
    return loss if math.isfinite(loss) else None
