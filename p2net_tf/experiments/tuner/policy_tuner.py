"""Policies as keras-tuner sees them: its hyperparameters, and the tuner that runs a trial of each."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.autopose.space import SearchSpace
from p2net_tf.experiments.tuner.library import base_tuner, keras_tuner, keras_tuner_config
from p2net_tf.experiments.tuner.oracles import OBJECTIVE, steps_of
from p2net_tf.experiments.tuner.trial import TrialResult
from p2net_tf.experiments.tuner.trial_records import (
    COMPLETED,
    FAILED,
    TrialRecord,
    best_of,
    describe,
    first_line,
)
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import write_text

Objective = Callable[[Policy, int, Callable[[], object]], TrialResult]
"""`(policy, steps, on_step)`: trains under the policy, calling `on_step` after every step."""

PROJECT = "trials"
RESULT = "result.json"


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
            super().__init__(oracle, PolicySpace(space), directory=str(folder), project_name=PROJECT)

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
            said = f"[red]failed[/red] ({escape(first_line(record.reason))})"
        else:
            best = best_of(self.records())
            said = f"validation loss {record.validation_loss:.4f} (best {best.validation_loss:.4f})"
        messages.print(
            f"trial {record.trial}: {said}, {record.steps} steps in {record.seconds:.1f} s: {record.policy}",
            soft_wrap=True,
        )

    def records(self) -> list[TrialRecord]:
        """Of all trials that were run in this folder, by whatever worker."""
        files = sorted(Path(self.project_dir).glob(f"trial_*/{RESULT}"))
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
        return Path(self.get_trial_dir(name)) / RESULT
