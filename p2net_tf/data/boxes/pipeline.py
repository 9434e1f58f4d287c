"""Pictures with boxes to batches of canvases of one size: what a detector trains on and is validated on.

A picture lies on its canvas as at inference: from the top-left corner on, padded at the right and bottom.
Boxes are moved by the matrix that moves its pixels. The order of the pictures and every random draw are
functions of (seed, pass, position) alone, see `p2net_tf.data.image_batches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color
from p2net_tf.augment.scenes import Layout, plain_layout, sample_layout
from p2net_tf.augment.settings import SceneAugmentConfig
from p2net_tf.data.image_batches import (
    WHOLE,
    ImageBatch,
    InputShard,
    endless_images,
    in_parallel,
    ordered_images,
    random_passes,
    row_seeds,
    steps_per_pass,
)
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.scenes import Scenes
from p2net_tf.data.warping import warp_packed
from p2net_tf.keypoints import geometry

PLAIN = SceneAugmentConfig(
    flip_probability=0, scale=(1, 1), stretch=0, color=0, visible_share=0, smallest_side=1e-3
)
"""Changes nothing."""
FILLING = -1
"""The class of what fills a picture's list of boxes up."""


@dataclass(frozen=True)
class Canvas:
    """What pictures are laid on.

    Attributes:
        size: (height, width).
        shorter_side, longer_side: a picture is scaled until its shorter side has `shorter_side` pixels, or
            its longer one `longer_side`, whichever comes first, as at inference.
        padding_value: `[3]` colour in 0..1 at the right and bottom.
    """

    size: tuple[int, int]
    shorter_side: int
    longer_side: int
    padding_value: tuple[float, float, float]

    def factors(self, image_sizes):
        """`[B]` float32 from pictures of `[B, 2]` (height, width) to the canvas, which they fit on."""
        sides = tf.cast(image_sizes, tf.float32)
        wanted = tf.minimum(
            self.shorter_side / tf.reduce_min(sides, axis=-1),
            self.longer_side / tf.reduce_max(sides, axis=-1),
        )
        return tf.minimum(wanted, tf.reduce_min(tf.constant(self.size, tf.float32) / sides, axis=-1))


class SceneBatch(NamedTuple):
    """What a training step of a detector gets, and where it comes from; at most M objects of a picture."""

    images: tf.Tensor
    """`[B, H, W, 3]` float32 in 0..1."""
    boxes: tf.Tensor
    """`[B, M, 4]` float32 xyxy in pixels of the canvas, cut off at the borders of what it shows."""
    classes: tf.Tensor
    """`[B, M]` int32; `FILLING` fills the list up."""
    crowds: tf.Tensor
    """`[B, M]` bool: neither found nor background."""
    sizes: tf.Tensor
    """`[B, 2]` int32, height and width of the picture on its canvas."""
    seeds: tf.Tensor
    """`[B, 2]` int64, for what is drawn at random in the step."""
    rows: tf.Tensor
    """`[B]` int64: which of the scenes these are."""
    indices: tf.Tensor
    """`[B]` int64: their numbers in the endless sequence of pictures; a run goes on at the next one."""

    @property
    def data(self) -> tuple:
        """What `train_step` takes."""
        names = ("boxes", "classes", "crowds", "sizes", "seeds")
        return self.images, {name: getattr(self, name) for name in names}


def scene_batches(
    scenes: Scenes,
    canvas: Canvas,
    batch_size: int,
    augment: SceneAugmentConfig | None = None,
    seed: int = 0,
    first_index: int = 0,
    shard: InputShard = WHOLE,
    store: ImageCache | None = None,
    passes: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """Endless `SceneBatch`es for training, from any picture on.

    Args:
        batch_size: pictures of a global batch; the rest as `endless_images` has it.
        augment: None shows the pictures as inference does.

    Raises:
        ValueError: the pictures do not fill a batch, or it cannot be shared out evenly.
        tf.errors.InvalidArgumentError: when batches are drawn: `FRUITLESS`, their pictures are gone.
    """
    objects = _Objects(scenes)
    local_size = batch_size // (shard.num_shards * shard.replicas)

    def finish(batch: ImageBatch) -> SceneBatch:
        seeds = row_seeds(seed, batch.indices)
        factors = canvas.factors(batch.images.sizes)
        if augment is None:
            layout = plain_layout(batch.images.sizes, factors, canvas.size)
        else:
            layout = sample_layout(batch.images.sizes, factors, canvas.size, augment, seeds)
        found = _laid_out(batch, objects, layout, canvas, seeds, augment or PLAIN)
        return found._replace(images=tf.ensure_shape(found.images, (local_size, *canvas.size, 3)))

    loaded = endless_images(scenes, batch_size, seed, first_index, shard, store, passes=passes)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return in_parallel(loaded, finish).apply(endless).prefetch(2)


def fit_scenes(
    scenes: Scenes, canvas: Canvas, batch_size: int, augment: SceneAugmentConfig | None = None, seed: int = 0
) -> tf.data.Dataset:
    """`scene_batches` for a plain `model.fit`: a pass, and the next time it is opened another one."""
    steps = steps_per_pass(scenes, batch_size)
    batches = scene_batches(scenes, canvas, batch_size, augment, seed, passes=random_passes(seed))
    batches = batches.map(lambda batch: batch.data).take(steps)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def validation_scenes(scenes: Scenes, canvas: Canvas, batch_size: int) -> tf.data.Dataset:
    """One pass in order as `SceneBatch`es, whose indices are the rows; the last one may be smaller."""
    objects = _Objects(scenes)

    def finish(batch: ImageBatch) -> SceneBatch:
        layout = plain_layout(batch.images.sizes, canvas.factors(batch.images.sizes), canvas.size)
        return _laid_out(batch, objects, layout, canvas, row_seeds(0, batch.indices), PLAIN)

    return in_parallel(ordered_images(scenes, batch_size), finish).prefetch(2)


def _laid_out(batch: ImageBatch, objects: _Objects, layout: Layout, canvas: Canvas, seeds, augment):
    window = layout.window
    matrices = geometry.crop_matrix(window.center, window.size, canvas.size, window.rotation, window.flip)
    images = warp_packed(batch.images, matrices, canvas.size, repeat_edges=True)
    images = _padded(jitter_color(images, augment.color, seeds), layout.sizes, canvas)
    boxes, classes, crowds = objects.at(batch.rows)
    boxes, classes, crowds = seen(boxes, classes, crowds, matrices, layout.sizes, augment)
    return SceneBatch(images, boxes, classes, crowds, layout.sizes, seeds, batch.rows, batch.indices)


def seen(boxes, classes, crowds, matrices, sizes, augment: SceneAugmentConfig):
    """The objects of pictures as their canvases show them: boxes, classes and crowds of a `SceneBatch`.

    What lies outside is no object any more. Of what is cut off so far that less than `augment.visible_share`
    of it is left, or is smaller than `augment.smallest_side`, nobody can ask that it is found, nor say that
    it is not there: it counts as a crowd.

    Args:
        boxes: `[B, M, 4]` xywh in pixels of the pictures.
        classes, crowds: `[B, M]`.
        matrices: `[B, 2, 3]` from picture to canvas.
        sizes: `[B, 2]` int32, (height, width) of what the canvas shows.
    """
    whole = geometry.transform_boxes(boxes, matrices)
    limits = tf.cast(tf.reverse(sizes, axis=[-1]), tf.float32)[:, None, :]
    cut = tf.clip_by_value(whole, 0.0, tf.concat([limits, limits], axis=-1))
    sides = cut[..., 2:] - cut[..., :2]
    area = tf.reduce_prod(whole[..., 2:] - whole[..., :2], axis=-1)
    left = tf.math.divide_no_nan(tf.reduce_prod(sides, axis=-1), area)
    there = (classes != FILLING) & tf.reduce_all(sides > 0, axis=-1)
    findable = (left >= augment.visible_share) & tf.reduce_all(sides >= augment.smallest_side, axis=-1)
    return (
        tf.where(there[..., None], cut, 0.0),
        tf.where(there, classes, FILLING),
        there & (crowds | ~findable),
    )


def _padded(images, sizes, canvas: Canvas):
    """`images` with the colour of the padding outside of `sizes [B, 2]`."""
    height, width = canvas.size
    rows = tf.range(height)[None, :] < sizes[:, :1]
    columns = tf.range(width)[None, :] < sizes[:, 1:]
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return tf.where(inside, images, tf.constant(canvas.padding_value, tf.float32))


class _Objects:
    """The objects of `Scenes` as constants of the graph, read by rows in lists of one length."""

    def __init__(self, scenes: Scenes):
        counts = scenes.counts
        self._most = max(1, int(counts.max(initial=0)))
        self._counts = tf.constant(counts, tf.int64)
        self._starts = tf.constant(np.cumsum([0, *counts])[:-1], tf.int64)
        # One more, which is nothing, so that there is always something to read.
        self._boxes = tf.constant(np.concatenate([scenes.boxes, np.zeros([1, 4], np.float32)]))
        self._classes = tf.constant(np.append(scenes.classes, FILLING), tf.int32)
        self._crowds = tf.constant(np.append(scenes.crowds, False))

    def at(self, rows):
        """`(boxes [B, M, 4], classes [B, M], crowds [B, M])`."""
        places = tf.range(self._most, dtype=tf.int64)[None, :]
        nothing = tf.size(self._classes, tf.int64) - 1
        present = places < tf.gather(self._counts, rows)[:, None]
        places = tf.where(present, tf.gather(self._starts, rows)[:, None] + places, nothing)
        return tuple(tf.gather(column, places) for column in (self._boxes, self._classes, self._crowds))
