"""All training images decoded in memory, where there is room for them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from p2net_tf.data.image_headers import image_sizes
from p2net_tf.data.image_sources import Pictures, open_images
from p2net_tf.data.image_windows import EVERYTHING, decode_window
from p2net_tf.data.warping import PackedImages, pack_pixels
from p2net_tf.utils.console import messages, progress
from p2net_tf.utils.machine import available_memory

_SHARE = 4
"""`auto` takes one part in so many of the memory that is available."""
_MOST_PIXELS = 2**31 - 1
"""They are counted in 32 bits."""


class ImageCache(NamedTuple):
    """The images of `Samples` or `Scenes`."""

    images: PackedImages
    """Of all N samples."""
    ratios: tf.Tensor
    """`[N]` int32: a pixel here covers a square of so many pixels of the picture on each side."""
    known: tf.Tensor
    """`[N]` bool, False where the image does not decode."""

    def of(self, rows) -> PackedImages:
        """Those of some rows."""
        return self.images._replace(
            starts=tf.gather(self.images.starts, rows),
            strides=tf.gather(self.images.strides, rows),
            sizes=tf.gather(self.images.sizes, rows),
        )


def open_image_cache(
    samples: Pictures, megabytes: int | Literal["auto"] = "auto", ratios: np.ndarray | None = None
) -> ImageCache | None:
    """Decodes every distinct image once; None where they need more than `megabytes`.

    Args:
        megabytes: room for pixels; `auto` takes a quarter of the memory that is available now.
        ratios: `[N]` int32, at which fraction of their size JPEGs are decoded; None: as they are.
    """
    ratios = np.ones(len(samples), np.int32) if ratios is None else ratios
    room = available_memory() // _SHARE if megabytes == "auto" else megabytes * 2**20
    most = min(room // np.dtype(np.int32).itemsize, _MOST_PIXELS)
    _, first, place = np.unique(samples.image_paths, return_index=True, return_inverse=True)
    if not samples.records and _pixels_by_headers(samples.image_paths[first], ratios[first]) > most:
        return None
    images: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    needed, wanted = 0, set(first.tolist())
    with progress("decoding images", total=len(wanted)) as advance:
        for row, image, ratio in _decoded(samples, wanted, ratios):
            images[int(row)] = pack_pixels(image), image.shape[:2], int(ratio)
            needed += image.shape[0] * image.shape[1]
            if needed > most:
                return None
            advance()
    return _store(samples, images, first[place.reshape(-1)]) if images else None


def _pixels_by_headers(paths: np.ndarray, ratios: np.ndarray) -> int:
    """How many the images will have, packed: a set that does not fit need not be decoded to find out."""
    return int(np.prod(image_sizes(paths) / ratios[:, None], axis=1, dtype=np.float64).sum())


def _decoded(samples: Pictures, wanted: set[int], ratios: np.ndarray):
    """`(row, image, ratio)` of the wanted rows whose images decode."""
    images = open_images(samples)
    wanted_rows = np.zeros(len(samples), bool)
    wanted_rows[list(wanted)] = True
    is_wanted, ratio_of, occurring = tf.constant(wanted_rows), tf.constant(ratios), np.unique(ratios).tolist()

    def load(row, handle):
        found = decode_window(
            images.contents(handle), EVERYTHING, ratio_of[row], occurring, samples.exif_orientation
        )
        return row, found.image, found.ratio

    rows = images.in_order().filter(lambda row, handle: is_wanted[row])
    decoded = rows.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return decoded.ignore_errors().prefetch(8).as_numpy_iterator()


def _store(samples: Pictures, images: dict[int, tuple], owners: np.ndarray) -> ImageCache:
    """`owners`: `[N]`, the row under which the image of each sample was decoded."""
    lengths = [len(pixels) for pixels, *_ in images.values()]
    begins = dict(zip(images, np.cumsum([1, *lengths[:-1]]), strict=True))
    known = np.array([owner in images for owner in owners], bool)
    for path in sorted(set(samples.image_paths[~known])):
        messages.print(f"[yellow]left out[/yellow] {path}: it does not decode any more", soft_wrap=True)
    starts = [begins.get(owner, 0) for owner in owners]
    sizes = np.array([images[owner][1] if owner in images else (1, 1) for owner in owners], np.int32)
    ratios = np.array([images[owner][2] if owner in images else 1 for owner in owners], np.int32)
    pixels = np.concatenate([np.zeros(1, np.int32), *(pixels for pixels, *_ in images.values())])
    columns = map(tf.constant, (pixels, np.array(starts, np.int32), sizes[:, 1], sizes))
    return ImageCache(PackedImages(*columns), tf.constant(ratios), tf.constant(known))
