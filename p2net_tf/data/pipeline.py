"""Images to crops: `tf.data` throughout, one affine crop per person, keypoints moved with it.

The order of the samples and every random draw are functions of (seed, pass, position) alone, so a
run can be repeated, and resumed at any person, without replaying what came before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from p2net_tf.augment.baseline import jitter_color, sample_window
from p2net_tf.augment.policies import Policy
from p2net_tf.augment.schedule import PolicySchedule
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.crops import from_levels, move_keypoints, plain_window
from p2net_tf.data.decode_ratios import decode_ratios
from p2net_tf.data.image_batches import (
    WHOLE,
    ImageBatch,
    InputShard,
    endless_images,
    fitting_batch_size,
    in_parallel,
    ordered_people,
    random_passes,
    row_seeds,
    steps_per_pass,
)
from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.samples import Samples
from p2net_tf.data.service import distribute
from p2net_tf.data.warping import PackedImages, of_reduced, pixels_read, warp_packed
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import CONTINUOUS, Alignment

PersonPolicy = Policy | Callable
"""`(crops, keypoints, seeds [B, 2], indices [B]) -> (crops, keypoints)` of the persons of those numbers in a
training: a `Policy`, or `PolicySchedule.during` of the training."""


def training_dataset(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    start_epoch: int = 0,
    policy: PersonPolicy | None = None,
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
        policy: augments the batches, a `Policy` or `PolicySchedule.during`; the crops are then taken plain
            but for the flip of `augment`.
        steps: batches per epoch; an epoch then begins where the one before ended, even in the middle of a
            pass. None: an epoch is a pass.
        store: the decoded images; None decodes them whenever they are needed.
    """
    first_index = start_epoch * (steps or steps_per_pass(samples, batch_size)) * batch_size
    batches = training_batches(
        samples, crop_size, batch_size, augment, box_padding, seed, policy, first_index, store=store
    )
    return batches.map(lambda batch: batch.data).prefetch(2)


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

    Raises:
        ValueError: the policy is a schedule.
    """
    if isinstance(policy, PolicySchedule):
        raise ValueError(
            f"the schedule '{policy.name}' goes by the progress of a training, which a data set that is "
            "opened anew for every epoch does not know; give the model "
            "augmentation=PolicyAugmentation(schedule, steps=epochs * steps_per_epoch)"
        )
    steps = steps_per_pass(samples, batch_size)
    batches = training_batches(
        samples, crop_size, batch_size, augment, box_padding, seed, policy, passes=random_passes(seed)
    )
    batches = batches.map(lambda batch: batch.data).take(steps)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


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

    @property
    def data(self) -> tuple:
        """What `train_step` takes."""
        return self.crops, self.keypoints


def training_batches(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    policy: PersonPolicy | None = None,
    first_index: int = 0,
    shard: InputShard = WHOLE,
    store: ImageCache | None = None,
    service: str | None = None,
    passes: tf.data.Dataset | None = None,
    reduce_jpegs: bool = False,
) -> tf.data.Dataset:
    """The endless `TrainingBatch`es behind `training_dataset`, from any person on.

    Args:
        batch_size: persons of a global batch; a batch of this pipeline has
            `batch_size / (shard.num_shards * shard.replicas)` of them.
        policy: see `training_dataset`.
        first_index: the first number of `TrainingBatch.indices` given out.
        store: the decoded images; what is in the batches does not depend on it. None decodes them whenever
            they are needed.
        service: address of a tf.data dispatcher, whose workers then load the images, without the store. Every
            person is still given once per pass, but the order of the batches depends on timing.
        passes: numbers of the passes to give, without a service; None counts up from that of `first_index`.
        reduce_jpegs: decode JPEGs at a half, a quarter or an eighth of their size where no crop shows them
            larger. The images of a `store` are of the size that they were decoded at.

    Raises:
        ValueError: the samples do not fill a batch, it cannot be shared out evenly, or the policy is a
            schedule without a training.
        tf.errors.InvalidArgumentError: when batches are drawn: `FRUITLESS`, their pictures are gone.
        DataError: a service is to load pictures that only Pillow decodes.
    """
    local_size = batch_size // (shard.num_shards * shard.replicas)
    if isinstance(policy, PolicySchedule):
        raise ValueError(
            f"the schedule '{policy.name}' goes by the progress of a training; give "
            "schedule.during(epochs * steps_per_epoch * batch_size)"
        )
    augment = drawn_before_cropping(augment, policy)
    people = _People(samples)
    ratios = None
    if reduce_jpegs and store is None:
        ratios = decode_ratios(samples, crop_size, augment, box_padding)

    def aim(rows, indices):
        """`(keypoints [n, K, 3] in crop pixels, matrices [n, 2, 3])`."""
        boxes, keypoints = people.at(rows)
        windows = plain_window(boxes, crop_size, box_padding)
        if augment is not None:
            person_seeds = row_seeds(seed, indices)
            windows = sample_window(windows, keypoints, crop_size, augment, samples.skeleton, person_seeds)
        return move_keypoints(keypoints, windows, crop_size, samples.skeleton)

    def cut(batch: ImageBatch):
        # Anew, and not what `aim` gave before: what is drawn twice costs less than what is carried along.
        keypoints, matrices = aim(batch.rows, batch.indices)
        crops = warp_packed(batch.images, of_reduced(matrices, batch.ratios), crop_size)
        crops = tf.ensure_shape(crops, (local_size, *crop_size, 3))
        return TrainingBatch(crops, keypoints, batch.rows, batch.indices)

    def finish(batch: TrainingBatch):
        crops, keypoints = batch.crops, batch.keypoints
        person_seeds = row_seeds(seed, batch.indices)
        if augment is not None:
            crops = jitter_color(crops, augment.color, person_seeds)
        if policy is not None:
            crops, keypoints = policy(crops, keypoints, person_seeds, batch.indices)
        return batch._replace(crops=crops, keypoints=keypoints)

    loaded = endless_images(
        samples,
        batch_size,
        seed,
        first_index,
        shard,
        store,
        piecewise=service is not None,
        passes=passes,
        windows=lambda rows, indices: pixels_read(aim(rows, indices)[1], crop_size),
        ratios=ratios,
    )
    batches = in_parallel(loaded, cut)
    if service is not None:
        batches = _through_service(batches, service)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return in_parallel(batches, finish).apply(endless).prefetch(2)


def fitting_batch(samples: Samples, batch_size: int, replicas: int = 1) -> int:
    """See `fitting_batch_size`."""
    return fitting_batch_size(samples, batch_size, replicas, "people")


def evaluation_dataset(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    box_padding: float = geometry.BOX_PADDING,
    alignment: Alignment = CONTINUOUS,
) -> tf.data.Dataset:
    """One pass in order: batches of `{crops, keypoints, matrices [B, 2, 3] image -> crop, rows [B]}`.

    The last batch may be smaller. `rows` says which samples a batch holds. A picture whose people follow each
    other is decoded once.
    """
    windows = plain_window(tf.constant(samples.boxes), crop_size, box_padding, alignment)
    moved, to_crop = move_keypoints(tf.constant(samples.keypoints), windows, crop_size, samples.skeleton)

    def cut(batch: ImageBatch):
        matrices = tf.gather(to_crop, batch.rows)
        crops = warp_packed(*_filled(batch_size, batch.images, matrices), crop_size)[: tf.size(batch.rows)]
        keypoints = tf.gather(moved, batch.rows)
        return {"crops": crops, "keypoints": keypoints, "matrices": matrices, "rows": batch.rows}

    people = ordered_people(samples, batch_size, pixels_read(to_crop, crop_size).numpy())
    return in_parallel(people, cut).prefetch(2)


def validation_dataset(
    samples: Samples, crop_size: tuple[int, int], batch_size: int, box_padding: float = geometry.BOX_PADDING
) -> tf.data.Dataset:
    """`evaluation_dataset` as `(crops, keypoints)`, for `model.evaluate`."""
    batches = evaluation_dataset(samples, crop_size, batch_size, box_padding)
    return batches.map(lambda batch: (batch["crops"], batch["keypoints"]))


def _filled(batch_size: int, images: PackedImages, matrices):
    """A last batch that is smaller, with its last person again and again: XLA would compile for it anew."""
    places = tf.minimum(tf.range(batch_size), tf.shape(matrices)[0] - 1)
    columns = (tf.gather(column, places) for column in (*images[1:], matrices))
    *images_of, matrices = columns
    return PackedImages(images.pixels, *images_of), matrices


def _through_service(batches: tf.data.Dataset, service: str) -> tf.data.Dataset:
    """Grey levels travel in a quarter of the bytes."""

    def sent(batch: TrainingBatch):
        return batch._replace(crops=tf.cast(tf.round(batch.crops * 255), tf.uint8))

    def received(batch: TrainingBatch):
        return batch._replace(crops=from_levels(batch.crops))

    return in_parallel(distribute(in_parallel(batches, sent), service), received)


def drawn_before_cropping(augment: AugmentConfig | None, policy: object | None) -> AugmentConfig | None:
    """What of `augment` is drawn: beside a policy, of whatever kind, the flip alone."""
    return augment if policy is None or augment is None else flip_alone(augment)


def flip_alone(augment: AugmentConfig) -> AugmentConfig:
    off = {"scale": 0.0, "rotation_probability": 0.0, "translation": 0.0, "half_body_probability": 0.0}
    return augment.model_copy(update={**off, "color": 0.0})


class _People:
    """Boxes and keypoints of `Samples` as constants of the graph, read by row or rows."""

    def __init__(self, samples: Samples):
        self._boxes = tf.constant(samples.boxes)
        self._keypoints = tf.constant(samples.keypoints)

    def at(self, rows):
        return tf.gather(self._boxes, rows), tf.gather(self._keypoints, rows)
