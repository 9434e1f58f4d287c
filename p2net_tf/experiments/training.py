"""One training run from a configuration to a run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from zipfile import is_zipfile

import keras
import tensorflow as tf
from rich.markup import escape

from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.config.loading import AnyExperiment, dump_config, load_config
from p2net_tf.data.check import write_problems
from p2net_tf.data.image_batches import fitting_batch_size, steps_per_pass
from p2net_tf.data.lost_pictures import naming_lost_pictures
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.experiments.detector_training import DetectorTraining
from p2net_tf.experiments.earlier_config import read_config
from p2net_tf.experiments.pose_training import PoseTraining
from p2net_tf.experiments.run_folder import demand_current
from p2net_tf.experiments.training_task import TrainingTask
from p2net_tf.inference.keras_file import save_network
from p2net_tf.training.averaging import Calibration
from p2net_tf.training.callbacks import HistoryLog, Validate
from p2net_tf.training.checkpoints import Checkpoints
from p2net_tf.training.cluster import naming_lost_workers, work_folder, worker_of
from p2net_tf.training.collectives import from_chief
from p2net_tf.training.health import HealthReport
from p2net_tf.training.interruption import Interruption
from p2net_tf.training.loop import Clock, Plan, TrainingLoop
from p2net_tf.training.picture_watch import PictureWatch
from p2net_tf.training.progress import TrainingProgress
from p2net_tf.training.run_state import RunState
from p2net_tf.training.schedules import describe_learning_rate
from p2net_tf.training.scoring import shared_out
from p2net_tf.training.strategy import check_batch_size, make_strategy
from p2net_tf.utils.console import be_quiet, messages
from p2net_tf.utils.files import demand_utf8, demand_writable, set_aside
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.paths import as_path


def train(
    config: AnyExperiment | str | Path,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains as `config` says, poses or a detector, and returns the network, with averaged weights where it
    keeps them.

    The run folder gets `config.yaml`, `problems.json`, `history.csv`, `tensorboard/`, `checkpoints/`,
    `best.keras` (chosen on the validation part) and `last.keras`, and `policy.yaml`, a copy of the policy
    where the run has one.

    Args:
        config: or the path or name of one.
        resume: go on from the newest checkpoint in `folder`.
        strict: stop at the first broken item of the data instead of setting it aside.
        callbacks: of yours. Their `on_epoch_end` reads the validation's logs (`val_loss`, `val_accuracy`),
            and what they add to the logs stands in `history.csv`. A resumed run begins with them anew.

    Raises:
        ConfigError: a network of poses of the alignment `pixel_index`.
        RunError: `folder` holds a run of p2net_tf 0.1.
        PolicyError: a policy that does not exist or is broken.
        DataError: nothing to train on, a broken item under `strict`, or a folder that already holds a run.
        CheckpointError: a checkpoint cannot be written, or does not fit the configuration.
        WriteError: something else cannot be written.
        LockedError: another process trains in `folder`.
        NotFiniteError: the loss or a weight became NaN or Inf.
        Interrupted: SIGTERM came; the run is saved.
        LostPicturesError: the pictures are gone; the run is saved.
        StrategyError, ClusterError: not the devices or workers that the configuration asks for.
        WorkerLostError: another worker is gone.
        TypeError: `callbacks` are none.
    """
    if isinstance(config, str | Path):
        config = load_config(config)
    callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"callbacks: {callback!r} is none; give a list of keras.callbacks.Callback")
    task = DetectorTraining(config) if isinstance(config, DetectorExperimentConfig) else PoseTraining(config)
    folder = as_path(folder, "folder")
    demand_utf8(folder)
    task.check()  # before there is a run folder
    training = config.training
    strategy = make_strategy(training.replicas, training.strategy, training.tpu)  # before anything runs
    check_batch_size(training.batch_size, strategy.num_replicas_in_sync)
    worker = worker_of(strategy)
    if not worker.is_chief:
        be_quiet()
    with naming_lost_workers(worker), work_folder(folder, worker) as folder:
        return _train(task, folder, strategy, resume, strict, callbacks)


def _train(
    task: TrainingTask,
    folder: Path,
    strategy: tf.distribute.Strategy,
    resume: bool,
    strict: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.Model:
    demand_current(folder / "config.yaml")
    task.open_files(folder, resume)
    with lock_folder(folder):
        _demand_new(folder, resume)
        return _train_in(folder, task, strategy, resume, strict, callbacks)


def _train_in(
    folder: Path,
    task: TrainingTask,
    strategy: tf.distribute.Strategy,
    resume: bool,
    strict: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.Model:
    """In a folder that nobody else works in."""
    if resume:
        _say_what_changed(folder / "config.yaml", task.config)
    demand_writable(folder / "tensorboard")
    if task.config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    # Before anything is written: where there is nothing to train on, no folder is left that looks like a run.
    samples, validation = _open_data(task, folder, strict)
    dump_config(task.config, folder / "config.yaml")
    task.keep_files(folder)
    keras.utils.set_random_seed(task.config.seed)
    replicas = strategy.num_replicas_in_sync
    task.set_batch(fitting_batch_size(samples, task.config.training.batch_size, replicas, task.things))
    config = task.config
    steps = config.training.steps_per_epoch or steps_per_pass(samples, config.training.batch_size)
    checkpoints = Checkpoints(folder / "checkpoints", config.training.keep_checkpoints)
    with strategy.scope():
        model = task.build_model(samples, steps, replicas, download=not checkpoints.exist())
    training_input = task.training_input(strategy, samples, task.open_cache(samples))
    # Of poses, whose augmentation may be a part of the model.
    calibration = Calibration(
        model.network, training_input.calibration(), getattr(model, "augmentation", None)
    )
    validate = (
        None if validation is None else _validate(strategy, task, folder, samples, validation, calibration)
    )
    learners = task.learners(model, steps * config.training.epochs, lambda: state.step)
    state = RunState(model, learners | ({} if validate is None else {"validation": validate}))
    if resume:
        _restore(state, checkpoints, strategy, steps)
    messages.print(describe_learning_rate(config.training, task.things))
    clock = Clock()
    place = f"in {folder}" if worker_of(strategy).is_chief else "by worker 0"
    with Interruption(f"saved {place}; resume it to go on") as interruption, ExitStack() as closing:
        loop = TrainingLoop(
            model,
            strategy,
            state,
            Plan(config.training.epochs, steps, config.training.checkpoint_every),
            checkpoints,
            HealthReport(folder, samples),
            [
                *learners.values(),
                *([] if validate is None else [validate]),
                *callbacks,
                HistoryLog(folder / "history.csv"),
                keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
                TrainingProgress(
                    config.training.epochs,
                    steps,
                    config.training.batch_size,
                    state.step,
                    clock,
                    closing,
                    [learner.describe for learner in learners.values()],
                ),
            ],
            clock,
            PictureWatch([samples], config.data.wait_minutes),
        )
        loop.run(lambda: training_input.going_on(state), interruption)
    if config.training.ema_momentum is not None:
        # The averaged weights are what is kept; their batch statistics have to be measured.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        with naming_lost_pictures(samples):
            calibration.measure()
    task.finish(folder)
    save_network(model.network, folder / "last.keras", model.card)
    best = folder / "best.keras"
    if best.is_file() and not is_zipfile(best):
        set_aside(best, "cut off; the network after the last epoch takes its place")
    if validate is None:  # nothing to choose by
        save_network(model.network, best, model.card)
    return model.network


def _demand_new(folder: Path, resume: bool) -> None:
    if not resume and Checkpoints(folder / "checkpoints").exist():
        raise DataError(f"{folder} already holds a run; resume it, or choose another folder")


def _say_what_changed(file: Path, config: AnyExperiment) -> None:
    """A resumed run may change its configuration, but not unnoticed: other epochs, say, bend the schedule."""
    begun = read_config(file)
    if begun is None:
        return
    before = begun.model_dump()
    for section, now in config.model_dump().items():
        if before.get(section) != now:
            messages.print(
                f"[yellow]changed since the run began[/yellow] {section}: {before.get(section)} -> {now}",
                soft_wrap=True,
            )


def _open_data(
    task: TrainingTask, folder: Path, strict: bool
) -> tuple[Samples | Scenes, Samples | Scenes | None]:
    samples, problems = task.open_part("train", strict)
    validation = None
    if task.config.data.validation:
        validation, more = task.open_part("validation", strict)
        problems = problems + more
    write_problems(problems, folder / "problems.json")
    for problem in problems:
        if problem.severity == "note":
            messages.print(f"[yellow]read[/yellow] {escape(str(problem))}", soft_wrap=True)
    found = Counter(problem.severity for problem in problems)
    messages.print(
        f"{len(samples)} {task.things} to train on, {len(validation) if validation else 0} to validate; "
        f"{found['error']} broken items set aside, {found['warning']} warnings, {found['note']} notes "
        f"({folder / 'problems.json'})"
    )
    return samples, validation


def _restore(state: RunState, checkpoints: Checkpoints, strategy: tf.distribute.Strategy, steps: int) -> None:
    """From the checkpoint that the chief finds; `steps`: per epoch."""
    path, arrays = checkpoints.newest() or (None, None)
    arrays = from_chief(strategy, arrays)
    if arrays is None:
        messages.print("no checkpoint to resume from; the run begins anew")
        return
    state.restore(arrays, path)
    begin = state.epoch * steps
    if not begin <= state.step <= begin + steps:
        messages.print(
            f"[yellow]epochs have another length now[/yellow]: epoch {state.epoch + 1} begins anew"
        )
        state.step = begin
    messages.print(f"resuming after step {state.step - begin} of {steps}, epoch {state.epoch + 1} ({path})")


def _validate(
    strategy: tf.distribute.Strategy,
    task: TrainingTask,
    folder: Path,
    trained_on: Samples | Scenes,
    samples: Samples | Scenes,
    calibration: Calibration,
) -> Validate:
    training, judging = task.config.training, task.judging(samples)
    return Validate(
        shared_out(strategy, samples, training.batch_size, judging.batches),
        calibration,
        folder / "best.keras",
        training.validation_every,
        training.epochs,
        training.early_stopping,
        PictureWatch([trained_on, samples], task.config.data.wait_minutes),
        judging.more_scores,
        judging.highest,
    )
