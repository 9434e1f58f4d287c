"""One search from a configuration to a folder: `p2net search`.

| file | content |
|---|---|
| `config.yaml` | the resolved configuration |
| `policy.yaml` | the policy found; `p2net train CONFIG policy=FOLDER` trains with it |
| `trajectory.npz` | mixing weights, probabilities, magnitudes, losses and noise of every step |
| `weights.png`, `sheet.jpg` | mixing weights over the steps; the sub-policies at work |
| `report.json` | what was found, the discretisation gap, cost |
| `state.npz`, `tensorboard/` | what resuming needs; logs |
"""

from __future__ import annotations

import json
import math
import time
import zipfile
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.build import make_search_policy, make_searcher
from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError
from p2net_tf.autopose.split import open_split
from p2net_tf.autopose.step import Searcher
from p2net_tf.autopose.trajectory import Trajectory, plot_weights
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config, load_pose_config
from p2net_tf.data.check import write_problems
from p2net_tf.experiments.policy_sheet import draw_sheet
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.experiments.search_progress import LiveTable, log_step
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.schedules import effective_learning_rate
from p2net_tf.training.strategy import one_host_strategy
from p2net_tf.utils.console import messages, progress
from p2net_tf.utils.files import replacing, set_aside, write_text
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.provenance import describe_environment

STEP_COST = 2.8
"""Gradient steps that one search step is worth, as `p2net bench search` measures it: the gradient of the
weights and their update 1, the forward-mode pass 0.9, the validation gradient 0.9 where the outer batch is as
large as the inner."""
_VALIDATION_COST = 0.9
_INNER, _OUTER, _WARM_UP, _GAP = 1, 2, 3, 4
_SHEET_PEOPLE = 16


def run_search(
    config: ExperimentConfig,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    command: str = "",
) -> dict:
    """Searches a policy on the training part of the configuration's data; returns the report.

    The training images are split in two: weights train on the inner part, the policy is judged on the outer.
    Neither the validation nor the test data are opened.

    Args:
        resume: go on from `state.npz`; the policy found is the same, byte for byte.
        strict: stop at the first broken item of the data.
        command: the command line, for the report.

    Raises:
        SearchError: a folder that holds another search, or settings that do not go together.
        DataError: too little data.
        LockedError: another process works in `folder`.
    """
    folder = as_path(folder, "folder")
    _check_folder(folder, config, resume)
    with lock_folder(folder):
        return _search_in(folder, config, resume, strict, command)


def _search_in(folder: Path, config: ExperimentConfig, resume: bool, strict: bool, command: str) -> dict:
    """In a folder that nobody else works in."""
    start = time.perf_counter()
    inner, outer, problems = open_split(
        config.data, config.search, config.model.input_size, config.seed, strict
    )
    searcher = build_searcher(config, inner.skeleton)
    _check_batches(config.search, searcher.replicas, len(inner), len(outer))
    # Not before: what failed for its data may be begun again under a mended configuration.
    dump_config(config, folder / "config.yaml")
    write_problems(problems, folder / "problems.json")
    settings = config.search
    messages.print(
        f"{len(inner)} people to train on, {len(outer)} to judge by; {settings.warmup_steps} warm-up steps, "
        f"{settings.steps} search steps of {settings.batch_size}",
        soft_wrap=True,
    )
    search = _Search(config, folder, searcher, inner, outer)
    if resume:
        search.restore()
    search.warm_up()
    search.go()
    policy = searcher.policy.discretize(config.name, _provenance(config, search.trajectory))
    gap = search.gap(policy)
    policy.save(folder / "policy.yaml")
    report = _report(config, searcher, search, policy, gap, command)
    report["seconds"] = round(time.perf_counter() - start, 1)
    _write_artefacts(folder, search, policy, inner, config.seed)
    write_text(folder / "report.json", json.dumps(report, indent=2, default=float) + "\n")
    return report


def build_searcher(config: ExperimentConfig, skeleton: Skeleton) -> Searcher:
    """A searcher before its first step, on as many devices of this host as `training.replicas` says.

    Raises:
        SearchError: a precision whose loss has to be scaled, which a search does not do.
    """
    settings, training = config.search, config.training
    if training.precision == "mixed_float16":
        raise SearchError(
            "training.precision=mixed_float16: a search has losses of losses, and scales none of them; "
            "set training.precision=float32 or mixed_bfloat16"
        )
    keras.utils.set_random_seed(config.seed)
    rate = settings.weights_learning_rate or effective_learning_rate(training)
    changes = {"learning_rate": rate, "learning_rate_batch": None, "accumulate": 1}
    changes |= {"schedule": "constant", "ema_momentum": None, "warmup_steps": 0}
    plain = config.model_copy(update={"training": training.model_copy(update=changes)})
    strategy = one_host_strategy(training.replicas)
    with strategy.scope():
        model = build_pose_model(plain, skeleton, steps=1, replicas=strategy.num_replicas_in_sync)
        policy = make_search_policy(settings, config.seed)
    return make_searcher(model, policy, settings, config.seed, strategy)


def search_cost(settings: SearchConfig) -> int:
    """Gradient steps of `search.batch_size` people that a search is worth, its warm-up included."""
    share = (settings.outer_batch_size or settings.batch_size) / settings.batch_size
    step = STEP_COST - _VALIDATION_COST * (1.0 - share)
    return math.ceil(settings.warmup_steps + step * settings.steps)


class _Search:
    """The loop around a `Searcher`: batches by number, checkpoints, logs."""

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        searcher: Searcher,
        inner: InMemoryCrops,
        outer: InMemoryCrops,
    ):
        self._config, self._settings, self._folder = config, config.search, folder
        self.searcher, self._inner, self._outer = searcher, inner, outer
        self.warm, self.trajectory = 0, Trajectory()
        self._file = folder / "state.npz"

    def warm_up(self) -> None:
        """Trains the weights on plain crops, so that there is something to judge by."""
        total = self._settings.warmup_steps
        with progress("warm-up, steps", total) as advance:
            advance(self.warm)
            for batch in islice(self._batches(self._inner, _WARM_UP, self.warm), total - self.warm):
                loss = self.searcher.train_plain(batch)
                self._check(f"warm-up step {self.warm + 1}", loss)
                self.warm += 1
                advance()
                self._save_every(self.warm)

    def go(self) -> None:
        """All search steps that are left."""
        settings, done = self._settings, len(self.trajectory)
        size = settings.outer_batch_size or settings.batch_size
        inner = self._batches(self._inner, _INNER, done)
        outer = self._batches(self._outer, _OUTER, done, size)
        writer = tf.summary.create_file_writer(str(self._folder / "tensorboard"))
        with writer.as_default(), LiveTable(self.searcher.policy.space, settings) as live:
            for number in range(done, settings.steps):
                record = self.searcher.search_step(next(inner), next(outer), number)
                self._check(f"search step {number + 1}", record.inner_loss, record.outer_loss)
                self.trajectory.add(record)
                if (number + 1) % settings.log_every == 0 or number + 1 == settings.steps:
                    live.show(number + 1, self.trajectory)
                    log_step(number + 1, record, self.searcher.policy.space)
                else:
                    live.advance(number + 1)
                self._save_every(number + 1)

    def gap(self, policy: Policy) -> dict:
        """Outer loss after a few training steps under the continuous policy, and under the discrete one.

        Both start from the weights at the end of the search, which come back afterwards.
        """
        steps, state = self._settings.gap_steps, self.searcher.state()
        losses = {"now": self._judge()}
        trainers = {
            "continuous": self.searcher.train_augmented,
            "discrete": self.searcher.train_discrete(policy),
        }
        for name, train in trainers.items():
            self.searcher.restore(state)
            batches = self._batches(self._inner, _GAP, 0)
            for number, batch in enumerate(islice(batches, steps)):
                train(batch, tf.constant(number, tf.int64))
            losses[name] = self._judge()
        self.searcher.restore(state)
        return {"steps": steps, **losses, "gap": losses["discrete"] - losses["continuous"]}

    def restore(self) -> None:
        """Takes up `state.npz`; where there is none, nothing was done yet."""
        if not self._file.is_file():
            return
        try:
            with np.load(self._file, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            set_aside(self._file, f"{error}; the search begins anew")
            return
        self.searcher.restore([arrays[f"variable_{i}"] for i in range(len(self.searcher.variables))])
        self.warm = int(arrays["warm"])
        self.trajectory = Trajectory.from_arrays(arrays)
        messages.print(f"resuming after {self.warm} warm-up steps and {len(self.trajectory)} search steps")

    def _save_every(self, step: int) -> None:
        if step % self._settings.checkpoint_every:
            return
        arrays = {f"variable_{i}": value for i, value in enumerate(self.searcher.state())}
        with (
            replacing(self._file, sum(value.nbytes for value in arrays.values())) as scratch,
            open(scratch, "wb") as file,
        ):
            np.savez(file, warm=self.warm, **arrays, **self.trajectory.arrays())

    def _batches(self, table: InMemoryCrops, stream: int, start: int, size: int | None = None):
        flip = self._config.augment.flip_probability
        seed = self._config.seed * 8 + stream
        return iter(table.batches(size or self._settings.batch_size, seed, flip, start))

    def _judge(self) -> float:
        return self.searcher.outer_loss(self._outer.in_order(self._settings.batch_size))

    def _check(self, step: str, *losses) -> None:
        if not np.isfinite(losses).all():
            raise SearchError(
                f"the loss is not finite at {step}; lower search.weights_learning_rate (of the warm-up, too) "
                "or search.zeta, and begin again in another folder"
            )


def _check_batches(settings: SearchConfig, replicas: int, inner: int, outer: int) -> None:
    """Refuses batches that cannot be split over the replicas, or are too small to compare chains in.

    Args:
        inner, outer: people there are; a batch is no larger.

    Raises:
        SearchError: names the field.
    """
    sizes = {
        "batch_size": min(settings.batch_size, inner),
        "outer_batch_size": min(settings.outer_batch_size or settings.batch_size, outer),
    }
    for name, size in sizes.items():
        if size % replicas:
            raise SearchError(f"search.{name}: {size} people cannot be split over {replicas} replicas")
    chains = settings.chains_per_person
    people = sizes["batch_size"] // chains
    if settings.relaxation == "expectation" and (people == 0 or people % replicas):
        raise SearchError(
            f"search.batch_size: {sizes['batch_size']} crops are {people} people with "
            f"search.chains_per_person={chains}; there must be a multiple of {replicas}, and at least as many"
        )


def _check_folder(folder: Path, config: ExperimentConfig, resume: bool) -> None:
    """Refuses to mix two searches.

    Raises:
        SearchError: names the folder and the remedy.
    """
    file = folder / "config.yaml"
    if file.is_file() and not resume:
        raise SearchError(f"{folder}: holds a search already; resume it, or choose another folder")
    if file.is_file() and load_pose_config(file) != config:
        raise SearchError(
            f"{folder}: was begun with another configuration ({file}), so its steps cannot be continued; "
            "use that one, or choose another folder"
        )


def _provenance(config: ExperimentConfig, trajectory: Trajectory) -> dict:
    settings = config.search
    return {
        "made_by": "p2net search",
        "config": config.name,
        "seed": config.seed,
        "relaxation": settings.relaxation,
        "warmup_steps": settings.warmup_steps,
        "steps": len(trajectory),
        "batch_size": settings.batch_size,
    }


def _report(
    config: ExperimentConfig, searcher: Searcher, search: _Search, policy: Policy, gap: dict, command: str
) -> dict:
    settings, space = config.search, searcher.policy.space
    weights = searcher.policy.weights().numpy()
    means = dict(zip(space.operations, weights.mean(axis=(0, 1)).tolist(), strict=True))
    return {
        "title": config.name,
        "policy": [[stage.model_dump() for stage in stages] for stages in policy.sub_policies],
        "mean_weights": dict(sorted(means.items(), key=lambda item: -item[1])),
        "discretisation": gap,
        "gradient_steps": search_cost(settings),
        "entropy": search.trajectory.entropy(),
        "noise": search.trajectory.recent("noise") if settings.relaxation == "expectation" else None,
        "environment": describe_environment(seed=config.seed),
        "command": command,
    }


def _write_artefacts(folder: Path, search: _Search, policy: Policy, inner: InMemoryCrops, seed: int) -> None:
    space = search.searcher.policy.space
    search.trajectory.save(folder / "trajectory.npz", space)
    plot_weights(search.trajectory, space, folder / "weights.png")
    people = slice(0, _SHEET_PEOPLE)
    crops = tf.cast(inner.crops[people], tf.float32) / 255.0
    keypoints = tf.constant(inner.keypoints[people])
    draw_sheet(policy, crops, keypoints, inner.skeleton, folder / "sheet.jpg", seed)
