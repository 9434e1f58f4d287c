"""Scores of a validation part, shared out over all replicas."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from p2net_tf.data.image_batches import InputShard
from p2net_tf.data.pipeline import validation_dataset
from p2net_tf.data.samples import Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.keypoints import geometry
from p2net_tf.training.strategy import shard_of


def scoring_batches(
    strategy: tf.distribute.Strategy,
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    box_padding: float = geometry.BOX_PADDING,
) -> tf.data.Dataset:
    """`shared_out` of people: distributed batches `(crops, keypoints, weights [B])`."""

    def batches(part: Samples, size: int) -> tf.data.Dataset:
        return validation_dataset(part, crop_size, size, box_padding)

    return shared_out(strategy, samples, batch_size, batches)


def shared_out(
    strategy: tf.distribute.Strategy,
    samples: Samples | Scenes,
    batch_size: int,
    batches: Callable[[Samples | Scenes, int], tf.data.Dataset],
) -> tf.data.Dataset:
    """One pass over `samples` as distributed batches `(*data, weights [B])`.

    Every worker loads its own part of the samples. A replica always gets full batches: where samples run out
    it gets blank ones of weight 0, since an empty batch breaks convolutions under oneDNN.

    Args:
        batch_size: samples of a global batch, a multiple of the replicas.
        batches: what `test_step` takes, tuples of (nested) tensors `[B, ...]`, of one pass over a part in
            batches of a size, of which the last one may be smaller.
    """

    def batches_of(context: tf.distribute.InputContext) -> tf.data.Dataset:
        shard = shard_of(context)
        part = _part(samples, shard)
        piece = batch_size // (shard.num_shards * shard.replicas)
        # The workers' parts differ by one sample at most; the larger one says how many batches they all take.
        pieces = shard.replicas * math.ceil(
            math.ceil(len(samples) / shard.num_shards) / (piece * shard.replicas)
        )
        return _filled(batches(part, piece), piece, pieces)

    return strategy.distribute_datasets_from_function(batches_of)


class Scoring:
    """Scores a model again and again on the same batches, as `model.evaluate` does on a plain data set.

    Args:
        model: a compiled `PoseModel` or `DetectionModel`.
        batches: what `shared_out` gives.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset):
        self._model, self._batches = model, batches
        self._step = tf.function(self._score, autograph=False, reduce_retracing=True)

    def score(self) -> dict[str, float]:
        """The means of the model's metrics, such as `loss`, over all samples, the same on every worker."""
        self._model.reset_metrics()
        for batch in self._batches:
            self._step(batch)
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    def _score(self, batch) -> None:
        self._model.distribute_strategy.run(self._score_present, batch)

    def _score_present(self, *batch) -> None:
        """Without the blank ones; a replica may have no other, and convolutions break on empty batches."""
        *data, weights = batch
        present = weights > 0
        data = tf.nest.map_structure(lambda part: tf.boolean_mask(part, present), tuple(data))

        def score():
            self._model.test_step(data)
            return True

        tf.cond(tf.reduce_any(present), score, lambda: False)


def _part(samples: Samples | Scenes, shard: InputShard) -> Samples | Scenes:
    """Neighbouring samples, since those of records are read in their order."""
    start, stop = (len(samples) * number // shard.num_shards for number in (shard.index, shard.index + 1))
    return samples.take(slice(start, stop))


def _filled(batches: tf.data.Dataset, size: int, count: int) -> tf.data.Dataset:
    """`count` batches `(*data, weights)` of `size` samples, blank ones where samples run out."""

    def fill(*data):
        samples = tf.shape(tf.nest.flatten(data)[0])[0]

        def longer(part):
            rest = [[0, 0]] * (part.shape.rank - 1)
            return tf.ensure_shape(tf.pad(part, [[0, size - samples], *rest]), (size, *part.shape[1:]))

        return tf.nest.map_structure(longer, (*data, tf.ones([samples])))

    nothing = tf.nest.map_structure(
        lambda spec: tf.zeros([0, *spec.shape[1:]], spec.dtype), batches.element_spec
    )
    blank = tf.data.Dataset.from_tensors(nothing).repeat(count)
    filled = batches.concatenate(blank).take(count).map(fill, num_parallel_calls=tf.data.AUTOTUNE)
    return filled.prefetch(2)
