"""Scores of a validation part, shared out over all replicas."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from p2net_tf.data.pipeline import InputShard, validation_dataset
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints import geometry
from p2net_tf.training.strategy import shard_of


def scoring_batches(
    strategy: tf.distribute.Strategy,
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    box_padding: float = geometry.BOX_PADDING,
) -> tf.data.Dataset:
    """One pass over `samples` as distributed batches `(crops, keypoints, weights [B])`.

    Every worker loads its own part of the samples. A replica always gets full batches: where persons run out
    it gets blank ones of weight 0, since an empty batch breaks convolutions under oneDNN.

    Args:
        batch_size: persons of a global batch, a multiple of the replicas.
    """

    def batches_of(context: tf.distribute.InputContext) -> tf.data.Dataset:
        shard = shard_of(context)
        part = _part(samples, shard)
        piece = batch_size // (shard.num_shards * shard.replicas)
        # The workers' parts differ by one person at most; the larger one says how many batches they all take.
        pieces = shard.replicas * math.ceil(
            math.ceil(len(samples) / shard.num_shards) / (piece * shard.replicas)
        )
        return _filled(validation_dataset(part, crop_size, piece, box_padding), piece, pieces)

    return strategy.distribute_datasets_from_function(batches_of)


class Scoring:
    """Scores a model again and again on the same batches, as `model.evaluate` does on a plain data set.

    Args:
        model: a compiled `PoseModel`.
        batches: what `scoring_batches` gives.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset):
        self._model, self._batches = model, batches
        self._step = tf.function(self._score, autograph=False, reduce_retracing=True)

    def score(self) -> dict[str, float]:
        """`{loss, intermediate_loss, final_loss, accuracy}` over all persons, the same on every worker."""
        self._model.reset_metrics()
        for batch in self._batches:
            self._step(batch)
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    def _score(self, batch) -> None:
        self._model.distribute_strategy.run(self._score_people, batch)

    def _score_people(self, crops, keypoints, weights) -> None:
        """Without the blank ones; a replica may have no other, and convolutions break on empty batches."""
        present = weights > 0
        people = [tf.boolean_mask(part, present) for part in (crops, keypoints)]

        def score():
            self._model.test_step(people)
            return True

        tf.cond(tf.reduce_any(present), score, lambda: False)


def _part(samples: Samples, shard: InputShard) -> Samples:
    """Neighbouring samples, since those of records are read in their order."""
    start, stop = (len(samples) * number // shard.num_shards for number in (shard.index, shard.index + 1))
    return samples.take(slice(start, stop))


def _filled(batches: tf.data.Dataset, size: int, count: int) -> tf.data.Dataset:
    """`count` batches `(crops, keypoints, weights)` of `size` persons, blank ones where persons run out."""

    def fill(crops, keypoints):
        persons = tf.shape(crops)[0]

        def longer(part):
            rest = [[0, 0]] * (part.shape.rank - 1)
            return tf.ensure_shape(tf.pad(part, [[0, size - persons], *rest]), (size, *part.shape[1:]))

        return longer(crops), longer(keypoints), longer(tf.ones([persons]))

    crops, keypoints = batches.element_spec
    nobody = (tf.zeros([0, *spec.shape[1:]], spec.dtype) for spec in (crops, keypoints))
    blank = tf.data.Dataset.from_tensors(tuple(nobody)).repeat(count)
    filled = batches.concatenate(blank).take(count).map(fill, num_parallel_calls=tf.data.AUTOTUNE)
    return filled.prefetch(2)
