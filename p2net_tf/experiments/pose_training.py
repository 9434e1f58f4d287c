"""The training of poses: what `p2net_tf.experiments.training` asks of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.schedule import PolicySchedule, load_policy
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.autopose.settings import LEARN
from p2net_tf.config.cards import card_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.networks import IMAGENET, build_network
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.decode_ratios import decode_ratios
from p2net_tf.data.image_batches import InputShard, steps_per_pass
from p2net_tf.data.image_cache import ImageCache, open_image_cache
from p2net_tf.data.pipeline import (
    drawn_before_cropping,
    flip_alone,
    training_batches,
    validation_dataset,
)
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.experiments.earlier_config import read_config
from p2net_tf.experiments.freezing import freeze
from p2net_tf.experiments.online_policy import OnlinePolicy, demand_learnable
from p2net_tf.experiments.training_task import Judging, Learner, TrainingTask
from p2net_tf.inference.transfer import transfer_weights
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.training_input import TrainingInput
from p2net_tf.utils.console import messages
from p2net_tf.utils.yaml_files import ConfigError


class PoseTraining(TrainingTask[ExperimentConfig, Samples]):
    """A network from crops of people to heatmaps."""

    things = "people"
    _policy: Policy | PolicySchedule | None = None
    _online: OnlinePolicy | None = None

    def check(self) -> None:
        _demand_continuous(self.config)
        if self.config.policy == LEARN:
            demand_learnable(self.config)

    def open_files(self, folder: Path, resume: bool) -> None:
        self._policy = open_policy(self.config, folder, resume)

    def keep_files(self, folder: Path) -> None:
        if self._policy is not None:
            self._policy.save(folder / "policy.yaml")

    def open_part(self, part: str, strict: bool) -> tuple[Samples, list[Problem]]:
        data = self.config.data
        samples, problems = open_datasets(getattr(data, part), data.skeleton, strict)
        if part != "train" or self.config.policy != LEARN:
            return samples, problems
        self._online, more = OnlinePolicy.open(self.config, samples, strict)
        return self._online.samples, problems + more

    def build_model(self, part: Samples, steps: int, replicas: int, download: bool) -> PoseModel:
        augmentation = self._online and self._online.layer()
        return build_pose_model(self.config, part.skeleton, steps, replicas, download, augmentation)

    def open_cache(self, part: Samples) -> ImageCache | None:
        config = self.config
        if config.data.service:  # whose workers decode for themselves
            return None
        ratios = None
        if config.data.reduce_jpegs:
            augment = drawn_before_cropping(self._augment, self._policy)
            ratios = decode_ratios(part, config.model.input_size, augment, config.data.box_padding)
        return open_image_cache(part, config.data.cache_mb, ratios)

    def training_input(
        self, strategy: tf.distribute.Strategy, part: Samples, store: ImageCache | None
    ) -> TrainingInput:
        config, policy, people = self.config, self._policy, self._people(part)
        if isinstance(policy, PolicySchedule):
            policy = policy.during(people)

        def batches(part: Samples, store: ImageCache | None, first_index: int, shard: InputShard):
            return training_batches(
                part,
                config.model.input_size,
                config.training.batch_size,
                self._augment,
                config.data.box_padding,
                config.seed,
                policy,
                first_index,
                shard,
                store,
                config.data.service,
                reduce_jpegs=config.data.reduce_jpegs,
            )

        def batches_of_run(first_index: int, shard: InputShard) -> tf.data.Dataset:
            if self._online is None:
                return batches(part, store, first_index, shard)
            return self._online.batches(batches, store, config.training, first_index, shard)

        in_order = config.data.service is None
        # The batch statistics of averaged weights are those of a schedule's end, as the weights are.
        changes = self._online or isinstance(self._policy, PolicySchedule)
        calibration_index = people if changes else 0
        return TrainingInput(
            strategy, config.training.batch_size, batches_of_run, in_order, calibration_index
        )

    def learners(self, model: PoseModel, steps: int, state_step: Callable[[], int]) -> dict[str, Learner]:
        if self._online is None:
            return {}
        return {"policy": self._online.learner(model, steps, state_step)}

    def finish(self, folder: Path) -> None:
        if self._online is not None:
            self._online.save(folder)

    @property
    def _augment(self) -> AugmentConfig:
        """A learned policy augments in the model; what is drawn beside it is the flip."""
        return flip_alone(self.config.augment) if self._online else self.config.augment

    def _people(self, part: Samples) -> int:
        """Whom the whole training takes, each as often as it does."""
        training = self.config.training
        steps = training.steps_per_epoch or steps_per_pass(part, training.batch_size)
        return training.epochs * steps * training.batch_size

    def judging(self, part: Samples) -> Judging[Samples]:
        size, padding = self.config.model.input_size, self.config.data.box_padding
        return Judging(lambda part, count: validation_dataset(part, size, count, padding))


def build_pose_model(
    config: ExperimentConfig,
    skeleton: Skeleton,
    steps: int,
    replicas: int = 1,
    download: bool = True,
    augmentation: keras.layers.Layer | None = None,
) -> PoseModel:
    """The compiled model of an experiment before its first step; to be called in the scope of its strategy.

    Args:
        skeleton: the keypoints.
        steps: optimizer steps per epoch, for the schedule.
        replicas: batch statistics are synchronized where there is more than one.
        download: take up the weights that the configuration starts from.
        augmentation: see `PoseModel`.

    Raises:
        ConfigError: a network of the alignment `pixel_index`, or `training.freeze` names no layer of it.
    """
    _demand_continuous(config)
    keras.config.set_dtype_policy(config.training.precision)
    keypoints = skeleton.num_keypoints
    network = build_network(config.model, keypoints, synchronized=replicas > 1, download=download)
    if download and config.model.weights not in (None, IMAGENET):
        _start_from(config.model.weights, network, skeleton)
    freeze(config.training.freeze, network)
    coupled = config.training.optimizer != "adamw"
    model = PoseModel(
        network,
        card=card_of(config, network, skeleton),
        sigma=config.loss.sigma,
        ohkm=config.loss.ohkm,
        intermediate_weight=config.loss.intermediate_weight,
        final_weight=config.loss.final_weight,
        weight_decay=config.training.weight_decay if coupled else 0.0,
        augmentation=augmentation,
    )
    model.compile(make_optimizer(config.training, steps), jit_compile=config.training.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def _start_from(weights: str, network: keras.Model, skeleton: Skeleton) -> None:
    """From the weights of a trained network, of other keypoints perhaps."""
    new = transfer_weights(weights, network, skeleton)
    heads = f"new for these keypoints: {', '.join(new)}" if new else "heads included"
    messages.print(f"starting from the weights of {weights}; {heads}", soft_wrap=True)


def _demand_continuous(config: ExperimentConfig) -> None:
    """Training draws its crops and targets in the project's own alignment."""
    if config.model.alignment != "continuous":
        raise ConfigError(
            f"model.alignment={config.model.alignment}: is for converted weights, which are evaluated and "
            "exported; to train, set model.alignment=continuous"
        )


def open_policy(config: ExperimentConfig, folder: Path, resume: bool) -> Policy | PolicySchedule | None:
    """A resumed run keeps to its own copy, whatever became of the file since, until another one is named."""
    if config.policy in (None, LEARN):
        return None
    copy, before = folder / "policy.yaml", folder / "config.yaml"
    if resume and copy.is_file() and (begun := read_config(before)) and begun.policy == config.policy:
        return load_policy(copy)
    return load_policy(config.policy)
