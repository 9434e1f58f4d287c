"""Policies as keras-tuner sees them: its hyperparameters, and the tuner that runs a trial of each."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from rich.markup import escape

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.autopose.space import DECIMALS, SearchSpace
from p2net_tf.experiments.cells import CellFiles
from p2net_tf.experiments.tuner.library import base_tuner, keras_tuner
from p2net_tf.experiments.tuner.oracles import OBJECTIVE, steps_of
from p2net_tf.experiments.tuner.trial import TrialResult
from p2net_tf.experiments.tuner.trial_records import (
    COMPLETED,
    FAILED,
    TrialRecord,
    best_of,
    describe,
    first_line,
    record_of,
)
from p2net_tf.utils.console import messages

Objective = Callable[[Policy, int, Callable[[], object]], TrialResult]
"""`(policy, steps, on_step)`: trains under the policy, calling `on_step` after every step."""

PROJECT = "trials"


class PolicySpace(keras_tuner.HyperModel):
    """K x N of operation, probability in tenths, magnitude level 0..10, as keras-tuner's hyperparameters.

    N is one of them where it may differ, and so is a strength that all probabilities are multiplied with.
    Probabilities are integers: a keras-tuner `Float(0, 1, step=0.1)` never draws 1 (`1 // 0.1` is 9).

    Args:
        space: the operations, and K.
        stages: fewest and most operations of a sub-policy; None: as many as `space` has.
        strength: whether there is one.
    """

    def __init__(self, space: SearchSpace, stages: tuple[int, int] | None = None, strength: bool = False):
        super().__init__()
        self.space, self.strength = space, strength
        self.stages = stages or (space.stages, space.stages)

    def build(self, hp) -> Policy:
        """Declares the hyperparameters, and returns the policy that their values mean."""
        fewest, most = self.stages
        stages = hp.Int("stages", fewest, most) if fewest < most else most
        strength = hp.Int("strength_tenths", 1, 10) / 10 if self.strength else 1.0

        def stage(k: int, n: int) -> Stage:
            place = f"sub_policy_{k}/stage_{n}"
            operation = hp.Choice(f"{place}/operation", list(self.space.operations))
            tenths, level = hp.Int(f"{place}/probability_tenths", 0, 10), hp.Int(f"{place}/magnitude", 0, 10)
            return Stage(operation, round(strength * tenths / 10, DECIMALS), float(level))

        # All are declared, whatever N is: conditional ones would change the space from trial to trial.
        rows = [[stage(k, n) for n in range(most)][:stages] for k in range(self.space.sub_policies)]
        return Policy(rows, name="tuned")


class PolicyTuner(base_tuner.BaseTuner):
    """Runs trials of policies, each of which is a cell beside keras-tuner's own file.

    Args:
        oracle: proposes the policies.
        space: of the policies, as hyperparameters.
        objective: trains and scores one.
        steps_per_trial: gradient steps of a trial, or of the longest where the oracle halves.
        folder: of the search; keras-tuner's project is `trials/` in it.

    Attributes:
        on_step: called after every gradient step.
    """

    def __init__(self, oracle, space: PolicySpace, objective, steps_per_trial: int, folder: Path):
        self.on_step = lambda: None
        self._run_objective, self._steps_per_trial = objective, steps_per_trial
        super().__init__(oracle, space, directory=str(folder), project_name=PROJECT)

    def save(self) -> None:
        """Nothing: the oracle's journal and the cells are what is kept."""

    def search(self) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN")  # the loss of a trial that failed
            super().search()

    def run_trial(self, trial) -> dict[str, float]:
        """NaN tells keras-tuner that a trial failed; an exception would make it print a traceback."""
        files = CellFiles(Path(self.get_trial_dir(trial.trial_id)))
        policy = self.hypermodel.build(trial.hyperparameters)
        asked = self._asked(trial, policy)
        # Of a trial that was killed after its training, before the oracle had the result.
        found = files.found() if asked.items() <= files.request().items() else None
        if found is None:
            asked["worker"], start = self.tuner_id, time.perf_counter()
            files.note_request(asked)
            found = files.attempt(lambda: self._found(policy, asked["steps"]))
            if "failed" in found:  # what it cost counts, too
                files.note_request({**asked, "seconds": time.perf_counter() - start})
            self._say(record_of(files))
        return {OBJECTIVE: found.get("value", math.nan)}

    def _found(self, policy: Policy, steps: int) -> dict:
        """The content of `cell.json`."""
        result = self._run_objective(policy, steps, self.on_step)._asdict()
        return {"metric": "validation loss", "value": result.pop("validation_loss"), **result}

    def _asked(self, trial, policy: Policy) -> dict:
        steps = steps_of(trial.hyperparameters.values, self._steps_per_trial)
        return {"trial": str(int(trial.trial_id)), "policy": describe(policy), "steps": steps}

    def _say(self, record: TrialRecord) -> None:
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
        """Of all trials that ended in this folder, by whatever worker."""
        found = [record_of(CellFiles(folder)) for folder in sorted(Path(self.project_dir).glob("trial_*"))]
        return [record for record in found if record is not None]

    def final_records(self) -> list[TrialRecord]:
        """One per trial of the oracle, in its order, with the status that the oracle has.

        A worker that wrote into another folder leaves no record here; status and loss are known all the same.
        """
        found = {record.trial: record for record in self.records()}
        return [self._final(self.oracle.trials[name], found) for name in self.oracle.start_order]

    def _final(self, trial, found: dict[str, TrialRecord]) -> TrialRecord:
        asked = self._asked(trial, self.policy_of(trial.trial_id))
        record = found.get(asked["trial"])
        if record is not None and record.status == trial.status:
            return record
        if trial.status == COMPLETED:
            return TrialRecord(**asked, status=COMPLETED, validation_loss=trial.score)
        return TrialRecord(**asked, status=trial.status, reason="its worker left no reason here")

    def policy_of(self, name: str) -> Policy:
        """`name`: number of a trial."""
        trial = self.oracle.trials[self.oracle.start_order[int(name)]]
        return self.hypermodel.build(trial.hyperparameters.copy())
