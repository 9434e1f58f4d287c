"""Real training crops, by which int8 learns the range of every activation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.check import check_samples, usable
from p2net_tf.data.datasets import read_dataset
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.inference.card import InferenceCard
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.skeletons.skeleton import Skeleton


def crops_of(people: Iterable[Samples], card: InferenceCard) -> Iterator[np.ndarray]:
    """Crops `[H, W, 3]` uint8 of `people`, as evaluation takes them."""
    alignment = ALIGNMENTS[card.alignment]
    for part in people:
        for batch in evaluation_dataset(part, card.input_size, 32, card.box_padding, alignment):
            yield from np.rint(batch["crops"].numpy() * 255).astype(np.uint8)


def pictures_below(folder: str | Path, count: int, skeleton: Skeleton) -> Samples:
    """`count` of the pictures in a folder and those below it, each of them one box.

    Raises:
        DataError: there is none that can be read.
    """
    paths = picture_files(folder, count)
    sizes, _ = image_headers(paths, exif_orientation=True)
    boxes = np.concatenate([np.zeros((len(paths), 2)), sizes], axis=1)
    keypoints = np.zeros((len(paths), skeleton.num_keypoints, 3))
    rows, ones = np.arange(len(paths)), np.ones(len(paths))
    return Samples(
        skeleton, paths, boxes, keypoints, boxes[:, 2] * boxes[:, 3], rows, rows, ones,
        exif_orientation=True, source=str(folder),
    )  # fmt: skip


def picture_files(folder: str | Path, count: int) -> list[str]:
    """`count` of the pictures in a folder and those below it, drawn without looking into all of them.

    Raises:
        DataError: there is none that can be read.
    """
    files = sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    order = np.random.default_rng(0).permutation(len(files))
    found: list[str] = []
    for start in range(0, len(files), count):
        some = [files[row] for row in order[start : start + count]]
        broken = unreadable_images(some, exif_orientation=True)
        found += [file for file in some if file not in broken][: count - len(found)]
        if len(found) == count:
            break
    if not found:
        raise DataError(f"{folder}: holds no picture that can be read; give a folder of pictures")
    return sorted(found)


def training_people(config: ExperimentConfig, count: int) -> list[Samples]:
    """`count` usable people of the training part, drawn by `config.seed` from all sources alike.

    Raises:
        DataError: there is nobody.
    """
    sources = [read_dataset(source, config.data.skeleton) for source in config.data.train]
    owners = np.repeat(np.arange(len(sources)), [len(samples) for samples in sources])
    if not len(owners):
        raise DataError("data.train: nobody to calibrate int8 with")
    chosen = np.random.default_rng(config.seed).permutation(len(owners))[:count]
    starts = np.searchsorted(owners, np.arange(len(sources)))
    parts = []
    for number, (samples, start) in enumerate(zip(sources, starts, strict=True)):
        # Only those that are looked at are checked: a training part may hold 100,000 images.
        mine = samples.take(np.sort(chosen[owners[chosen] == number]) - start)
        parts.append(usable(mine, check_samples(mine)))
    return [part for part in parts if len(part)]
