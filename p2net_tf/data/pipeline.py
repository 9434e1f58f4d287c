"""Images to crops: `tf.data` throughout, one affine crop per person, keypoints moved with it.

The order of the samples and every random draw are functions of (seed, pass, position) alone, so a
run can be repeated, and resumed at any person, without replaying what came before.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from p2net_tf import geometry
from p2net_tf.augment.baseline import CropWindow, jitter_color, sample_window
from p2net_tf.augment.policy import Policy
from p2net_tf.config import AugmentConfig
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import open_images
from p2net_tf.data.samples import Samples


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
    """
    pass_steps = steps_per_epoch(samples, batch_size)
    if not pass_steps:
        raise ValueError(f"{len(samples)} samples do not fill one batch of {batch_size}")

    first_draw = start_epoch * (steps or pass_steps) * batch_size
    batches = training_batches(samples, crop_size, batch_size, augment, box_padding, seed, policy, first_draw)
    return batches.map(lambda batch: (batch.crops, batch.keypoints)).prefetch(2)


class TrainingBatch(NamedTuple):
    """What `training_dataset` gives, and where it comes from."""

    crops: tf.Tensor
    """`[B, H, W, 3]` float32 in 0..1."""
    keypoints: tf.Tensor
    """`[B, K, 3]` in crop pixels."""
    rows: tf.Tensor
    """`[B]` int64: which of the samples these are."""
    draws: tf.Tensor
    """`[B]` int64: their numbers in the endless sequence of persons; a run goes on at the next one."""


class Share(NamedTuple):
    """Which part of every global batch one of several input pipelines loads, and in what pieces."""

    index: int = 0
    count: int = 1
    pieces: int = 1
    """Batches that the part is cut into: one for each replica that this pipeline feeds."""


WHOLE = Share()


def training_batches(
    samples: Samples,
    crop_size: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig | None = None,
    box_padding: float = geometry.BOX_PADDING,
    seed: int = 0,
    policy: Policy | None = None,
    first_draw: int = 0,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """The endless `TrainingBatch`es behind `training_dataset`, from any person on.

    Args:
        batch_size: persons of a global batch; a batch of this pipeline has
            `batch_size / (share.count * share.pieces)` of them.
        first_draw: the first number of `TrainingBatch.draws` given out.

    Raises:
        ValueError: the samples do not fill a batch, or it cannot be shared out evenly.
    """
    pass_steps = steps_per_epoch(samples, batch_size)
    if not pass_steps:
        raise ValueError(f"{len(samples)} samples do not fill one batch of {batch_size}")
    replicas = share.count * share.pieces
    if batch_size % replicas:
        raise ValueError(f"a batch of {batch_size} persons cannot be shared out to {replicas} replicas")
    if policy is not None and augment is not None:
        augment = _flip_alone(augment)
    people, images = _People(samples), open_images(samples)
    pass_draws, share_size = pass_steps * batch_size, batch_size // share.count

    def rows_of_pass(number):
        rows = images.shuffled(seed, number).take(pass_draws).enumerate(number * pass_draws)
        return rows.map(lambda draw, item: (*item, draw))

    def mine(row, handle, draw):
        return draw % batch_size // share_size == share.index

    def load(row, handle, draw):
        box, keypoints = people.at(row)
        draw_seed = _draw_seed(seed, draw)
        window = _plain_window(box, crop_size, box_padding)
        if augment is not None:
            window = sample_window(window, keypoints, crop_size, augment, samples.skeleton, draw_seed)
        image = decode_image(images.contents(handle), samples.exif_orientation)
        crop, keypoints, _ = take_crop(image, keypoints, window, crop_size, samples.skeleton)
        if augment is not None:
            crop = jitter_color(crop, augment.color, draw_seed + tf.constant([0, 1 << 41], tf.int64))
        return TrainingBatch(crop, keypoints, row, draw)

    def finish(batch: TrainingBatch):
        if policy is None:
            return batch
        # A seed per sample, not per batch: one broken image must not change what all others draw.
        crops, keypoints = policy(batch.crops, batch.keypoints, _draw_seed(seed, batch.draws))
        return batch._replace(crops=crops, keypoints=keypoints)

    first_pass, skipped = divmod(first_draw, pass_draws)
    rows = tf.data.Dataset.range(first_pass, tf.int64.max).flat_map(rows_of_pass).skip(skipped)
    if share.count > 1:
        rows = rows.filter(mine)
    # An image that broke since it was checked is logged and its place taken by the next one.
    crops = _parallel(rows, load).ignore_errors(log_warning=True)
    batches = crops.batch(share_size // share.pieces, drop_remainder=True)
    return _parallel(batches, finish).prefetch(2)


def steps_per_epoch(samples: Samples, batch_size: int) -> int:
    """Batches of one pass over `samples`: of an epoch of `training_dataset` that is not told otherwise."""
    return len(samples) // batch_size


def evaluation_dataset(
    samples: Samples, crop_size: tuple[int, int], batch_size: int, box_padding: float = geometry.BOX_PADDING
) -> tf.data.Dataset:
    """One pass in order: batches of `{crops, keypoints, matrices [B, 2, 3] image -> crop, rows [B]}`.

    The last batch may be smaller. `rows` says which samples a batch holds.
    """
    people, images = _People(samples), open_images(samples)

    def load(row, handle):
        box, keypoints = people.at(row)
        window = _plain_window(box, crop_size, box_padding)
        image = decode_image(images.contents(handle), samples.exif_orientation)
        crop, keypoints, matrix = take_crop(image, keypoints, window, crop_size, samples.skeleton)
        return {"crops": crop, "keypoints": keypoints, "matrices": matrix, "rows": row}

    return _parallel(images.in_order(), load).batch(batch_size).prefetch(2)


def validation_dataset(
    samples: Samples, crop_size: tuple[int, int], batch_size: int, box_padding: float = geometry.BOX_PADDING
) -> tf.data.Dataset:
    """`evaluation_dataset` as `(crops, keypoints)`, for `model.evaluate`."""
    batches = evaluation_dataset(samples, crop_size, batch_size, box_padding)
    return batches.map(lambda batch: (batch["crops"], batch["keypoints"]))


def take_crop(image, keypoints, window: CropWindow, crop_size: tuple[int, int], skeleton):
    """Cuts `window` out of an image.

    Args:
        image: `[h, w, 3]` uint8.
        keypoints: `[K, 3]` in image pixels.

    Returns:
        `(crop [H, W, 3] float32 in 0..1, keypoints [K, 3] in crop pixels, matrix [2, 3] image -> crop)`. Left
        and right are exchanged where the window flips; keypoints outside the crop get visibility 0.
    """
    matrix = geometry.crop_matrix(window.center, window.size, crop_size, window.rotation)
    moved = geometry.transform_keypoints(keypoints, matrix)
    flipped = geometry.flip_keypoints(moved, crop_size[1], skeleton.flip_permutation)
    moved = tf.where(window.flip > 0, flipped, moved)
    matrix = geometry.crop_matrix(window.center, window.size, crop_size, window.rotation, window.flip)
    return warp(image, matrix, crop_size), geometry.hide_outside(moved, crop_size), matrix


def plain_crop(image, box, crop_size: tuple[int, int], box_padding: float = geometry.BOX_PADDING):
    """`take_crop` of a box as evaluation sees it, where there are no keypoints.

    Args:
        image: `[h, w, 3]` uint8, or float32 of the same values.
        box: `[4]` xywh in image pixels.

    Returns:
        `(crop [H, W, 3] float32 in 0..1, matrix [2, 3] image -> crop)`.
    """
    window = _plain_window(box, crop_size, box_padding)
    matrix = geometry.crop_matrix(window.center, window.size, crop_size)
    return warp(image, matrix, crop_size), matrix


def warp(image, matrix, crop_size: tuple[int, int]):
    """Bilinear crop `[H, W, 3]` float32 in 0..1 of a uint8 image, black outside it.

    Args:
        matrix: `[2, 3]`, image -> crop.
    """
    inverse = geometry.invert_affine(matrix)
    # The op counts pixels by index, our coordinates by corner: p = index + 0.5 on both sides.
    offset = inverse[:, 2] + tf.reduce_sum(inverse[:, :2], axis=1) * 0.5 - 0.5
    rows = tf.concat([inverse[:, :2], offset[:, None]], axis=1)
    transform = tf.concat([tf.reshape(rows, [6]), [0.0, 0.0]], axis=0)
    crop = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=transform[None],
        output_shape=crop_size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    # A product, because graph optimizers turn a division by a constant into one, which rounds differently: a
    # served crop shall be the evaluated one to the last bit.
    return tf.ensure_shape(crop[0], (*crop_size, 3)) * (1 / 255)


def _plain_window(box, crop_size, box_padding) -> CropWindow:
    height, width = crop_size
    center, size = geometry.box_center_and_size(box, width / height, box_padding)
    return CropWindow(center, size, tf.constant(0.0), tf.constant(0.0))


def _draw_seed(seed: int, draw):
    """`[..., 2]` seeds of draws `[...]`."""
    return tf.stack([tf.fill(tf.shape(draw), tf.constant(seed, tf.int64)), draw], axis=-1)


def _flip_alone(augment: AugmentConfig) -> AugmentConfig:
    off = {"scale": 0.0, "rotation_probability": 0.0, "translation": 0.0, "half_body_probability": 0.0}
    return augment.model_copy(update={**off, "color": 0.0})


def _parallel(dataset: tf.data.Dataset, load) -> tf.data.Dataset:
    """`load` of every element, side by side but in the same order, whatever the global options are."""
    return dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class _People:
    """Boxes and keypoints of `Samples` as constants of the graph, read by row."""

    def __init__(self, samples: Samples):
        self._boxes = tf.constant(samples.boxes)
        self._keypoints = tf.constant(samples.keypoints)

    def at(self, row):
        return self._boxes[row], self._keypoints[row]
