"""What a training of poses and one of a detector do each in their own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import keras
import tensorflow as tf

from p2net_tf.config.loading import AnyExperiment
from p2net_tf.data.image_cache import ImageCache, open_image_cache
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.training.network_model import NetworkModel
from p2net_tf.training.run_state import Stateful
from p2net_tf.training.training_input import TrainingInput


class Learner(Stateful, Protocol):
    """A Keras callback with a memory."""

    def describe(self) -> str:
        """What it has learned, in a few words for the progress line."""


Config = TypeVar("Config", bound=AnyExperiment)
Part = TypeVar("Part", Samples, Scenes)


@dataclass(frozen=True)
class Judging(Generic[Part]):
    """How a validation part is scored, and which network is the best.

    Attributes:
        batches: what `test_step` takes, of one pass over a part in batches of a size.
        more_scores, highest: see `Validate`.
    """

    batches: Callable[[Part, int], tf.data.Dataset]
    more_scores: Callable[[keras.Model], dict[str, float]] | None = None
    highest: str | None = None


class TrainingTask(ABC, Generic[Config, Part]):
    """One configuration, and what is particular to its kind.

    Args:
        config: the experiment.
    """

    things: str
    """What samples are, in words."""

    def __init__(self, config: Config):
        self.config = config

    def check(self) -> None:
        """Refuses a configuration that cannot be trained, before there is a run folder.

        Raises:
            ConfigError: it cannot.
        """

    def open_files(self, folder: Path, resume: bool) -> None:
        """Reads what the configuration names beside data, before the run folder is written."""

    def keep_files(self, folder: Path) -> None:
        """Writes copies of it into the run folder."""

    @abstractmethod
    def open_part(self, part: str, strict: bool) -> tuple[Part, list[Problem]]:
        """Reads and checks `train` or `validation`.

        Raises:
            DataError: nothing usable, or anything broken under `strict`.
        """

    def set_batch(self, batch_size: int) -> None:
        """Takes another batch than the configuration says."""
        training = self.config.training.model_copy(update={"batch_size": batch_size})
        self.config = self.config.model_copy(update={"training": training})

    @abstractmethod
    def build_model(self, part: Part, steps: int, replicas: int, download: bool) -> NetworkModel:
        """The compiled model before its first step; called in the scope of the strategy.

        Args:
            part: the training part.
            steps: optimizer steps per epoch, for the schedule.
            replicas: batch statistics are synchronized where there is more than one.
            download: take up the weights that the configuration starts from.
        """

    def open_cache(self, part: Part) -> ImageCache | None:
        """The decoded images of the training part, where they fit."""
        return open_image_cache(part, self.config.data.cache_mb)

    @abstractmethod
    def training_input(
        self, strategy: tf.distribute.Strategy, part: Part, store: ImageCache | None
    ) -> TrainingInput:
        """The batches to train on."""

    def learners(self, model: NetworkModel, steps: int, state_step: Callable[[], int]) -> dict[str, Learner]:
        """Callbacks with a memory that learn beside the network, by the names they have in checkpoints.

        Args:
            model: as `build_model` gave it.
            steps: of the whole training.
            state_step: gives the number of training steps done.
        """
        return {}

    def finish(self, folder: Path) -> None:
        """Writes into the run folder what there is at the end beside the networks."""

    @abstractmethod
    def judging(self, part: Part) -> Judging[Part]:
        """How the validation part `part` is scored."""
