"""One training run from a configuration to a run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import keras
import tensorflow as tf
from rich.markup import escape

from p2net_tf.augment.policies import Policy
from p2net_tf.config.cards import card_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.config.networks import IMAGENET, build_network
from p2net_tf.data.check import write_problems
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.image_cache import open_image_cache
from p2net_tf.data.lost_pictures import naming_lost_pictures
from p2net_tf.data.pipeline import fitting_batch, steps_per_epoch
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.experiments.run_folder import demand_current
from p2net_tf.inference.keras_file import save_network
from p2net_tf.inference.transfer import transfer_weights
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.averaging import Calibration
from p2net_tf.training.callbacks import HistoryLog, Validate
from p2net_tf.training.checkpoints import Checkpoints
from p2net_tf.training.cluster import naming_lost_workers, work_folder, worker_of
from p2net_tf.training.collectives import from_chief
from p2net_tf.training.health import HealthReport
from p2net_tf.training.interruption import Interruption
from p2net_tf.training.loop import Clock, Plan, TrainingLoop
from p2net_tf.training.picture_watch import PictureWatch
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.progress import TrainingProgress
from p2net_tf.training.run_state import RunState
from p2net_tf.training.schedules import describe_learning_rate, make_optimizer
from p2net_tf.training.scoring import scoring_batches
from p2net_tf.training.strategy import check_batch_size, make_strategy
from p2net_tf.training.training_input import TrainingInput
from p2net_tf.utils.console import be_quiet, messages
from p2net_tf.utils.files import set_aside
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.yaml_files import ConfigError


def train(
    config: ExperimentConfig,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains as `config` says and returns the network, with averaged weights where it keeps them.

    The run folder gets `config.yaml`, `problems.json`, `history.csv`, `tensorboard/`, `checkpoints/`,
    `best.keras` (chosen on the validation part) and `last.keras`, and `policy.yaml`, a copy of the policy
    where the run has one.

    Args:
        resume: go on from the newest checkpoint in `folder`.
        strict: stop at the first broken item of the data instead of setting it aside.
        callbacks: of yours. Their `on_epoch_end` reads the validation's logs (`val_loss`, `val_accuracy`),
            and what they add to the logs stands in `history.csv`. A resumed run begins with them anew.

    Raises:
        ConfigError: a network of the alignment `pixel_index`.
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
    """
    _demand_continuous(config)  # before there is a run folder
    training = config.training
    strategy = make_strategy(training.replicas, training.strategy, training.tpu)  # before anything runs
    check_batch_size(training.batch_size, strategy.num_replicas_in_sync)
    worker = worker_of(strategy)
    if not worker.is_chief:
        be_quiet()
    with naming_lost_workers(worker), work_folder(Path(folder), worker) as folder:
        return _train(config, folder, strategy, resume, strict, callbacks)


def _train(
    config: ExperimentConfig,
    folder: Path,
    strategy: tf.distribute.Strategy,
    resume: bool,
    strict: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.Model:
    demand_current(folder / "config.yaml")
    policy = _open_policy(config, folder, resume)
    with lock_folder(folder):
        _demand_new(folder, resume)
        return _train_in(folder, config, policy, strategy, resume, strict, callbacks)


def _train_in(
    folder: Path,
    config: ExperimentConfig,
    policy: Policy | None,
    strategy: tf.distribute.Strategy,
    resume: bool,
    strict: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.Model:
    """In a folder that nobody else works in."""
    if resume:
        _say_what_changed(folder / "config.yaml", config)
    dump_config(config, folder / "config.yaml")
    if policy is not None:
        policy.save(folder / "policy.yaml")
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    samples, validation = _open_data(config, folder, strict)
    keras.utils.set_random_seed(config.seed)
    config = _with_fitting_batch(config, samples, strategy.num_replicas_in_sync)
    steps = config.training.steps_per_epoch or steps_per_epoch(samples, config.training.batch_size)
    checkpoints = Checkpoints(folder / "checkpoints", config.training.keep_checkpoints)
    with strategy.scope():
        model = build_pose_model(
            config,
            samples.skeleton,
            steps,
            replicas=strategy.num_replicas_in_sync,
            download=not checkpoints.exist(),
        )
    # The workers of a service decode for themselves.
    store = None if config.data.service else open_image_cache(samples, config.data.cache_mb)
    training_input = TrainingInput(
        strategy,
        samples,
        config.model.input_size,
        config.training.batch_size,
        config.augment,
        config.data.box_padding,
        config.seed,
        policy,
        store,
        config.data.service,
    )
    calibration = Calibration(model.network, training_input.calibration())
    validate = (
        None if validation is None else _validate(strategy, config, folder, samples, validation, calibration)
    )
    state = RunState(model, {} if validate is None else {"validation": validate})
    if resume:
        _restore(state, checkpoints, strategy, steps)
    messages.print(describe_learning_rate(config.training))
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
                *([] if validate is None else [validate]),
                *callbacks,
                HistoryLog(folder / "history.csv"),
                keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
                TrainingProgress(
                    config.training.epochs, steps, config.training.batch_size, state.step, clock, closing
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
    save_network(model.network, folder / "last.keras", model.card)
    if validate is None:  # nothing to choose by
        save_network(model.network, folder / "best.keras", model.card)
    return model.network


def build_pose_model(
    config: ExperimentConfig, skeleton: Skeleton, steps: int, replicas: int = 1, download: bool = True
) -> PoseModel:
    """The compiled model of an experiment before its first step; to be called in the scope of its strategy.

    Args:
        skeleton: the keypoints.
        steps: optimizer steps per epoch, for the schedule.
        replicas: batch statistics are synchronized where there is more than one.
        download: take up the weights that the configuration starts from.

    Raises:
        ConfigError: a network of the alignment `pixel_index`, or `training.freeze` names no layer of it.
    """
    _demand_continuous(config)
    keras.config.set_dtype_policy(config.training.precision)
    keypoints = skeleton.num_keypoints
    network = build_network(config.model, keypoints, synchronized=replicas > 1, download=download)
    if download and config.model.weights not in (None, IMAGENET):
        _start_from(config.model.weights, network, skeleton)
    _freeze(config.training.freeze, network)
    coupled = config.training.optimizer != "adamw"
    model = PoseModel(
        network,
        card=card_of(config, network, skeleton),
        sigma=config.loss.sigma,
        ohkm=config.loss.ohkm,
        intermediate_weight=config.loss.intermediate_weight,
        final_weight=config.loss.final_weight,
        weight_decay=config.training.weight_decay if coupled else 0.0,
    )
    model.compile(make_optimizer(config.training, steps), jit_compile=config.training.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def _start_from(weights: str, network: keras.Model, skeleton: Skeleton) -> None:
    """From the weights of a trained network, of other keypoints perhaps."""
    new = transfer_weights(weights, network, skeleton)
    heads = f"new for these keypoints: {', '.join(new)}" if new else "heads included"
    messages.print(f"starting from the weights of {weights}; {heads}", soft_wrap=True)


def _freeze(names: Sequence[str], network: keras.Model) -> None:
    parts = {layer.name: layer for layer in network.layers if layer.weights}
    backbone = getattr(network, "backbone", None)
    if backbone is not None:
        parts["backbone"] = backbone
    for name in names:
        if name not in parts:
            raise ConfigError(
                f"training.freeze: there is no layer '{name}' with weights; there are {', '.join(parts)}"
            )
        parts[name].trainable = False


def _demand_continuous(config: ExperimentConfig) -> None:
    """Training draws its crops and targets in the project's own alignment."""
    if config.model.alignment != "continuous":
        raise ConfigError(
            f"model.alignment={config.model.alignment}: is for converted weights, which are evaluated and "
            "exported; to train, set model.alignment=continuous"
        )


def _open_policy(config: ExperimentConfig, folder: Path, resume: bool) -> Policy | None:
    """A resumed run keeps to its own copy, whatever became of the file since, until another one is named."""
    if config.policy is None:
        return None
    copy, before = folder / "policy.yaml", folder / "config.yaml"
    if resume and copy.is_file() and (begun := _read_before(before)) and begun.policy == config.policy:
        return Policy.load(copy)
    return Policy.load(config.policy)


def _demand_new(folder: Path, resume: bool) -> None:
    if not resume and Checkpoints(folder / "checkpoints").exist():
        raise DataError(f"{folder} already holds a run; resume it, or choose another folder")


def _say_what_changed(file: Path, config: ExperimentConfig) -> None:
    """A resumed run may change its configuration, but not unnoticed: other epochs, say, bend the schedule."""
    begun = _read_before(file)
    if begun is None:
        return
    before = begun.model_dump()
    for section, now in config.model_dump().items():
        if before[section] != now:
            messages.print(
                f"[yellow]changed since the run began[/yellow] {section}: {before[section]} -> {now}",
                soft_wrap=True,
            )


def _with_fitting_batch(config: ExperimentConfig, samples: Samples, replicas: int) -> ExperimentConfig:
    batch_size = fitting_batch(samples, config.training.batch_size, replicas)
    training = config.training.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"training": training})


def _read_before(file: Path) -> ExperimentConfig | None:
    """The configuration that the run was begun with; None where there is none, or none that can be read."""
    if not file.is_file():
        return None
    try:
        return load_config(file)
    except ConfigError as error:
        set_aside(file, str(error))
        return None


def _open_data(config, folder, strict) -> tuple[Samples, Samples | None]:
    samples, problems = open_datasets(config.data.train, config.data.skeleton, strict)
    validation = None
    if config.data.validation:
        validation, more = open_datasets(config.data.validation, config.data.skeleton, strict)
        problems = problems + more
    write_problems(problems, folder / "problems.json")
    for problem in problems:
        if problem.severity == "note":
            messages.print(f"[yellow]read[/yellow] {escape(str(problem))}", soft_wrap=True)
    found = Counter(problem.severity for problem in problems)
    messages.print(
        f"{len(samples)} people to train on, {len(validation) if validation else 0} to validate; "
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
    config: ExperimentConfig,
    folder: Path,
    trained_on: Samples,
    samples: Samples,
    calibration: Calibration,
) -> Validate:
    training = config.training
    batches = scoring_batches(
        strategy, samples, config.model.input_size, training.batch_size, config.data.box_padding
    )
    return Validate(
        batches,
        calibration,
        folder / "best.keras",
        training.validation_every,
        training.epochs,
        training.early_stopping,
        PictureWatch([trained_on, samples], config.data.wait_minutes),
    )
