"""Auto-Pose's rival: the same discrete space, searched by keras-tuner without a gradient.

A trial trains a fresh network under one policy (`p2net_tf.search.trial`) and is scored on the outer part of
the training set. All trials share one seed: equal initial weights and equal batches, so that two policies
differ by what they do. The cost is known beforehand, `tuner.trials * tuner.steps_per_trial` gradient steps.

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
| `trials/` | keras-tuner's project: what `--resume` needs |
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from p2net_tf.augment.policy import Policy, Stage
from p2net_tf.config import ExperimentConfig, TunerConfig, dump_config, load_config
from p2net_tf.console import messages, progress
from p2net_tf.data.check import write_problems
from p2net_tf.environment import describe_environment
from p2net_tf.evaluation.report import write_report
from p2net_tf.files import write_text
from p2net_tf.search.parts import open_parts
from p2net_tf.search.relaxed import SearchSpace, make_space
from p2net_tf.search.trial import PolicyTrials, TrialResult
from p2net_tf.search.trial_records import (
    COMPLETED,
    FAILED,
    TrialRecord,
    best_of,
    describe,
    first_line,
    plot_trials,
    write_table,
)
from p2net_tf.search.tuner_library import TunerError, base_tuner, grpc, keras_tuner, keras_tuner_config
from p2net_tf.search.tuner_oracles import OBJECTIVE, make_oracle, steps_of

Objective = Callable[[Policy, int, Callable[[], object]], TrialResult]
"""`(policy, steps, on_step)`: trains under the policy, calling `on_step` after every step."""

_PROJECT = "trials"
_RESULT = "result.json"


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
        DataError: see `parts.open_parts`.
        TunerError: see `tune`.
    """
    folder, start = Path(folder), time.perf_counter()

    def make_objective() -> Objective:
        inner, outer, problems = open_parts(config, strict)
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
    folder, role = Path(folder), _role()
    _prepare(config, folder, resume, role)
    space = make_space(config.search.sub_policies, config.search.stages, config.search.operations)
    settings = config.tuner
    objective = None if role == "chief" else make_objective()
    oracle = make_oracle(settings, config.seed)
    tuner = PolicyTuner(oracle, space, objective, settings.steps_per_trial, folder)
    budget = settings.trials * settings.steps_per_trial
    _announce(role, settings, budget)
    with progress("tuning", budget if role == "alone" else None) as advance, _chief_may_be_lost():
        advance(sum(record.steps for record in tuner.records()) if role == "alone" else 0)
        tuner.on_step = advance
        tuner.search()
    return None if role == "worker" else _conclude(config, space, folder, tuner)


class PolicySpace(keras_tuner.HyperModel):
    """K x N of operation, probability in tenths, magnitude level 0..10, as keras-tuner's hyperparameters.

    Probabilities are integers: a keras-tuner `Float(0, 1, step=0.1)` never draws 1 (`1 // 0.1` is 9).
    """

    def __init__(self, space: SearchSpace):
        super().__init__()
        self.space = space

    def build(self, hp) -> Policy:
        """Declares the hyperparameters, and returns the policy that their values mean."""

        def stage(k: int, n: int) -> Stage:
            place = f"sub_policy_{k}/stage_{n}"
            operation = hp.Choice(f"{place}/operation", list(self.space.operations))
            tenths, level = hp.Int(f"{place}/probability_tenths", 0, 10), hp.Int(f"{place}/magnitude", 0, 10)
            return Stage(operation, tenths / 10, float(level))

        rows = [[stage(k, n) for n in range(self.space.stages)] for k in range(self.space.sub_policies)]
        return Policy(rows, name="tuned")


class PolicyTuner(base_tuner.BaseTuner):
    """Runs trials of policies, and keeps a `TrialRecord` of each beside keras-tuner's own file.

    Args:
        oracle: proposes the policies.
        space: of the policies.
        objective: trains and scores one.
        steps_per_trial: gradient steps of a trial, or of the longest where the oracle halves.
        folder: of the search; keras-tuner's project is `trials/` in it.

    Attributes:
        on_step: called after every gradient step.
    """

    def __init__(self, oracle, space: SearchSpace, objective, steps_per_trial: int, folder: Path):
        self.on_step = lambda: None
        self._run_objective, self._steps_per_trial = objective, steps_per_trial
        oracle.verbose = 0
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it resumes
            super().__init__(oracle, PolicySpace(space), directory=str(folder), project_name=_PROJECT)

    def search(self) -> None:
        # Else keras-tuner prints the traceback of every failed trial; here a line says it.
        debug, keras_tuner_config.DEBUG = keras_tuner_config.DEBUG, False
        try:
            super().search()
        finally:
            keras_tuner_config.DEBUG = debug

    def on_search_begin(self) -> None:
        """Without its file a search that is killed in its first trial would not be resumed."""
        self.save()

    def run_trial(self, trial) -> dict[str, float]:
        policy = self.hypermodel.build(trial.hyperparameters)
        steps = steps_of(trial.hyperparameters.values, self._steps_per_trial)
        known = {"trial": trial.trial_id, "policy": describe(policy), "steps": steps}
        finished = self._finished(known)
        if finished is not None:
            return {OBJECTIVE: finished.validation_loss}
        known["worker"], start = self.tuner_id, time.perf_counter()
        try:
            result = self._run_objective(policy, steps, self.on_step)
            if not math.isfinite(result.validation_loss):
                raise ArithmeticError(f"the validation loss is {result.validation_loss}")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - start
            self._keep(TrialRecord(**known, status=FAILED, reason=reason, seconds=seconds))
            raise keras_tuner.errors.FailedTrialError(reason) from error
        self._keep(TrialRecord(**known, status=COMPLETED, **result._asdict()))
        return {OBJECTIVE: result.validation_loss}

    def _finished(self, known: dict) -> TrialRecord | None:
        """The record of a trial that was killed after its training, before keras-tuner had the result."""
        file = self._result_file(known["trial"])
        record = TrialRecord.load(file) if file.is_file() else None
        same = record is not None and known.items() <= asdict(record).items()
        return record if same and record.status == COMPLETED else None

    def _keep(self, record: TrialRecord) -> None:
        record.save(self._result_file(record.trial))
        if record.status == FAILED:
            said = f"[red]failed[/red] ({_plain(first_line(record.reason))})"
        else:
            best = best_of(self.records())
            said = f"validation loss {record.validation_loss:.4f} (best {best.validation_loss:.4f})"
        messages.print(
            f"trial {record.trial}: {said}, {record.steps} steps in {record.seconds:.1f} s: {record.policy}",
            soft_wrap=True,
        )

    def records(self) -> list[TrialRecord]:
        """Of all trials that were run in this folder, by whatever worker."""
        files = sorted(Path(self.project_dir).glob(f"trial_*/{_RESULT}"))
        return [TrialRecord.load(file) for file in files]

    def final_records(self) -> list[TrialRecord]:
        """One per trial of the oracle, in its order, with the status that the oracle has.

        A worker that wrote into another folder leaves no record here; status and loss are known all the same.
        """
        found = {record.trial: record for record in self.records()}
        return [self._final(self.oracle.trials[name], found.get(name)) for name in self.oracle.start_order]

    def _final(self, trial, record: TrialRecord | None) -> TrialRecord:
        if record is not None and record.status == trial.status:
            return record
        return TrialRecord(
            trial=trial.trial_id,
            status=trial.status,
            policy=describe(self.hypermodel.build(trial.hyperparameters.copy())),
            steps=steps_of(trial.hyperparameters.values, self._steps_per_trial),
            reason="" if trial.status == COMPLETED else trial.message or "its worker left no reason here",
            validation_loss=trial.score if trial.status == COMPLETED else None,
        )

    def policy_of(self, name: str) -> Policy:
        return self.hypermodel.build(self.oracle.trials[name].hyperparameters.copy())

    def save(self) -> None:
        if not self._is_worker():
            self.oracle.save()
        write_text(self._get_tuner_fname(), json.dumps(self.get_state()))

    def _result_file(self, name: str) -> Path:
        return Path(self.get_trial_dir(name)) / _RESULT


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
    if (folder / _PROJECT / "oracle.json").is_file():
        if not resume:
            raise TunerError(
                f"{folder} already holds a search; continue it with --resume or give another --out"
            )
        changed = _changed(load_config(file), config) if file.is_file() else []
        if changed:
            raise TunerError(
                f"{folder}: {', '.join(changed)} changed since the search began, so its trials would not "
                "compare; only tuner.trials may (with bayesian, where tuner.initial_trials is set). Give "
                "another --out"
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
            f"the chief at {_address()} does not answer ({error.code().name}); start it with --resume, then "
            "this worker again"
        ) from error


def _address() -> str:
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


def _conclude(config: ExperimentConfig, space: SearchSpace, folder: Path, tuner: PolicyTuner) -> Tuning:
    records = tuner.final_records()
    write_table(records, folder / "trials.csv")
    plot_trials(records, folder / "trials.png")
    unfinished = [record for record in records if record.status not in (COMPLETED, FAILED)]
    if unfinished:
        raise TunerError(
            f"trial {unfinished[0].trial} is {unfinished[0].status}, not finished; go on with --resume"
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
        "operations": list(space.operations),
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
    files = (folder / _PROJECT).glob(f"trial_*/{_RESULT}")
    own = sum(TrialRecord.load(file).worker == worker for file in files)
    return {"headline": {}, "worker": worker, "trials": own, "notes": [f"{worker} ran {own} trials"]}


def _plain(text: str) -> str:
    """As rich prints it: brackets are not markup."""
    from rich.markup import escape

    return escape(text)
