"""Auto-Pose's rival: the same operations, searched by keras-tuner without a gradient.

A trial trains a fresh network under one policy (`p2net_tf.experiments.tuner.trial`) and is scored on the
outer part of the training set. All trials share one seed: equal initial weights and equal batches, so that
two policies differ by what they do. The cost is known beforehand:
`tuner.trials * tuner.steps_per_trial` gradient steps.

Distributed search is keras-tuner's: the same command several times, with the same `--out`, once as chief and
once per worker (start a worker that died again, under its own name):

```
export KERASTUNER_ORACLE_IP=127.0.0.1 KERASTUNER_ORACLE_PORT=8000
KERASTUNER_TUNER_ID=chief  p2net tune CONFIG --out DIR
KERASTUNER_TUNER_ID=tuner1 p2net tune CONFIG --out DIR
```

| file of the folder | content |
|---|---|
| `policy.yaml` | the best policy |
| `trials.csv`, `trials.png` | every trial; the best so far over the gradient steps |
| `report.json`, `report.html` | the same with the cost, for programs and for people |
| `config.yaml`, `problems.json` | configuration; what is broken in the data |
| `trials/trial_N/` | a trial, with the files of `experiments.cells` |
| `trials/journal.json` | what keras-tuner was asked and told: what resuming needs |
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.space import make_space
from p2net_tf.autopose.split import open_split
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config, load_pose_config
from p2net_tf.config.tuner import TunerConfig
from p2net_tf.data.check import write_problems
from p2net_tf.evaluation.report import write_report
from p2net_tf.experiments.cells import CellFiles
from p2net_tf.experiments.tuner.library import TunerError, grpc
from p2net_tf.experiments.tuner.oracles import make_oracle
from p2net_tf.experiments.tuner.policy_tuner import PROJECT, Objective, PolicySpace, PolicyTuner
from p2net_tf.experiments.tuner.trial import PolicyTrials
from p2net_tf.experiments.tuner.trial_records import (
    COMPLETED,
    FAILED,
    TrialRecord,
    best_of,
    describe,
    first_line,
    plot_trials,
    write_table,
)
from p2net_tf.utils.console import messages, progress
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.provenance import describe_environment

_JOURNAL = f"{PROJECT}/journal.json"


@dataclass(frozen=True)
class Tuning:
    """What a black-box search led to.

    Attributes:
        policy: the best one.
        best: its trial.
        records: all trials, in the order in which they started.
        gradient_steps: spent, those of failed trials included.
    """

    policy: Policy
    best: TrialRecord
    records: list[TrialRecord]
    gradient_steps: int


def run_tuning(
    config: ExperimentConfig,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    command: str = "",
) -> dict:
    """`p2net tune`: searches on the training set, writes the folder and returns the report.

    A worker of a distributed search only runs trials; its report says how many.

    Args:
        resume: go on with the search in `folder`; finished trials are not repeated.
        strict: stop at the first broken item of the data instead of setting it aside.

    Raises:
        DataError: see `autopose.split.open_split`.
        TunerError: see `tune`.
        LockedError: another process searches in `folder`.
    """
    folder, start = as_path(folder, "folder"), time.perf_counter()
    # The workers of a distributed search write into the folder of their chief, each a cell of its own.
    with lock_folder(folder) if _role() != "worker" else contextlib.nullcontext():
        return _tune_in(folder, config, resume, strict, start, command)


def _tune_in(
    folder: Path, config: ExperimentConfig, resume: bool, strict: bool, start: float, command: str
) -> dict:

    def make_objective() -> Objective:
        search, size = config.search, config.model.input_size
        inner, outer, problems = open_split(config.data, search, size, config.seed, strict)
        write_problems(problems, folder / "problems.json")
        messages.print(f"{len(inner)} people to train on, {len(outer)} to validate")
        trials = PolicyTrials(config, inner, outer)
        return lambda policy, steps, on_step: trials.run(policy, steps, config.seed, on_step)

    tuning = tune(config, folder, make_objective, resume)
    if tuning is None:
        return _worker_report(folder)
    report = _report(config, tuning, (time.perf_counter() - start) / 60, command)
    write_report(folder, report)
    return report


def tune(
    config: ExperimentConfig,
    folder: str | Path,
    make_objective: Callable[[], Objective],
    resume: bool = False,
) -> Tuning | None:
    """Runs the trials, and leaves `config.yaml`, `policy.yaml`, `trials.csv` and `trials.png`.

    A trial that fails (an exception, a loss that is no number) is reported with its reason, and the search
    goes on.

    Args:
        make_objective: called once, by whoever runs trials; the chief of a distributed search only hands
            them out.

    Returns:
        None in a worker: its chief has the results.

    Raises:
        TunerError: all trials failed, the folder holds another search, the chief was lost, or keras-tuner's
            environment variables contradict each other.
    """
    folder, role = as_path(folder, "folder"), _role()
    _prepare(config, folder, resume, role)
    settings = config.tuner
    candidates = make_space(config.search.sub_policies, settings.stages[1], config.search.operations)
    space = PolicySpace(candidates, settings.stages, settings.search_strength)
    objective = None if role == "chief" else make_objective()
    oracle = make_oracle(settings, config.seed)
    tuner = PolicyTuner(oracle, space, objective, settings.steps_per_trial, folder)
    if role != "worker":
        oracle.open_journal(folder / _JOURNAL)
    _announce(role, settings, oracle.budget)
    with progress("tuning", oracle.budget if role == "alone" else None) as advance, _chief_may_be_lost():
        advance(sum(record.steps for record in tuner.records()) if role == "alone" else 0)
        tuner.on_step = advance
        tuner.search()
    return None if role == "worker" else _conclude(config, folder, tuner)


def _role() -> str:
    """`alone`, or `chief` or `worker` of a distributed search, by keras-tuner's environment variables."""
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
    if names[0] not in os.environ:
        return "alone"
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise TunerError(f"{names[0]} is set, but not {' and '.join(missing)}; set all three or none")
    return "chief" if "chief" in os.environ[names[2]] else "worker"


def _prepare(config: ExperimentConfig, folder: Path, resume: bool, role: str) -> None:
    """Refuses to write over a search, or to go on with another one; writes `config.yaml`."""
    if role == "worker":
        return
    file = folder / "config.yaml"
    if (folder / PROJECT / "oracle.json").is_file():
        raise TunerError(f"{folder} holds a search of p2net_tf 0.1; choose another folder")
    if (folder / _JOURNAL).is_file():
        if not resume:
            raise TunerError(f"{folder} already holds a search; resume it, or choose another folder")
        changed = _changed(load_pose_config(file), config) if file.is_file() else []
        if changed:
            raise TunerError(
                f"{folder}: {', '.join(changed)} changed since the search began, so its trials would not "
                "compare; only tuner.trials may (with bayesian, where tuner.initial_trials is set). Choose "
                "another folder"
            )
    dump_config(config, file)


def _changed(before: ExperimentConfig, now: ExperimentConfig) -> list[str]:
    old, new = before.model_dump(), now.model_dump()
    if now.tuner.algorithm != "bayesian" or now.tuner.initial_trials:
        old["tuner"]["trials"] = new["tuner"]["trials"]
    return [name for name in new if old[name] != new[name]]


def _announce(role: str, settings: TunerConfig, budget: int) -> None:
    if role != "alone":
        doing = "handing out trials at" if role == "chief" else "asking for trials at"
        messages.print(
            f"{os.environ['KERASTUNER_TUNER_ID']}: {doing} {_address()} (no encryption, no password: "
            "for one machine or a network you trust)",
            soft_wrap=True,
        )
    if role != "worker":
        messages.print(f"{settings.algorithm} search, {budget} gradient steps")


@contextlib.contextmanager
def _chief_may_be_lost() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise TunerError(
            f"the chief at {_address()} does not answer ({error.code().name}); resume it there, then start "
            "this worker again"
        ) from error


def _address() -> str:
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


def _conclude(config: ExperimentConfig, folder: Path, tuner: PolicyTuner) -> Tuning:
    records = tuner.final_records()
    write_table(records, folder / "trials.csv")
    plot_trials(records, folder / "trials.png")
    unfinished = [record for record in records if record.status not in (COMPLETED, FAILED)]
    if unfinished:
        raise TunerError(
            f"trial {unfinished[0].trial} is {unfinished[0].status}, not finished; resume the search"
        )
    best = best_of(records)
    if best is None:
        raise TunerError(
            f"all {len(records)} trials failed, the first of them: {first_line(records[0].reason)}; "
            f"all reasons: {folder / 'trials.csv'}"
        )
    spent = sum(record.steps for record in records)
    provenance = {
        "made_by": "p2net tune",
        "algorithm": config.tuner.algorithm,
        "trials": len(records),
        "failed_trials": sum(record.status == FAILED for record in records),
        "gradient_steps": spent,
        "steps_per_trial": config.tuner.steps_per_trial,
        "trial": best.trial,
        "validation_loss": best.validation_loss,
        "seed": config.seed,
        "operations": list(tuner.hypermodel.space.operations),
    }
    policy = tuner.policy_of(best.trial)
    policy = Policy(policy.sub_policies, name=f"tuned_{config.tuner.algorithm}", provenance=provenance)
    policy.save(folder / "policy.yaml")
    return Tuning(policy, best, records, spent)


def _report(config: ExperimentConfig, tuning: Tuning, minutes: float, command: str) -> dict:
    failed = [record for record in tuning.records if record.status == FAILED]
    cost = {
        "trials": len(tuning.records),
        "failed": len(failed),
        "gradient steps": tuning.gradient_steps,
        "budget of gradient steps": config.tuner.trials * config.tuner.steps_per_trial,
        "minutes of trials": round(sum(record.seconds or 0 for record in tuning.records) / 60, 2),
        "minutes since start": round(minutes, 2),
    }
    return {
        "title": f"{config.name}: {config.tuner.algorithm} search of a policy",
        "subtitle": describe(tuning.policy),
        "headline": {"validation loss": tuning.best.validation_loss},
        "scores": {"Cost": cost},
        "figures": [{"file": "trials.png", "caption": "Validation loss over the gradient steps spent"}],
        "notes": [f"trial {record.trial} failed: {first_line(record.reason)}" for record in failed],
        "policy": tuning.policy.model_dump(mode="json"),
        "trials": [asdict(record) for record in tuning.records],
        "environment": describe_environment(seed=config.seed),
        "command": command,
    }


def _worker_report(folder: Path) -> dict:
    worker = os.environ["KERASTUNER_TUNER_ID"]
    cells = [CellFiles(cell) for cell in (folder / PROJECT).glob("trial_*")]
    own = sum(cell.request().get("worker") == worker for cell in cells)
    return {"headline": {}, "worker": worker, "trials": own, "notes": [f"{worker} ran {own} trials"]}
