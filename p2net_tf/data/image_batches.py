"""Endless batches of images, in an order that can be repeated and gone on with anywhere.

What is cut out of the images, people or whole scenes, is the business of the pipelines that stand on this.
The order of the rows is a function of (seed, pass, position) alone, so a run can be resumed at any row
without replaying what came before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from p2net_tf.data.image_cache import ImageCache
from p2net_tf.data.image_sources import MARK, Pictures, open_images
from p2net_tf.data.image_windows import EVERYTHING, ImageWindow, cut_window, decode_window
from p2net_tf.data.lost_pictures import FRUITLESS
from p2net_tf.data.samples import DataError
from p2net_tf.data.warping import PackedImages, pack_images
from p2net_tf.utils.console import messages

_END, _END_OF_PASS = -2, -1
"""Indices of the marks behind a part of a pass, and behind a whole one."""
_PIECE_STEPS = 16
"""Batches that a worker of a service makes in a row."""
_AIMED_AT_ONCE = 64
"""Rows whose windows are worked out together, before their images are decoded."""


class InputShard(NamedTuple):
    """Which part of every global batch one of several input pipelines loads, and for how many replicas."""

    index: int = 0
    num_shards: int = 1
    replicas: int = 1
    """Batches that the part is cut into: one for each replica that this pipeline feeds."""


WHOLE = InputShard()


class ImageBatch(NamedTuple):
    """A batch of rows with their images."""

    rows: tf.Tensor
    """`[B]` int64: rows of the part."""
    indices: tf.Tensor
    """`[B]` int64: their numbers in the endless sequence; a run goes on at the next one."""
    images: PackedImages
    """Of each row the image, or what of it `windows` asked for."""
    ratios: tf.Tensor
    """`[B]` int32: a pixel of the image covers a square of so many pixels of the picture on each side."""


def endless_images(
    part: Pictures,
    batch_size: int,
    seed: int = 0,
    first_index: int = 0,
    shard: InputShard = WHOLE,
    store: ImageCache | None = None,
    piecewise: bool = False,
    passes: tf.data.Dataset | None = None,
    windows: Callable | None = None,
    ratios: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Endless `ImageBatch`es. Every pass is a permutation of the rows, without what fills no batch.

    Args:
        part: rows with an image each.
        batch_size: rows of a global batch; a batch of this pipeline has
            `batch_size / (shard.num_shards * shard.replicas)` of them.
        first_index: the first number of `ImageBatch.indices` given out.
        store: the decoded images; None decodes them whenever they are needed.
        piecewise: for the workers of a service, who share out pieces of a pass.
        passes: numbers of the passes to give; None counts up from that of `first_index`.
        windows: `(rows [n], indices [n]) -> [n, 4]` int32, (top, left, bottom, right) of the pixels that are
            needed of each image; None: all. No more need be decoded where it is done here.
        ratios: `[N]` int32, of `image_windows.RATIOS`: the fraction of their size at which JPEGs are decoded;
            None: as they are. What is in `store` has been decoded at its own.

    Raises:
        ValueError: the rows do not fill a batch, or it cannot be shared out evenly.
        tf.errors.InvalidArgumentError: when batches are drawn: `FRUITLESS`, their pictures are gone.
        DataError: `piecewise`, and there are pictures that only Pillow decodes.
    """
    pass_steps = steps_per_pass(part, batch_size)
    if not pass_steps:
        raise ValueError(f"{len(part)} samples do not fill one batch of {batch_size}")
    replicas = shard.num_shards * shard.replicas
    if batch_size % replicas:
        raise ValueError(f"a batch of {batch_size} cannot be shared out to {replicas} replicas")
    images = open_images(part)
    if piecewise:
        images.refuse_python()
    pass_rows, shard_size = pass_steps * batch_size, batch_size // shard.num_shards
    # The workers of a service share out pieces of a pass; of records whole passes, in which nobody can seek.
    piece_rows = pass_rows if not piecewise or part.records else _PIECE_STEPS * batch_size
    pieces = -(-pass_rows // piece_rows)
    decodes_here = store is None and not piecewise

    def rows_of_piece(piece):
        number, start = piece // pieces, piece % pieces * piece_rows
        # A run goes on in the middle of its first piece.
        start = tf.maximum(start, first_index - number * pass_rows)
        stop = tf.minimum((piece % pieces + 1) * piece_rows, pass_rows)
        rows = images.shuffled(seed, number, start).take(stop - start)
        rows = rows.enumerate(number * pass_rows + start)
        if not decodes_here:
            return rows
        end = tf.where(start == 0, tf.constant(_END_OF_PASS, tf.int64), _END)
        return rows.concatenate(tf.data.Dataset.from_tensors((end, images.mark())))

    def mine(index, item):
        return (index < 0) | (index % batch_size // shard_size == shard.index)

    first_piece = first_index // pass_rows * pieces + first_index % pass_rows // piece_rows
    numbers = tf.data.Dataset.range(first_piece, tf.int64.max) if passes is None else passes
    rows = numbers.flat_map(rows_of_piece)
    if shard.num_shards > 1:
        rows = rows.filter(mine)
    # An image that broke since it was checked is told of, and its place taken by the next one.
    local_size = shard_size // shard.replicas
    if store is None or piecewise:
        decode = _Decoder(images, part.exif_orientation, ratios)
        return _decode(rows, images, decode, local_size, windows)
    return _look_up(rows, store, local_size)


def random_passes(seed: int) -> tf.data.Dataset:
    """Numbers of passes for a data set that Keras opens anew for every epoch: other ones each time.

    They are drawn by `seed`, so that a second `fit` on the same data set goes on, and the same program gives
    the same batches again.
    """
    # Small enough to count the rows of all passes before it.
    return tf.data.Dataset.random(seed, rerandomize_each_iteration=True).map(lambda number: number % 2**31)


def ordered_images(part: Pictures, batch_size: int) -> tf.data.Dataset:
    """One pass in order as `ImageBatch`es, whose indices are the rows; the last one may be smaller."""
    images = open_images(part)
    decode = _Decoder(images, part.exif_orientation)

    def load(row, handle):
        return row, row, *decode(row, images.contents(handle), EVERYTHING)

    return in_parallel(in_parallel(images.in_order(), load).ragged_batch(batch_size), _joined)


def ordered_people(part: Pictures, batch_size: int, windows: np.ndarray) -> tf.data.Dataset:
    """`ordered_images` of the windows of rows; a picture of rows that follow each other is decoded once.

    Args:
        windows: `[N, 4]` int32, (top, left, bottom, right) of the pixels that are needed of each image.
    """
    images = open_images(part)
    decode = functools.partial(
        decode_window, exif_orientation=part.exif_orientation, only_jpegs=images.only_jpegs
    )
    first, counts = _rows_of_pictures(part)
    # What any of its people needs is decoded, and of it each one's is cut out.
    needed = np.zeros_like(windows)
    needed[first] = np.concatenate(
        [np.minimum.reduceat(windows[:, :2], first), np.maximum.reduceat(windows[:, 2:], first)], axis=1
    )
    is_first = np.zeros(len(part), bool)
    is_first[first] = True
    is_first, counts, needed, windows = map(tf.constant, (is_first, counts, needed, windows))

    def load(row, handle):
        return row, decode(images.contents(handle), needed[row])

    def people(row, found):
        rows = tf.data.Dataset.range(row, row + counts[row])
        return tf.data.Dataset.zip((rows, tf.data.Dataset.from_tensors(found).repeat()))

    def cut(row, found):
        return row, row, *_flat(cut_window(found, windows[row]))

    pictures = images.in_order().filter(lambda row, handle: is_first[row])
    rows = in_parallel(pictures, load)
    if len(first) < len(part):
        rows = rows.flat_map(people)
    return in_parallel(in_parallel(rows, cut).ragged_batch(batch_size), _joined)


def _rows_of_pictures(part: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """The rows at which another picture begins, and `[N]` int64, at these how many rows are of it."""
    begins = np.ones(len(part), bool)
    if not part.records:  # where each row has a copy of its own
        begins[1:] = part.image_paths[1:] != part.image_paths[:-1]
    first = np.flatnonzero(begins)
    counts = np.zeros(len(part), np.int64)
    counts[first] = np.diff(first, append=len(part))
    return first, counts


def steps_per_pass(part: Pictures, batch_size: int) -> int:
    """Batches of one pass over the rows: of an epoch that is not told otherwise."""
    return len(part) // batch_size


def fitting_batch_size(part: Pictures, batch_size: int, replicas: int, things: str) -> int:
    """`batch_size`, or the largest batch that the rows fill where they are fewer, which is said.

    Args:
        things: what the rows are, in words: `people`.

    Raises:
        DataError: there are fewer rows than replicas.
    """
    if len(part) >= batch_size:
        return batch_size
    smaller = len(part) // replicas * replicas
    if not smaller:
        raise DataError(f"{part.source}: {len(part)} {things} for {replicas} replicas; add {things}")
    messages.print(
        f"[yellow]a smaller batch[/yellow]: {smaller} {things} and not {batch_size}, as {part.source} has "
        f"{len(part)}",
        soft_wrap=True,
    )
    return smaller


def in_parallel(dataset: tf.data.Dataset, load) -> tf.data.Dataset:
    """`load` of every element, side by side but in the same order, whatever the global options are.

    It is traced as it is: there is nothing in it that AutoGraph would have to convert.
    """
    load = tf.autograph.experimental.do_not_convert(load)
    return dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def row_seeds(seed: int, indices):
    """`[B, 2]` int64 seeds of what has the numbers `indices [B]` in the endless sequence.

    One per row, not per batch: one broken image must not change what all others draw.
    """
    return tf.stack([tf.fill(tf.shape(indices), tf.constant(seed, tf.int64)), indices], axis=-1)


def _decode(
    rows: tf.data.Dataset, images, decode: _Decoder, batch_size: int, windows: Callable | None
) -> tf.data.Dataset:
    """`ImageBatch`es out of `(index, (row, handle))`."""

    def load(index, item, window=EVERYTHING):
        row, handle = item
        contents = tf.cond(row == MARK, _one_pixel, lambda: images.contents(handle))
        return row, index, *decode(tf.maximum(row, 0), contents, window)

    if windows is not None:
        rows = _aimed(rows, windows)
    decoded = in_parallel(rows, load).ignore_errors(log_warning=True)
    decoded = decoded.scan(tf.constant(True), _demand_fruit).filter(lambda row, index, *image: index >= 0)
    return in_parallel(decoded.ragged_batch(batch_size, drop_remainder=True), _joined)


def _aimed(rows: tf.data.Dataset, windows: Callable) -> tf.data.Dataset:
    """`(index, (row, handle), window [4])`: many at once: one alone would cost as much as its image."""

    def aim(indices, items):
        return indices, items, windows(tf.maximum(items[0], 0), tf.maximum(indices, 0))

    return in_parallel(rows.batch(_AIMED_AT_ONCE), aim).unbatch()


class _Decoder:
    """The images of rows, as `_joined` takes a batch of them.

    Args:
        images: where they come from.
        ratios: as of `endless_images`.
    """

    def __init__(self, images, exif_orientation: bool, ratios: np.ndarray | None = None):
        self._options = {"exif_orientation": exif_orientation, "only_jpegs": images.only_jpegs}
        self._ratios = None
        if ratios is not None and np.any(ratios > 1):
            self._ratios = tf.constant(ratios, tf.int32)
            self._options["ratios"] = np.unique(ratios).tolist()

    def __call__(self, row, contents, window) -> tuple:
        """`_flat` of the window."""
        ratio = 1 if self._ratios is None else self._ratios[row]
        return _flat(decode_window(contents, window, ratio, **self._options))


def _flat(found: ImageWindow) -> tuple:
    """`(grey levels [3 h w], corner, width, size, ratio)`."""
    width = tf.shape(found.image)[1]
    return tf.reshape(found.image, [-1]), found.corner, width, found.size, found.ratio


def _joined(rows, indices, levels: tf.RaggedTensor, corners, widths, sizes, ratios) -> ImageBatch:
    # Here operations on one row end: one on a batch costs hardly more.
    return ImageBatch(rows, indices, pack_images(levels, corners, widths, sizes), ratios)


def _one_pixel():
    """A picture that can always be read."""
    return tf.io.encode_jpeg(tf.zeros((1, 1, 3), tf.uint8))


def _demand_fruit(has_fruit, decoded):
    """Fails at the end of a whole pass in which nothing could be decoded, where it would go on forever.

    Args:
        has_fruit: whether anything came since the mark before; `decoded`: of `_decode`, marks included.
    """
    index = decoded[1]
    fruitless = (index == _END_OF_PASS) & ~has_fruit
    with tf.control_dependencies([tf.debugging.Assert(~fruitless, [FRUITLESS])]):
        return index >= 0, tf.nest.map_structure(tf.identity, decoded)


def _look_up(rows: tf.data.Dataset, store: ImageCache, batch_size: int) -> tf.data.Dataset:
    """`ImageBatch`es out of `(index, (row, handle))`."""

    def find(indices, items):
        rows, _ = items
        return ImageBatch(rows, indices, store.of(rows), tf.gather(store.ratios, rows))

    if not tf.reduce_all(store.known):
        rows = rows.filter(lambda index, item: store.known[item[0]])
    return rows.batch(batch_size, drop_remainder=True).map(find)
