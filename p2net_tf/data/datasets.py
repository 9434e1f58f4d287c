"""From the configuration's data sources to `Samples`, with everything broken set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2net_tf.data.check import OF_THE_SET, check_samples, demand_form, nothing_usable, refuse_broken, usable
from p2net_tf.data.coco import read_coco, read_coco_pictures, read_coco_truth
from p2net_tf.data.lsp import read_lsp, read_lspet
from p2net_tf.data.map_keypoints import map_keypoints
from p2net_tf.data.mpii import read_mpii
from p2net_tf.data.samples import DataError, Problem, Samples, concatenate
from p2net_tf.data.scenes import Scenes
from p2net_tf.data.settings import DatasetConfig, DataSource
from p2net_tf.data.synthetic.render import write_synthetic
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.quiet import import_tensorflow


def read_dataset(config: DatasetConfig, skeleton: str | Skeleton) -> Samples:
    """Reads one source, as it is; broken items are found by `checked`.

    Args:
        skeleton: the card, or its name or path.

    Raises:
        DataError: the source cannot be read at all, has other keypoints, or `rows` selects nothing.
    """
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    samples = _READERS[config.format](config, Skeleton.load(config.skeleton) if config.skeleton else card)
    if config.map_to is not None:
        samples = map_keypoints(samples, card)
    if samples.skeleton.keypoints != card.keypoints:
        raise DataError(
            f"{config.root}: the keypoints are those of the card '{samples.skeleton.name}', not of "
            f"'{card.name}'; set data.skeleton={samples.skeleton.name}, or map_to: {card.name} of this source"
        )
    if config.detections is not None:
        samples = samples.with_problems([*samples.problems, *_useless_labels(config, card)])
    if config.rows is None:
        return samples
    if config.detections is not None:
        wanted = pictures_of_rows(config, card)
        return samples.take([row for row, given in enumerate(samples.given_image_ids) if given in wanted])
    return samples.take(selected_rows(config, len(samples), "samples"))


def _useless_labels(config: DatasetConfig, card: Skeleton) -> list[Problem]:
    """What makes the labels useless that poses in detected boxes are compared with.

    Raises:
        DataError: there are labels, and none can be used.
    """
    labels = read_dataset(config.model_copy(update={"detections": None, "rows": None}), card)
    found = check_samples(labels, decode=False)
    errors = [problem for problem in found if problem.severity == "error"]
    # A set without labels is none with useless ones: it may be predicted on.
    if any(problem.kind != "no_keypoints" for problem in errors) and not len(usable(labels, found)):
        raise nothing_usable(labels.source, found)
    return [problem for problem in errors if problem.kind in OF_THE_SET]


def selected_rows(config: DataSource, count: int, things: str) -> slice:
    """Those of `count` that `rows` keeps, all where it says nothing.

    Args:
        things: what is counted, in words.

    Raises:
        DataError: `rows` selects nothing.
    """
    if config.rows is None:
        return slice(None)
    start, stop = config.rows
    if start >= count:
        raise DataError(f"{config.root}: rows {start}..{stop} of {count} {things} select nothing")
    return slice(start, stop)


def coco_truth(config: DatasetConfig, skeleton: Skeleton) -> tuple[dict, Path | None] | None:
    """COCO ground truth of a source in COCO's form: `(as it is read, the file where it says the same)`.

    None for other formats.

    Raises:
        DataError: it cannot be read.
    """
    if config.format not in ("coco", "synthetic"):
        return None
    return read_coco_truth(
        config.root, config.split, skeleton, config.annotations, bool(config.exif_orientation), config.reading
    )


def pictures_of_rows(config: DatasetConfig, skeleton: Skeleton) -> frozenset[int | str] | None:
    """The set's own ids of the pictures that `rows` selects beside detections; None where all count.

    A row of detected boxes is no person, and a person may have several boxes or none, so rows are pictures
    there: those at [start, stop) of the annotation file's `images`.

    Raises:
        DataError: they select nothing.
    """
    if config.rows is None or config.detections is None:
        return None
    return frozenset(pictures_of(config, skeleton)[0])


def pictures_of(config: DatasetConfig, skeleton: Skeleton) -> tuple[dict[int | str, str | None], int | str]:
    """`(id -> path, category of people)` of the pictures of a source in COCO's form, or of those of `rows`.

    Ids and category are the set's own.

    Raises:
        DataError: it cannot be read, or `rows` select nothing.
    """
    found, category = read_coco_pictures(
        config.root, config.split, skeleton, config.annotations, config.reading
    )
    rows = selected_rows(config, len(found), "pictures")
    return dict(list(found.items())[rows]), category


def open_datasets(
    sources: Sequence[DatasetConfig], skeleton: str | Skeleton, strict: bool = False
) -> tuple[Samples, list[Problem]]:
    """Reads, checks and joins `sources`; what is broken is set aside and listed.

    Raises:
        DataError: nothing usable is left, anything is broken and `strict`, records beside other sources,
            labels of pictures that EXIF turns the other way, or sources that disagree on `exif_orientation`.
    """
    _refuse_mixed_records(sources)
    parts, problems = [], []
    for source in sources:
        samples = read_dataset(source, skeleton)
        found = check_samples(samples)
        refuse_broken(found, strict)
        demand_form(found)
        problems += found
        kept = usable(samples, found)
        refuse_mixed_orientation(parts, kept)
        parts.append(kept.take(np.tile(np.arange(len(kept)), source.repeat)))
    joined = concatenate(parts)
    if not len(joined):
        raise nothing_usable(joined.source, problems)
    return joined, problems


def _refuse_mixed_records(sources: Sequence[DatasetConfig]) -> None:
    """Records are streamed, so they can be neither interleaved with files nor dealt out several times."""
    for source in sources:
        if source.format == "records" and len(sources) > 1:
            raise DataError(
                f"{source.root}: records must be the only source of their list; write all sources into one "
                "records folder, or list their files"
            )
        if source.format == "records" and source.repeat > 1:
            raise DataError(
                f"{source.root}: records cannot be repeated; remove repeat={source.repeat} and set "
                f"training.epochs {source.repeat} times as high"
            )


def refuse_mixed_orientation(parts: Sequence[Samples | Scenes], part: Samples | Scenes) -> None:
    """One pipeline turns all pictures or none.

    Raises:
        DataError: `part` disagrees with one of `parts` on `exif_orientation`.
    """
    other = next((p for p in parts if p.exif_orientation != part.exif_orientation), None)
    if other is not None:
        raise DataError(
            f"{part.source}: exif_orientation is {str(part.exif_orientation).lower()}, but not for "
            f"{other.source}; give all sources of a list the same (without EXIF turns it changes nothing)"
        )


def _records(config: DatasetConfig) -> Samples:
    import_tensorflow()  # which reads the shards, and nothing else here
    from p2net_tf.data.records import read_record_samples

    samples = read_record_samples(config.root)
    if config.exif_orientation not in (None, samples.exif_orientation):
        raise DataError(
            f"{config.root}: the records were written with exif_orientation="
            f"{str(samples.exif_orientation).lower()}; leave the key out, or write them anew"
        )
    return samples


def _coco(config: DatasetConfig, skeleton: Skeleton) -> Samples:
    if config.format == "synthetic":
        write_synthetic(Path(config.root), config.size, config.seed, config.split)
    return read_coco(
        config.root,
        config.split,
        skeleton,
        config.annotations,
        config.detections,
        bool(config.exif_orientation),
        config.reading,
    )


_READERS = {
    "coco": _coco,
    "mpii": lambda c, _: replace(
        read_mpii(c.root, c.split, annotations=c.annotations), exif_orientation=bool(c.exif_orientation)
    ),
    "lsp": lambda c, _: read_lsp(c.root, c.split, bool(c.exif_orientation)),
    "lspet": lambda c, _: read_lspet(c.root, bool(c.exif_orientation)),
    "synthetic": _coco,
    "records": lambda c, _: _records(c),
}
