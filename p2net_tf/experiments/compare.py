"""`p2net compare`: ways to come by an augmentation policy, under one budget of gradient steps for all.

A cell is one arm under one seed: the arm's search, where it has one, then a training from scratch for what is
left of the budget, then one score on the test part.

| arm | policy | trains for |
|---|---|---|
| `none` | plain crops | the budget |
| `hand_crafted` | none: the window augmentation of the configuration's `augment:` | the budget |
| `random` | the built-in random policy, a new draw for every person | the budget |
| `tuner` | found by keras-tuner (`experiments.tuner`), a study per seed | the budget less the study |
| `learned` | found by Auto-Pose, a search per seed | the budget less the search |
| `online` | learned while the network trains (`policy: learn`) | the budget less the steps of the policy |
| `random_1` .. `random_4`; `Rotate` and the like | so many random operations; this one alone | the budget |
| `each-operation` | ten arms, one for every operation alone | the budget |
| another built-in name, or the file or folder of a policy | that one, made elsewhere | the budget |

`ARM+outer`, of arms that search nothing: the photographs of `search.outer` are simply added to the training.
All arms flip by `augment.flip_probability`. Searches are handed the training part alone.

| file | content |
|---|---|
| `compare.json`, `compare.md`, `compare.csv`, `compare.png` | the result |
| `ARM/seedK/` | run folder of the final training, with the files of `experiments.cells` |
| `ARM/seedK/search/`, `search.json` | of `tuner` and `learned`: the search, and what it cost |
| `ARM/seedK/log.txt`, `plan.json` | see `experiments.pool` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from p2net_tf.augment.policies import is_built_in
from p2net_tf.autopose.settings import LEARN
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.budget import check_budget
from p2net_tf.experiments.cells import (
    Cell,
    ExperimentError,
    check_seeds,
    name_policy,
    note_other_sources,
)
from p2net_tf.experiments.pool import WORKER, run_cells
from p2net_tf.experiments.statistics import SPREAD_NOTE, noise_notes, spread_of
from p2net_tf.experiments.tables import Column, ScoreTable, column, format_number, make_row, metric_of
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.provenance import describe_environment

ARMS = ("none", "hand_crafted", "random", "tuner", "learned")
ONLINE = "online"
EACH_OPERATION = "each-operation"
WITH_OUTER = "+outer"
REFERENCE = "hand_crafted"
SEARCHED = ("tuner", "learned")

_PER_CELL = (
    "validation_loss",
    "training_steps",
    "search_steps",
    "search_cost",
    "seconds",
    "search_seconds",
    "resumed",
)
"""What the report lists per seed, beside the score."""


def compare(
    config: ExperimentConfig,
    folder: str | Path,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    budget: int,
    strict: bool = False,
    jobs: int = 1,
    command: str = "",
    run: Callable[..., int] = run_cells,
) -> dict:
    """Runs every arm under every seed and writes the result; returns the content of `compare.json`.

    Runs again in the same folder go on where the last one stopped; arms and seeds may be added. A cell that
    fails is reported, and the others go on. Seeds are the outer loop, so an early stop leaves whole pairs.

    Args:
        config: of all cells, but for `seed`, `policy`, and of `training` `epochs`, `steps_per_epoch`,
            `validation_every` (after the last step), `schedule` (a cosine over the cell's own steps),
            `warmup_steps` and `ema_momentum` (a tenth of these steps at most).
        arms: see the module; files are known by their names without suffix.
        budget: gradient steps of `training.batch_size` people that each cell has.
        strict: stop a cell at the first broken item of its data.
        jobs: cells at a time, see `pool.run_cells`; of more than one the wall times do not compare.
        command: the command line, for the report.
        run: runs the cells, as `pool.run_cells` does.

    Raises:
        ExperimentError: arms, seeds, budget or data that cannot be compared, or a folder with cells of
            another request.
        Interrupted: SIGTERM or Ctrl-C came; the cells are saved.
        PolicyError: an arm that is no policy.
    """
    folder = as_path(folder, "folder")
    check_seeds(seeds)
    if not config.data.test:
        raise ExperimentError("data.test is empty: arms are compared by their score on it; name a test part")
    check_budget(budget)
    policies = _policies(arms)
    configs = {arm: _config_of(arm, config) for arm in policies}
    cells = {
        (arm, seed): Cell(
            f"{arm}, seed {seed}",
            folder / arm / f"seed{seed}",
            configs[arm].model_copy(update={"seed": seed, "policy": policy}),
            search=arm if arm in SEARCHED else None,
            budget=budget,
        )
        for seed in seeds
        for arm, policy in policies.items()
    }
    run(list(cells.values()), folder, jobs, (*WORKER, "--strict") if strict else WORKER)
    rows = {arm: [cells[arm, seed].outcome() for seed in seeds] for arm in policies}
    report = {"title": config.name, **summarize(rows, list(seeds), budget, config.training.batch_size)}
    report["notes"] += note_other_sources(config, "test")
    report |= {"environment": describe_environment(), "command": command}
    table_of(report).write(folder, "compare", report, command)
    return report


def summarize(rows: Mapping[str, Sequence[dict]], seeds: Sequence[int], budget: int, batch_size: int) -> dict:
    """The content of `compare.json`, but for title and circumstances.

    Args:
        rows: arm -> cell per seed: what its `cell.json` holds, or `{"failed": reason}`.
        budget: gradient steps of every cell, of `batch_size` people each.
    """
    against = column(rows[REFERENCE], "value") if REFERENCE in rows else None
    arms = {
        arm: make_row(seeds, cells, None if arm == REFERENCE else against)
        | {key: column(cells, key) for key in _PER_CELL}
        for arm, cells in rows.items()
    }
    reference = None if against is None else REFERENCE
    return {
        "metric": metric_of([cell for cells in rows.values() for cell in cells]),
        "budget": budget,
        "batch_size": batch_size,
        "seeds": seeds,
        "reference": reference,
        "arms": arms,
        "notes": _notes(arms, budget, batch_size, reference),
    }


def table_of(report: dict) -> ScoreTable:
    arms, metric = report["arms"], report["metric"]

    def texts(key: str, form: str = "d") -> list[list[str]]:
        return [[format_number(value, form) for value in arm[key]] for arm in arms.values()]

    losses = [spread_of(arm["validation_loss"])["mean"] for arm in arms.values()]
    return ScoreTable(
        title=(
            f"{report['title']}: {metric or 'no result'} on the test part, {report['budget']:,} gradient "
            "steps for every arm"
        ),
        metric=metric,
        part="test",
        plot_title=f"{report['budget']:,} gradient steps each, search included",
        names=["arm"],
        seeds=report["seeds"],
        rows={(name,): arm for name, arm in arms.items()},
        reference=(report["reference"],),
        reference_word="reference",
        against=report["reference"] or "none of them",
        notes=report["notes"],
        columns=[
            Column("validation loss", [[format_number(loss, ".4g")] for loss in losses], on_terminal=False),
            Column("training steps", texts("training_steps")),
            Column("search steps", texts("search_steps")),
            Column("wall time", [[_wall_time(arm)] for arm in arms.values()]),
        ],
    )


def _policies(arms: Sequence[str]) -> dict[str, str | None]:
    """Arm -> what its trainings take for `policy`; None where they have none or must search for it."""
    if not arms:
        raise ExperimentError(f"arms: name at least one of {', '.join(ARMS)}, or a policy")
    policies = {}
    for arm in _each_operation(arms):
        label, policy = _policy_of(arm)
        named = label in (*ARMS, ONLINE) or is_built_in(label)
        if label in policies or (label != arm and named):
            raise ExperimentError(f"arms: two arms are called '{label}'; rename the file of one")
        policies[label] = policy
    return policies


def _each_operation(arms: Sequence[str]) -> list[str]:
    from p2net_tf.augment.operations import OPERATION_NAMES

    alone = [name for name in OPERATION_NAMES if name != "Identity"]
    return [arm for given in arms for arm in (alone if given == EACH_OPERATION else [given])]


def _policy_of(arm: str) -> tuple[str, str | None]:
    """Label and policy of one arm."""
    if arm in SEARCHED:
        return arm, None
    if arm == ONLINE:
        return arm, LEARN
    source = arm.removesuffix(WITH_OUTER)
    if source != arm and source in (*SEARCHED, ONLINE):
        raise ExperimentError(
            f"arms: {arm}: {source} judges by photographs of its own; `online` by those of search.outer"
        )
    label, policy = name_policy(source)
    return label + arm[len(source) :], policy


def _config_of(arm: str, config: ExperimentConfig) -> ExperimentConfig:
    """With the outer photographs among those of the training, where the arm has them."""
    if not arm.endswith(WITH_OUTER):
        return config
    if not config.search.outer:
        raise ExperimentError(f"arms: {arm}: search.outer names no photographs to add to the training")
    data = config.data.model_copy(update={"train": [*config.data.train, *config.search.outer]})
    return config.model_copy(update={"data": data})


def _notes(arms: dict, budget: int, batch_size: int, reference: str | None) -> list[str]:
    notes = [
        f"Every cell has {budget} gradient steps of {batch_size} people. 'Search steps' is what a search "
        "cost in gradient-step equivalents, rounded up to leave a training of equal epochs; it is taken from "
        "the budget, so training and search steps add up to it exactly.",
        "The steps of a policy that is learned while training count as a search does: what the gradient of "
        "the validation loss and the scores of a batch cost.",
        "Searches saw the training part alone: the validation and the test part were withheld from them.",
        "The last network of a training is scored, once, on the test part; no choice was made by it, nor by "
        "the validation part, whose loss is that of the same network.",
        "The learning rate is a cosine over the cell's own training steps; its warm-up, and the window of "
        "averaged weights, are at most a tenth of them. Wall time: search and training, mean of the seeds.",
        SPREAD_NOTE,
    ]
    if reference:
        notes += noise_notes([arm["difference"] for arm in arms.values()], reference)
    if any(any(arm["resumed"]) for arm in arms.values()):
        notes.append("'>' before a wall time: of a resumed training only the time since then is known.")
    return notes


def _wall_time(arm: dict) -> str:
    mean = spread_of(arm["seconds"])["mean"]
    if mean is None or mean < 1:
        return "-" if mean is None else "< 1 s"
    unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if mean >= s), ("s", 1))
    return f"{'> ' if any(arm['resumed']) else ''}{mean / size:.3g} {unit}"
