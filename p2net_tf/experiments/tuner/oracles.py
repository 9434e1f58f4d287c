"""The oracles of `p2net tune`: keras-tuner's own, bound to a budget, and with a journal to go on from."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from p2net_tf.config.tuner import TunerConfig
from p2net_tf.experiments.cells import read_kept, write_json
from p2net_tf.experiments.tuner.library import TunerError, TunerMissing, keras_tuner, threadpool_limits
from p2net_tf.experiments.tuner.trial_records import COMPLETED

OBJECTIVE = "val_loss"
_RUNGS = 9
"""Length of Hyperband's longest trials in units of its shortest: 1/9, 1/3 and all of the steps."""
_ENDLESS = 2**31
_COLLISIONS = 20
"""Policies drawn that were tried already, after which the space counts as exhausted, as with keras-tuner."""


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
            # A policy that is promoted trains from the start again, with the schedule of its longer run.
            oracle = _Hyperband(max_epochs=_RUNGS, factor=3, hyperband_iterations=None, **options)
        elif settings.algorithm == "bayesian":
            # keras-tuner's default, three per hyperparameter, is often more than all trials.
            initial = settings.initial_trials or max(2, settings.trials // 3)
            oracle = _Bayesian(initial, **options)
        else:
            oracle = _Random(max_trials=None, **options)
    except ImportError as error:
        raise TunerMissing(f"{error} Or: pip install 'p2net_tf[tuner]'") from error
    oracle.steps_per_trial = settings.steps_per_trial
    oracle.budget = settings.trials * settings.steps_per_trial
    oracle.verbose = 0
    return oracle


def steps_of(values: dict, steps_per_trial: int) -> int:
    """Gradient steps of the trial with these hyperparameter values."""
    return max(1, round(steps_per_trial * values.get("tuner/epochs", _RUNGS) / _RUNGS))


class _Budgeted:
    """For an oracle: it proposes trials until one would cost more than the budget has left."""

    _is_spent = False

    def populate_space(self, trial_id):
        answer = {"status": "STOPPED"} if self._is_spent else super().populate_space(trial_id)
        if answer["status"] == "RUNNING":
            planned = [answer["values"], *(trial.hyperparameters.values for trial in self.trials.values())]
            steps = sum(steps_of(values, self.steps_per_trial) for values in planned)
            self._is_spent = steps > self.budget
        return {"status": "STOPPED"} if self._is_spent else answer


class _Journaled:
    """For an oracle: it notes what it was asked and told, and told the same again it stands where it stood.

    keras-tuner's own files, which this does without, are not whole at every moment, and lack the state of the
    bayesian oracle's generator: a search that was killed would go another way.

    Attributes:
        replayed: the values that were proposed, while it is told the same again.
    """

    replayed, _journal, _events, _interrupted = None, None, (), ()

    def open_journal(self, file: Path) -> None:
        """Goes through what was noted there, if anything, and notes what follows.

        Raises:
            TunerError: it proposes other policies now.
        """
        self._events = read_kept(file, list) or []
        for event in self._events:
            if "asked" in event:
                self.replayed = event["asked"]
                trial = super().create_trial(f"before {len(self.trials)}")
                if trial.hyperparameters.values != event["asked"]:
                    raise TunerError(
                        f"{file.parent.parent}: this version of keras-tuner does not propose the policies "
                        "that the search began with; choose another folder"
                    )
            else:
                trial = self.trials[self.start_order[event["told"]]]
                self.update_trial(trial.trial_id, {OBJECTIVE: event["loss"]})
                trial.status = COMPLETED
                super().end_trial(trial)
        self.replayed = None
        self._journal, self._interrupted = file, list(self.ongoing_trials.values())
        self.ongoing_trials.clear()
        self.tuner_ids.clear()

    def save(self) -> None:
        """The journal is what is kept."""

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        """Trials whose worker was killed come first."""
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        if self._interrupted:
            self.tuner_ids.add(tuner_id)
            self.ongoing_trials[tuner_id] = self._interrupted.pop(0)
            return self.ongoing_trials[tuner_id]
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self._note({"asked": trial.hyperparameters.values})
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial):
        metrics = self.trials[trial.trial_id].metrics
        loss = metrics.get_last_value(OBJECTIVE) if metrics.exists(OBJECTIVE) else math.nan
        super().end_trial(trial)
        self._note({"told": self.start_order.index(trial.trial_id), "loss": loss})

    def _note(self, event: dict) -> None:
        self._events.append(event)
        write_json(self._journal, self._events)


class _Random(_Journaled, _Budgeted, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_Journaled, _Budgeted, keras_tuner.oracles.HyperbandOracle):
    pass


class _GaussianProcess(keras_tuner.Oracle):
    """keras-tuner's bayesian oracle made anew for every proposal, which then follows from the trials alone.

    So it goes on from the trials of a journal without proposing them again, which takes seconds each.

    Args:
        initial: random trials before the model is asked.
    """

    def __init__(self, initial: int, **options):
        super().__init__(**options)
        self._initial = initial
        self._new_model()  # or why there can be none

    def populate_space(self, trial_id):
        if self.replayed is not None:
            return {"status": "RUNNING", "values": self.replayed}
        model = self._new_model()
        # Its thousands of tiny systems take several times as long on more than one thread.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # of the kernel's fit, at its bounds with few trials
            model.trials = {name: t for name, t in self.trials.items() if t.status != "RUNNING"}
            answer = model.populate_space(trial_id)
            if self.ongoing_trials:  # whose losses are guessed by a model that was fitted to the others
                model.trials, model.ongoing_trials = self.trials, self.ongoing_trials
                answer = model.populate_space(trial_id)
        return self._never_tried(answer)

    def _new_model(self):
        return keras_tuner.oracles.BayesianOptimizationOracle(
            objective=self.objective,
            max_trials=None,
            num_initial_points=self._initial,
            seed=_oracle_seed([self.seed, len(self.trials)]),
            hyperparameters=self.get_space(),
        )

    def _never_tried(self, answer: dict) -> dict:
        """The model may ask for the same policy again; with one seed for all trials that tells nothing."""
        tried = [trial.hyperparameters.values for trial in self.trials.values()]
        space = self.get_space().space
        for seed in np.random.SeedSequence([self.seed, len(tried)]).spawn(_COLLISIONS):
            if answer["status"] != "RUNNING" or answer["values"] not in tried:
                return answer
            numbers = seed.generate_state(len(space)).tolist()
            drawn = [(hp.name, hp.random_sample(number)) for hp, number in zip(space, numbers, strict=True)]
            answer = {**answer, "values": dict(drawn)}
        return {"status": "STOPPED"}


class _Bayesian(_Journaled, _Budgeted, _GaussianProcess):
    pass


def _oracle_seed(seed: int | list[int]) -> int:
    """Far apart for neighbours: keras-tuner counts its seed up with every value drawn. (And 0 means any.)"""
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1) or 1
