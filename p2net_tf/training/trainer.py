"""One training run from a configuration to a run folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import keras
import tensorflow as tf

from p2net_tf.augment.policy import Policy
from p2net_tf.config import ExperimentConfig, dump_config, load_config
from p2net_tf.console import messages
from p2net_tf.data.check import write_problems
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.pipeline import steps_per_epoch, training_dataset, validation_dataset
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.models import build_network
from p2net_tf.training.averaging import CALIBRATION_BATCHES, Calibration
from p2net_tf.training.callbacks import (
    HistoryLog,
    RunCheckpoint,
    TrainingProgress,
    Validate,
    save_network,
)
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.strategy import make_strategy


def train(
    config: ExperimentConfig, folder: str | Path, resume: bool = False, strict: bool = False
) -> keras.Model:
    """Trains as `config` says and returns the network, with averaged weights where it keeps them.

    The run folder gets `config.yaml`, `problems.json`, `history.csv`, `tensorboard/`, `checkpoints/`,
    `best.keras` (chosen on the validation part) and `last.keras`, and `policy.yaml`, a copy of the policy
    where the run has one.

    Args:
        resume: go on from the newest checkpoint in `folder`.
        strict: stop at the first broken item of the data instead of setting it aside.

    Raises:
        PolicyError: a policy that does not exist or is broken.
        DataError: nothing to train on, a broken item under `strict`, or a folder that already holds a run.
    """
    policy = _open_policy(config, Path(folder), resume)
    folder = _prepare_folder(Path(folder), resume)
    if resume:
        _say_what_changed(folder / "config.yaml", config)
    dump_config(config, folder / "config.yaml")
    if policy is not None:
        policy.save(folder / "policy.yaml")
    samples, validation = _open_data(config, folder, strict)
    keras.utils.set_random_seed(config.seed)
    pass_steps = steps_per_epoch(samples, config.training.batch_size)
    if not pass_steps:
        raise DataError(
            f"{samples.source}: {len(samples)} samples do not fill one batch; "
            f"set training.batch_size to at most {len(samples)} or data.train.0.repeat higher"
        )
    steps = config.training.steps_per_epoch or pass_steps
    calibration = _training_batches(config, samples, policy).take(CALIBRATION_BATCHES)
    validate = None if validation is None else _validate(config, folder, validation, calibration)
    strategy = make_strategy(config.training.replicas)
    with strategy.scope():
        model = build_pose_model(
            config,
            samples.skeleton.num_keypoints,
            steps,
            replicas=strategy.num_replicas_in_sync,
            download=not resume,
        )
        checkpoint = RunCheckpoint(folder, model, best=validate and validate.best)
    first_epoch = checkpoint.restore() if resume else 0
    if first_epoch:
        messages.print(f"resuming after epoch {first_epoch} of {config.training.epochs}")
    with ExitStack() as closing:
        model.fit(
            _training_batches(config, samples, policy, first_epoch),
            epochs=config.training.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            callbacks=_callbacks(config, folder, steps, validate, checkpoint, closing),
            shuffle=False,
            verbose=0,
        )
    if config.training.ema_momentum is not None:
        # `fit` has put the averaged weights in place; their batch statistics are still to be measured.
        Calibration(model.network, calibration).measure()
    save_network(model.network, folder / "last.keras")
    if validate is None:  # nothing to choose by
        save_network(model.network, folder / "best.keras")
    return model.network


def build_pose_model(
    config: ExperimentConfig, num_keypoints: int, steps: int, replicas: int = 1, download: bool = True
) -> PoseModel:
    """The compiled model of an experiment before its first step; to be called in the scope of its strategy.

    Args:
        num_keypoints: K of the skeleton.
        steps: optimizer steps per epoch, for the schedule.
        replicas: batch statistics are synchronized where there is more than one.
        download: fetch ImageNet weights where the configuration wants them.
    """
    keras.config.set_dtype_policy(config.training.precision)
    network = build_network(config.model, num_keypoints, synchronized=replicas > 1, download=download)
    coupled = config.training.optimizer != "adamw"
    model = PoseModel(
        network,
        sigma=config.loss.sigma,
        ohkm=config.loss.ohkm,
        parallel_weight=config.loss.parallel_weight,
        refine_weight=config.loss.refine_weight,
        weight_decay=config.training.weight_decay if coupled else 0.0,
    )
    model.compile(make_optimizer(config.training, steps), jit_compile=config.training.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def _open_policy(config: ExperimentConfig, folder: Path, resume: bool) -> Policy | None:
    """A resumed run keeps to its own copy, whatever became of the file since, until another one is named."""
    if config.policy is None:
        return None
    copy, before = folder / "policy.yaml", folder / "config.yaml"
    if resume and copy.is_file() and before.is_file() and load_config(before).policy == config.policy:
        return Policy.load(copy)
    return Policy.load(config.policy)


def _prepare_folder(folder: Path, resume: bool) -> Path:
    if not resume and (folder / "checkpoints").exists():
        raise DataError(f"{folder} already holds a run; continue it with --resume or give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _say_what_changed(file: Path, config: ExperimentConfig) -> None:
    """A resumed run may change its configuration, but not unnoticed: other epochs, say, bend the schedule."""
    if not file.is_file():
        return
    before = load_config(file).model_dump()
    for section, now in config.model_dump().items():
        if before[section] != now:
            messages.print(
                f"[yellow]changed since the run began[/yellow] {section}: {before[section]} -> {now}",
                soft_wrap=True,
            )


def _open_data(config, folder, strict) -> tuple[Samples, Samples | None]:
    samples, problems = open_datasets(config.data.train, config.data, strict)
    validation = None
    if config.data.validation:
        validation, more = open_datasets(config.data.validation, config.data, strict)
        problems = problems + more
    write_problems(problems, folder / "problems.json")
    aside = sum(problem.severity == "error" for problem in problems)
    messages.print(
        f"{len(samples)} people to train on, {len(validation) if validation else 0} to validate; "
        f"{aside} broken items set aside, {len(problems) - aside} warnings ({folder / 'problems.json'})"
    )
    return samples, validation


def _training_batches(
    config: ExperimentConfig, samples: Samples, policy: Policy | None, first_epoch: int = 0
) -> tf.data.Dataset:
    return training_dataset(
        samples,
        config.model.input_size,
        config.training.batch_size,
        config.augment,
        config.data.box_padding,
        config.seed,
        first_epoch,
        policy,
        config.training.steps_per_epoch,
    )


def _validate(config: ExperimentConfig, folder: Path, samples: Samples, calibration) -> Validate:
    training = config.training
    batches = validation_dataset(
        samples, config.model.input_size, training.batch_size, config.data.box_padding
    )
    return Validate(batches, calibration, folder / "best.keras", training.validation_every, training.epochs)


def _callbacks(
    config: ExperimentConfig,
    folder: Path,
    steps: int,
    validate: Validate | None,
    checkpoint: RunCheckpoint,
    closing: ExitStack,
) -> list[keras.callbacks.Callback]:
    """The checkpoint stands last: a run that stops before it does the epoch, and its log lines, again."""
    training = config.training
    return [
        *([validate] if validate else []),
        HistoryLog(folder / "history.csv"),
        keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
        TrainingProgress(training.epochs, steps, training.batch_size, closing),
        checkpoint,
    ]
