"""From the configuration's sources of boxes to `Scenes`, with everything broken set aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from p2net_tf.data.boxes.check import check_scenes, demand_usable_scenes
from p2net_tf.data.boxes.coco import read_coco_scenes
from p2net_tf.data.boxes.lsp import scenes_of_people
from p2net_tf.data.boxes.settings import PERSON, BoxDatasetConfig
from p2net_tf.data.boxes.voc import read_voc_scenes
from p2net_tf.data.boxes.yolo import read_yolo_scenes
from p2net_tf.data.check import first_error
from p2net_tf.data.datasets import refuse_mixed_orientation
from p2net_tf.data.lsp import read_lsp, read_lspet
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
    scenes = concatenate(_with_same_classes(parts))
    return scenes, problems + _missing_classes(parts, scenes.class_names)


def _with_same_classes(parts: Sequence[Scenes]) -> list[Scenes]:
    """With all classes that any of them has, those of the first in front."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
    ids: dict[str, int | str] = {}
    for part in parts:
        for name, number in zip(part.class_names, part.category_ids, strict=True):
            taken = number in ids.values()
            ids.setdefault(name, name if taken else number)
    return [
        replace(
            part,
            class_names=names,
            category_ids=tuple(ids[name] for name in names),
            classes=np.asarray([names.index(name) for name in part.class_names], np.int64)[part.classes],
        )
        for part in parts
    ]


def _missing_classes(parts: Sequence[Scenes], names: Sequence[str]) -> list[Problem]:
    """Warnings where sources were read whole and have not the same classes."""
    problems = []
    for part in parts:
        missing = [name for name in names if name not in part.class_names]
        if missing:
            detail = f"has no class {', '.join(missing)}, which other sources have"
            remedy = "where such things are in its pictures, they are background"
            problems.append(Problem("warning", "class_missing", part.source, detail, remedy))
    return problems


def _coco(config: BoxDatasetConfig, classes: Sequence[str]) -> Scenes:
    exif = bool(config.exif_orientation)
    return read_coco_scenes(config.root, config.split, config.annotations, classes, exif, config.reading)


def _voc(config: BoxDatasetConfig, classes: Sequence[str]) -> Scenes:
    exif = bool(config.exif_orientation)
    return read_voc_scenes(config.root, config.split, classes, exif, config.reading, config.first_pixel)


def _yolo(config: BoxDatasetConfig, classes: Sequence[str]) -> Scenes:
    exif = bool(config.exif_orientation)
    return read_yolo_scenes(config.root, config.split, config.annotations, classes, exif, config.reading)


def _lsp(config: BoxDatasetConfig, classes: Sequence[str]) -> Scenes:
    exif = bool(config.exif_orientation)
    if config.format == "lsp":
        samples = read_lsp(config.root, config.split, exif)
    else:
        samples = read_lspet(config.root, exif)
    return scenes_of_people(samples, classes, config.unlabeled)


_READERS: dict[str, Callable[[BoxDatasetConfig, Sequence[str]], Scenes]] = {
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
    "lsp": _lsp,
    "lspet": _lsp,
}
