"""The oracles of `p2net tune`: keras-tuner's own, made resumable to the letter and bound to a budget."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path

import numpy as np

from p2net_tf.config.tuner import TunerConfig
from p2net_tf.experiments.tuner.library import TunerMissing, keras_tuner, threadpool_limits
from p2net_tf.experiments.tuner.trial_records import COMPLETED, FAILED
from p2net_tf.utils.files import write_text

OBJECTIVE = "val_loss"
_RUNGS = 9
"""Length of Hyperband's longest trials in units of its shortest: 1/9, 1/3 and all of the steps."""
_ENDLESS = 2**31


def make_oracle(settings: TunerConfig, seed: int):
    """The oracle that `settings` name.

    Raises:
        TunerMissing: scikit-learn, which `bayesian` needs, is not installed.
    """
    options = {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "seed": _oracle_seed(seed),
        "max_consecutive_failed_trials": _ENDLESS,
    }
    try:
        if settings.algorithm == "hyperband":
            budget = settings.trials * settings.steps_per_trial
            return _Hyperband(budget, settings.steps_per_trial, **options)
        if settings.algorithm == "bayesian":
            # keras-tuner's default, three per hyperparameter, is often more than all trials.
            initial = settings.initial_trials or max(2, settings.trials // 3)
            return _Bayesian(max_trials=settings.trials, num_initial_points=initial, **options)
        return _Random(max_trials=settings.trials, **options)
    except ImportError as error:
        raise TunerMissing(f"{error} Or: pip install 'p2net_tf[tuner]'") from error


def steps_of(values: dict, steps_per_trial: int) -> int:
    """Gradient steps of the trial with these hyperparameter values."""
    return max(1, round(steps_per_trial * values.get("tuner/epochs", _RUNGS) / _RUNGS))


class _Resumable:
    """For an oracle: its files are whole at any moment, and after a kill it goes on just where it was."""

    def save(self) -> None:
        write_text(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial) -> None:
        write_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))

    def reload(self) -> None:
        """A trial's file is written a moment before the oracle's, and the kill may have come between."""
        super().reload()
        for name in [name for name in self.trials if name not in self.start_order]:
            del self.trials[name]  # its values are drawn again, and are the same
        for name in [name for name in self._retry_queue if self.trials[name].status in (COMPLETED, FAILED)]:
            self._retry_queue.remove(name)
            self.end_order.append(name)


class _Random(_Resumable, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Resumable, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id):
        # Its generator is not part of its saved state: a resumed search would go another way.
        self._random_state = np.random.RandomState([self.seed, len(self.trials)])
        # Its thousands of tiny systems take several times as long on more than one thread.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # of the kernel's fit, at its bounds with few trials
            answer = super().populate_space(trial_id)
        # The model may ask for the same policy again; with one seed for all trials that tells nothing.
        if answer["values"] and self._duplicate(answer["values"]):
            return self._random_populate_space()
        return answer


class _Hyperband(_Resumable, keras_tuner.oracles.HyperbandOracle):
    """Brackets after brackets until the budget is spent.

    A policy that is promoted trains from the start again, with the whole schedule of its longer run.

    Args:
        budget: gradient steps of all trials.
        steps_per_trial: of the longest trials.
    """

    def __init__(self, budget: int, steps_per_trial: int, **options):
        self._budget, self._steps_per_trial = budget, steps_per_trial
        super().__init__(max_epochs=_RUNGS, factor=3, hyperband_iterations=None, **options)

    def populate_space(self, trial_id):
        before = copy.deepcopy((self._brackets, self._current_bracket, self._current_iteration))
        answer = super().populate_space(trial_id)
        if answer["status"] != "RUNNING":
            return answer
        planned = [answer["values"], *(trial.hyperparameters.values for trial in self.trials.values())]
        if sum(steps_of(values, self._steps_per_trial) for values in planned) <= self._budget:
            return answer
        # The proposal stands in the brackets already, but there will be no such trial.
        self._brackets, self._current_bracket, self._current_iteration = before
        return {"status": "STOPPED"}


def _oracle_seed(seed: int) -> int:
    """Far apart for neighbours: keras-tuner counts its seed up with every value drawn. (And 0 means any.)"""
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1) or 1
