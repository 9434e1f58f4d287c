"""Images to crops: `tf.data` throughout, one affine crop per person, keypoints moved with it.

The order of the samples and every random draw are functions of (seed, pass, position) alone, so a
run can be repeated, and resumed at any person, without replaying what came before.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.augment.policies import Policy
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.crops import from_levels, move_keypoints, plain_window, take_crop
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import MARK, open_images
from p2net_tf.data.lost_pictures import FRUITLESS
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.service import distribute
from p2net_tf.data.warping import pack_pixels, pad_to_power_of_two, warp_packed
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import CONTINUOUS, Alignment
from p2net_tf.utils.console import messages

_END, _END_OF_PASS = -2, -1
"""Draws of the marks behind a part of a pass, and behind a whole one."""
_PIECE_STEPS = 16
"""Batches that a worker of a service makes in a row."""


def training_dataset(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    start_epoch: int = 0,
    policy: Policy | None = None,
    steps: int | None = None,
    store: ImageCache | None = None,
) -> tf.data.Dataset:
    """Endless batches `(crops [B, H, W, 3] float32 in 0..1, keypoints [B, K, 3] in crop pixels)`.

    Every pass is one permutation of the samples (of records: within their shuffle buffer), cut into
    `len(samples) // batch_size` batches; what is left over comes in other passes. Keypoints outside the crop
    have visibility 0.

    Args:
        augment: the hand-crafted baseline; None for plain crops.
        start_epoch: the first epoch given out, for resuming.
        policy: augments the batches; the crops are then taken plain but for the flip of `augment`.
        steps: batches per epoch; an epoch then begins where the one before ended, even in the middle of a
            pass. None: an epoch is a pass.
        store: the decoded images; None decodes them whenever they are needed.
    """
    first_index = start_epoch * (steps or steps_per_epoch(samples, batch_size)) * batch_size
    batches = training_batches(
        samples, crop_size, batch_size, augment, box_padding, seed, policy, first_index, store=store
    )
    return batches.map(lambda batch: (batch.crops, batch.keypoints)).prefetch(2)


def fit_dataset(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    policy: Policy | None = None,
) -> tf.data.Dataset:
    """`training_dataset` for a plain `model.fit`: it ends after a pass, and the next time it is another one.

    Keras opens a data set anew for every epoch. Which passes these are is drawn by `seed`, so that a second
    `fit` on the same data set goes on, and the same program gives the same batches again.
    """
    steps = steps_per_epoch(samples, batch_size)
    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    batches = training_batches(
        samples, crop_size, batch_size, augment, box_padding, seed, policy, passes=numbers.map(_pass_number)
    )
    batches = batches.map(lambda batch: (batch.crops, batch.keypoints)).take(steps)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def _pass_number(random):
    """Small enough to count the persons of all passes before it."""
    return random % 2**31


class TrainingBatch(NamedTuple):
    """What a training step gets, and where it comes from."""

    crops: tf.Tensor
    """`[B, H, W, 3]` float32 in 0..1."""
    keypoints: tf.Tensor
    """`[B, K, 3]` in crop pixels."""
    rows: tf.Tensor
    """`[B]` int64: which of the samples these are."""
    indices: tf.Tensor
    """`[B]` int64: their numbers in the endless sequence of persons; a run goes on at the next one."""


class InputShard(NamedTuple):
    """Which part of every global batch one of several input pipelines loads, and for how many replicas."""

    index: int = 0
    num_shards: int = 1
    replicas: int = 1
    """Batches that the part is cut into: one for each replica that this pipeline feeds."""


WHOLE = InputShard()


def training_batches(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    policy: Policy | None = None,
    first_index: int = 0,
    shard: InputShard = WHOLE,
    store: ImageCache | None = None,
    service: str | None = None,
    passes: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """The endless `TrainingBatch`es behind `training_dataset`, from any person on.

    Args:
        batch_size: persons of a global batch; a batch of this pipeline has
            `batch_size / (shard.num_shards * shard.replicas)` of them.
        first_index: the first number of `TrainingBatch.indices` given out.
        store: the decoded images; what is in the batches does not depend on it. None decodes them whenever
            they are needed.
        service: address of a tf.data dispatcher, whose workers then load the images, without the store. Every
            person is still given once per pass, but the order of the batches depends on timing.
        passes: numbers of the passes to give, without a service; None counts up from that of `first_index`.

    Raises:
        ValueError: the samples do not fill a batch, or it cannot be shared out evenly.
        tf.errors.InvalidArgumentError: when batches are drawn: `FRUITLESS`, their pictures are gone.
        DataError: a service is to load pictures that only Pillow decodes.
    """
    pass_steps = steps_per_epoch(samples, batch_size)
    if not pass_steps:
        raise ValueError(f"{len(samples)} samples do not fill one batch of {batch_size}")
    replicas = shard.num_shards * shard.replicas
    if batch_size % replicas:
        raise ValueError(f"a batch of {batch_size} persons cannot be shared out to {replicas} replicas")
    if policy is not None and augment is not None:
        augment = _flip_alone(augment)
    people, images = _People(samples), open_images(samples)
    if service is not None:
        images.refuse_python()
    pass_persons, shard_size = pass_steps * batch_size, batch_size // shard.num_shards
    local_size = shard_size // shard.replicas
    # The workers of a service share out pieces of a pass; of records whole passes, in which nobody can seek.
    piece_persons = pass_persons if service is None or samples.records else _PIECE_STEPS * batch_size
    pieces = -(-pass_persons // piece_persons)
    decodes_here = store is None and service is None

    def rows_of_piece(piece):
        number, start = piece // pieces, piece % pieces * piece_persons
        # A run goes on in the middle of its first piece.
        start = tf.maximum(start, first_index - number * pass_persons)
        stop = tf.minimum((piece % pieces + 1) * piece_persons, pass_persons)
        rows = images.shuffled(seed, number, start).take(stop - start)
        rows = rows.enumerate(number * pass_persons + start)
        if not decodes_here:
            return rows
        end = tf.where(start == 0, tf.constant(_END_OF_PASS, tf.int64), _END)
        return rows.concatenate(tf.data.Dataset.from_tensors((end, images.mark())))

    def mine(index, item):
        return (index < 0) | (index % batch_size // shard_size == shard.index)

    def cut(batch: _Images):
        boxes, keypoints = people.at(batch.rows)
        windows = plain_window(boxes, crop_size, box_padding)
        if augment is not None:
            person_seeds = _person_seeds(seed, batch.indices)
            windows = sample_window(windows, keypoints, crop_size, augment, samples.skeleton, person_seeds)
        keypoints, matrices = move_keypoints(keypoints, windows, crop_size, samples.skeleton)
        crops = warp_packed(batch.pixels, batch.starts, batch.sizes, matrices, crop_size)
        crops = tf.ensure_shape(crops, (local_size, *crop_size, 3))
        return TrainingBatch(crops, keypoints, batch.rows, batch.indices)

    def finish(batch: TrainingBatch):
        crops, keypoints = batch.crops, batch.keypoints
        # A seed per sample, not per batch: one broken image must not change what all others draw.
        person_seeds = _person_seeds(seed, batch.indices)
        if augment is not None:
            crops = jitter_color(crops, augment.color, person_seeds)
        if policy is not None:
            crops, keypoints = policy(crops, keypoints, person_seeds)
        return batch._replace(crops=crops, keypoints=keypoints)

    first_piece = first_index // pass_persons * pieces + first_index % pass_persons // piece_persons
    numbers = tf.data.Dataset.range(first_piece, tf.int64.max) if passes is None else passes
    rows = numbers.flat_map(rows_of_piece)
    if shard.num_shards > 1:
        rows = rows.filter(mine)
    # An image that broke since it was checked is told of, and its place taken by the next one.
    if store is None or service is not None:
        loaded = _decode(rows, images, samples, local_size)
    else:
        loaded = _look_up(rows, store, local_size)
    batches = in_parallel(loaded, cut)
    if service is not None:
        batches = _through_service(batches, service)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return in_parallel(batches, finish).apply(endless).prefetch(2)


def fitting_batch(samples: Samples, batch_size: int, replicas: int = 1) -> int:
    """`batch_size`, or the largest batch that the samples fill where they are fewer, which is said.

    Raises:
        DataError: there are fewer samples than replicas.
    """
    if len(samples) >= batch_size:
        return batch_size
    smaller = len(samples) // replicas * replicas
    if not smaller:
        raise DataError(f"{samples.source}: {len(samples)} people for {replicas} replicas; add people")
    messages.print(
        f"[yellow]a smaller batch[/yellow]: {smaller} people and not {batch_size}, as {samples.source} has "
        f"{len(samples)}",
        soft_wrap=True,
    )
    return smaller


def steps_per_epoch(samples: Samples, batch_size: int) -> int:
    """Batches of one pass over `samples`: of an epoch of `training_dataset` that is not told otherwise."""
    return len(samples) // batch_size


def evaluation_dataset(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    box_padding: float = geometry.BOX_PADDING,
    alignment: Alignment = CONTINUOUS,
) -> tf.data.Dataset:
    """One pass in order: batches of `{crops, keypoints, matrices [B, 2, 3] image -> crop, rows [B]}`.

    The last batch may be smaller. `rows` says which samples a batch holds.
    """
    people, images = _People(samples), open_images(samples)

    def load(row, handle):
        box, keypoints = people.at(row)
        window = plain_window(box, crop_size, box_padding, alignment)
        image = decode_image(images.contents(handle), samples.exif_orientation)
        crop, keypoints, matrix = take_crop(image, keypoints, window, crop_size, samples.skeleton)
        return {"crops": crop, "keypoints": keypoints, "matrices": matrix, "rows": row}

    return in_parallel(images.in_order(), load).batch(batch_size).prefetch(2)


def validation_dataset(
    samples: Samples, crop_size: tuple[int, int], batch_size: int, box_padding: float = geometry.BOX_PADDING
) -> tf.data.Dataset:
    """`evaluation_dataset` as `(crops, keypoints)`, for `model.evaluate`."""
    batches = evaluation_dataset(samples, crop_size, batch_size, box_padding)
    return batches.map(lambda batch: (batch["crops"], batch["keypoints"]))


class _Images(NamedTuple):
    """A batch of persons with their images, as `warp_packed` reads them."""

    rows: tf.Tensor
    indices: tf.Tensor
    pixels: tf.Tensor
    starts: tf.Tensor
    sizes: tf.Tensor


def _decode(rows: tf.data.Dataset, images, samples: Samples, batch_size: int) -> tf.data.Dataset:
    """`_Images` out of `(draw, (row, handle))`."""

    def load(draw, item):
        row, handle = item
        contents = tf.cond(row == MARK, _one_pixel, lambda: images.contents(handle))
        image = decode_image(contents, samples.exif_orientation)
        return row, draw, pack_pixels(image), tf.shape(image)[:2]

    def join(rows, indices, pixels: tf.RaggedTensor, sizes):
        # Here operations on one person end: one on a batch costs hardly more.
        starts = tf.cast(pixels.row_starts(), tf.int32)
        return _Images(rows, indices, pad_to_power_of_two(pixels.flat_values), starts, sizes)

    decoded = in_parallel(rows, load).ignore_errors(log_warning=True)
    decoded = decoded.scan(tf.constant(True), _demand_fruit).filter(lambda row, draw, *image: draw >= 0)
    return in_parallel(decoded.ragged_batch(batch_size, drop_remainder=True), join)


def _one_pixel():
    """A picture that can always be read."""
    return tf.io.encode_jpeg(tf.zeros((1, 1, 3), tf.uint8))


def _demand_fruit(has_fruit, decoded):
    """Fails at the end of a whole pass in which nothing could be decoded, where it would go on forever.

    Args:
        has_fruit: whether anything came since the mark before; `decoded`: of `_decode`, marks included.
    """
    draw = decoded[1]
    fruitless = (draw == _END_OF_PASS) & ~has_fruit
    with tf.control_dependencies([tf.debugging.Assert(~fruitless, [FRUITLESS])]):
        return draw >= 0, tf.nest.map_structure(tf.identity, decoded)


def _look_up(rows: tf.data.Dataset, store: ImageCache, batch_size: int) -> tf.data.Dataset:
    """`_Images` out of `(draw, (row, handle))`."""

    def find(indices, items):
        rows, _ = items
        starts, sizes = tf.gather(store.starts, rows), tf.gather(store.sizes, rows)
        return _Images(rows, indices, store.pixels, starts, sizes)

    if not tf.reduce_all(store.known):
        rows = rows.filter(lambda draw, item: store.known[item[0]])
    return rows.batch(batch_size, drop_remainder=True).map(find)


def _through_service(batches: tf.data.Dataset, service: str) -> tf.data.Dataset:
    """Grey levels travel in a quarter of the bytes."""

    def sent(batch: TrainingBatch):
        return batch._replace(crops=tf.cast(tf.round(batch.crops * 255), tf.uint8))

    def received(batch: TrainingBatch):
        return batch._replace(crops=from_levels(batch.crops))

    return in_parallel(distribute(in_parallel(batches, sent), service), received)


def in_parallel(dataset: tf.data.Dataset, load) -> tf.data.Dataset:
    """`load` of every element, side by side but in the same order, whatever the global options are."""
    return dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _person_seeds(seed: int, indices):
    """`[B, 2]` seeds of the persons `indices [B]`."""
    return tf.stack([tf.fill(tf.shape(indices), tf.constant(seed, tf.int64)), indices], axis=-1)


def _flip_alone(augment: AugmentConfig) -> AugmentConfig:
    off = {"scale": 0.0, "rotation_probability": 0.0, "translation": 0.0, "half_body_probability": 0.0}
    return augment.model_copy(update={**off, "color": 0.0})


class _People:
    """Boxes and keypoints of `Samples` as constants of the graph, read by row or rows."""

    def __init__(self, samples: Samples):
        self._boxes = tf.constant(samples.boxes)
        self._keypoints = tf.constant(samples.keypoints)

    def at(self, rows):
        return tf.gather(self._boxes, rows), tf.gather(self._keypoints, rows)
