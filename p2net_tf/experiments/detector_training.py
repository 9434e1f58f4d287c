"""The training of a detector: what `p2net_tf.experiments.training` asks of it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.config.detectors import build_detector, detector_card
from p2net_tf.config.networks import IMAGENET
from p2net_tf.data.boxes.datasets import open_scenes
from p2net_tf.data.boxes.pipeline import Canvas, scene_batches, validation_scenes
from p2net_tf.data.image_batches import InputShard
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.samples import Problem
from p2net_tf.data.scenes import Scenes
from p2net_tf.detection.networks import DetectionNetwork
from p2net_tf.detection.transfer import transfer_detector
from p2net_tf.experiments.box_validation import BoxValidation
from p2net_tf.experiments.freezing import freeze
from p2net_tf.experiments.training_task import Judging, TrainingTask
from p2net_tf.training.detection_model import DetectionModel
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.training_input import TrainingInput
from p2net_tf.utils.console import messages


class DetectorTraining(TrainingTask[DetectorExperimentConfig, Scenes]):
    """A network from pictures to boxes."""

    things = "pictures"
    _classes: tuple[str, ...] = ()
    _canvas: Canvas

    def open_part(self, part: str, strict: bool) -> tuple[Scenes, list[Problem]]:
        # Later parts have the classes of the first one, where the configuration takes them all.
        classes = self._classes or self.config.data.classes
        scenes, problems = open_scenes(getattr(self.config.data, part), classes, strict)
        self._classes = scenes.class_names
        return scenes, problems

    def build_model(self, part: Scenes, steps: int, replicas: int, download: bool) -> DetectionModel:
        model = build_detection_model(self.config, part.class_names, steps, replicas, download)
        self._canvas = model.canvas(self.config.model.input_size)
        return model

    def training_input(
        self, strategy: tf.distribute.Strategy, part: Scenes, store: ImageCache | None
    ) -> TrainingInput:
        config = self.config

        def batches(first_index: int, shard: InputShard) -> tf.data.Dataset:
            return scene_batches(
                part,
                self._canvas,
                config.training.batch_size,
                config.augment,
                config.seed,
                first_index,
                shard,
                store,
            )

        return TrainingInput(strategy, config.training.batch_size, batches)

    def judging(self, part: Scenes) -> Judging[Scenes]:
        """By average precision: the loss of a detector rises while its boxes still become better."""

        def batches(part: Scenes, size: int) -> tf.data.Dataset:
            return validation_scenes(part, self._canvas, size).map(lambda batch: batch.data)

        card = detector_card(self.config, part.class_names)
        return Judging(batches, BoxValidation(part, card), highest="AP")


def build_detection_model(
    config: DetectorExperimentConfig,
    classes: Sequence[str],
    steps: int,
    replicas: int = 1,
    download: bool = True,
) -> DetectionModel:
    """The compiled model of an experiment before its first step; to be called in the scope of its strategy.

    Args:
        classes: names of what is learned.
        steps: optimizer steps per epoch, for the schedule.
        replicas: batch statistics are synchronized where there is more than one.
        download: take up the weights that the configuration starts from.

    Raises:
        ConfigError: `training.freeze` names no layer of the network, or its weights cannot be had.
        NetworkFileError: the file of weights cannot be opened, or is of another network.
    """
    network = build_detector(config, len(classes), synchronized=replicas > 1, download=download)
    if download and config.model.weights not in (None, IMAGENET):
        _start_from(config.model.weights, network, classes)
    freeze(config.training.freeze, network)
    coupled = config.training.optimizer != "adamw"
    model = DetectionModel(
        network, detector_card(config, classes), weight_decay=config.training.weight_decay if coupled else 0.0
    )
    model.compile(make_optimizer(config.training, steps), jit_compile=config.training.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def _start_from(weights: str, network: DetectionNetwork, classes: Sequence[str]) -> None:
    """From the weights of a trained detector, of other classes perhaps."""
    new = transfer_detector(weights, network, classes)
    heads = f"new for these classes: {', '.join(new)}" if new else "all of them"
    messages.print(f"starting from the weights of {weights}; {heads}", soft_wrap=True)
