"""From the configuration's sources of boxes to `Scenes`, with everything broken set aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2net_tf.data.boxes.check import check_scenes, demand_usable_scenes
from p2net_tf.data.boxes.classes import PERSON
from p2net_tf.data.boxes.coco import read_coco_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.check import first_error
from p2net_tf.data.datasets import refuse_mixed_orientation
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.data.scenes import Scenes, concatenate


def read_scenes(config: BoxDatasetConfig, classes: Sequence[str] = (PERSON,)) -> Scenes:
    """Reads one source, as it is; broken items are found by `check_scenes`.

    Args:
        classes: names; empty for all that the source has.

    Raises:
        DataError: the source cannot be read at all, has none of the classes, or `rows` selects nothing.
    """
    scenes = _READERS[config.format](config, classes)
    if config.rows is None:
        return scenes
    start, stop = config.rows
    if start >= len(scenes):
        raise DataError(f"{config.root}: rows {start}..{stop} of {len(scenes)} pictures select nothing")
    return scenes.take(slice(start, stop))


def open_scenes(
    sources: Sequence[BoxDatasetConfig], classes: Sequence[str] = (PERSON,), strict: bool = False
) -> tuple[Scenes, list[Problem]]:
    """Reads, checks and joins `sources`; what is broken is set aside and listed.

    Args:
        classes: names; empty for all that the sources have.
        strict: anything broken is an error.

    Raises:
        DataError: nothing usable is left, anything is broken and `strict`, boxes of another form than they
            are read in, or sources that disagree on `exif_orientation`.
    """
    parts: list[Scenes] = []
    problems: list[Problem] = []
    for source in sources:
        scenes = read_scenes(source, classes)
        found = check_scenes(scenes)
        broken = first_error(found)
        if strict and broken is not None:
            raise DataError(str(broken))
        problems += found
        kept = demand_usable_scenes(scenes, found)
        refuse_mixed_orientation(parts, kept)
        parts.append(kept.take(np.tile(np.arange(len(kept)), source.repeat)))
    return concatenate(parts), problems


def _coco(config: BoxDatasetConfig, classes: Sequence[str]) -> Scenes:
    return read_coco_scenes(
        config.root, config.split, config.annotations, classes, bool(config.exif_orientation), config.reading
    )


_READERS = {"coco": _coco}
