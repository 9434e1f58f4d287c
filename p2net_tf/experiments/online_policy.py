"""`policy: learn`: a training whose policy is learned meanwhile, from its data to the files it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.autopose.learned_policy import LearnedPolicy, PolicyLearner
from p2net_tf.autopose.settings import join_step
from p2net_tf.autopose.split import demand_known_plant, split_rows
from p2net_tf.autopose.trajectory import plot_weights
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.image_batches import InputShard, steps_per_pass
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.samples import DataError, Problem, Samples, concatenate
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.settings import TrainingConfig
from p2net_tf.utils.yaml_files import ConfigError

OUTER_FRACTION = 0.2
"""Of the training images, where neither `search.outer` nor `search.outer_fraction` says anything else."""


def demand_learnable(config: ExperimentConfig) -> None:
    """Refuses what a policy cannot be learned with.

    Raises:
        ConfigError: names the field and the remedy.
    """
    if config.data.service is not None:
        raise ConfigError(
            "policy=learn: data.service gives batches in an order that depends on timing; leave it out"
        )
    demand_known_plant(config.search)
    if config.search.relaxation != "expectation":
        raise ConfigError("policy=learn: goes with search.relaxation=expectation; `p2net search` has both")
    if config.training.precision == "mixed_float16":
        raise ConfigError(
            "policy=learn: scales no losses, which training.precision=mixed_float16 needs; take "
            "mixed_bfloat16 or float32"
        )
    if config.training.jit_compile:
        raise ConfigError(
            "policy=learn: XLA cannot compile operations that are drawn by the person; set "
            "training.jit_compile=false"
        )


@dataclass
class OnlinePolicy:
    """The people of such a training, and the policy.

    Attributes:
        config: of the run.
        samples: everybody who is trained on in the end.
        inner, outer: rows of `samples`: trained on from the start, and judged by until `search.online.join`.
    """

    config: ExperimentConfig
    samples: Samples
    inner: np.ndarray
    outer: np.ndarray
    _learned: LearnedPolicy | None = field(default=None, init=False)
    _learner: PolicyLearner | None = field(default=None, init=False)

    @classmethod
    def open(
        cls, config: ExperimentConfig, samples: Samples, strict: bool
    ) -> tuple[OnlinePolicy, list[Problem]]:
        """Splits the training part, or reads `search.outer` beside it.

        Raises:
            DataError: records, which cannot be split, or too few images.
        """
        search, problems = config.search, []
        if samples.records:
            raise DataError(
                f"{samples.source}: records are streamed, so no part of them can be held out to learn a "
                "policy by; name the pictures themselves"
            )
        if search.outer:
            others, problems = open_datasets(search.outer, config.data.skeleton, strict)
            count = len(samples)
            samples = concatenate([samples, others])
            inner, outer = np.arange(count), np.arange(count, len(samples))
        else:
            inner, outer = split_rows(
                samples, search.outer_fraction or OUTER_FRACTION, len(samples), config.seed
            )
        return cls(config, samples, inner, outer), problems

    def layer(self) -> LearnedPolicy:
        """The augmentation of the model; made in the scope of its strategy."""
        self._learned = LearnedPolicy(settings=self.config.search, seed=self.config.seed)
        return self._learned

    def learner(self, model: PoseModel, steps: int, state_step: Callable[[], int]) -> PolicyLearner:
        """Of a training of so many steps in all."""
        config = self.config
        limit, size = config.search.people, config.model.input_size
        inner, outer = (
            InMemoryCrops.read(self.samples.take(rows[:limit]), size, config.data.box_padding)
            for rows in (self.inner, self.outer)
        )
        if config.search.plant is not None:
            outer = outer.planted(config.search.plant, config.seed)
        self._learner = PolicyLearner(
            self._learned,
            model,
            inner,
            outer,
            config.augment.flip_probability,
            steps,
            state_step,
            config.training.batch_size,
        )
        return self._learner

    def batches(
        self,
        batches_of: Callable,
        store: ImageCache | None,
        training: TrainingConfig,
        first_index: int,
        shard: InputShard,
    ) -> tf.data.Dataset:
        """Batches of the inner people up to `join`, and of everybody from there on.

        Args:
            batches_of: `(samples, store, first index, shard)`, the endless batches of some people.
        """
        size = training.batch_size
        steps = training.epochs * (training.steps_per_epoch or steps_per_pass(self.samples, size))
        join = join_step(self.config.search, steps) * size
        everybody = batches_of(self.samples, store, max(first_index, join), shard)
        if first_index >= join:
            return everybody
        rows = tf.constant(self.inner)
        before = batches_of(self.samples.take(self.inner), _part_of(store, self.inner), first_index, shard)
        before = before.take(-(-(join - first_index) // size) * shard.replicas)
        before = before.map(lambda batch: batch._replace(rows=tf.gather(rows, batch.rows)))
        return before.concatenate(everybody)

    def save(self, folder: Path) -> None:
        """Schedule, discretised form, trajectory and its picture."""
        learner, space = self._learner, self._learned.policy.space
        provenance = {
            "made_by": "p2net train policy=learn",
            "config": self.config.name,
            "seed": self.config.seed,
            "steps": learner.updates,
        }
        learner.schedule(self.config.name, provenance).save(folder / "policy.yaml")
        self._learned.discretize(self.config.name, provenance).save(folder / "policy_discrete.yaml")
        if len(learner.trajectory):
            learner.trajectory.save(folder / "trajectory.npz", space)
            plot_weights(learner.trajectory, space, folder / "weights.png")


def _part_of(store: ImageCache | None, rows: np.ndarray) -> ImageCache | None:
    if store is None:
        return None
    return ImageCache(store.of(rows), tf.gather(store.ratios, rows), tf.gather(store.known, rows))
