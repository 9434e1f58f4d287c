"""TFRecord shards: a data set in a few large files that stream from network storage.

One `tf.train.Example` holds one image, its bytes as stored (a PNG of what only Pillow decodes), and the
columns of all its persons, so that an image with ten persons is stored once. Reading gives one dict per
person again. `records.json` beside the shards says what they hold; it is written last, so a folder with it is
complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.data.annotation_files import load_json, write_json
from p2net_tf.data.image_files import portable_bytes
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.skeletons.card import SkeletonError
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import track
from p2net_tf.utils.files import make_folder, replacing
from p2net_tf.utils.paths import as_path

HEADER = "records.json"
_VERSION = 1
_FLOATS = ("boxes", "keypoints", "areas", "scores")
_INTEGERS = ("ids", "image_ids")


@dataclass(frozen=True)
class RecordsHeader:
    """What `records.json` says.

    Attributes:
        skeleton: card of the keypoints.
        count: persons in all shards.
        images: images in all shards.
        exif_orientation: as in `Samples`.
        shards: file names, in reading order.
        source: what was written, for messages.
        image_names, category_id: as in `Samples`.
    """

    skeleton: Skeleton
    count: int
    images: int
    exif_orientation: bool
    shards: tuple[str, ...]
    source: str
    image_names: Mapping[int, int | str] = field(default_factory=dict)
    category_id: int | str = 1


def write_records(
    samples: Samples,
    folder: str | Path,
    shards: int | None = None,
    overwrite: bool = False,
) -> list[Problem]:
    """Writes `samples` with their images as TFRecord shards and a header.

    Persons are grouped by image, images in the order of their first person; so shuffle after reading.

    Args:
        samples: broken images among them are left out, not an error.
        folder: made if needed. Files appear complete or not at all.
        shards: number of files; None makes one per 1000 images.
        overwrite: replace records that are already there.

    Returns:
        The images left out (kinds `image_missing`, `image_broken`).

    Raises:
        DataError: `folder` holds records already, or no image is readable.
    """
    folder = as_path(folder, "folder")
    reasons = unreadable_images(samples.image_paths, samples.exif_orientation)
    groups = _rows_by_image(samples, set(reasons))
    if not groups:
        raise DataError(f"{samples.source}: no readable image, so no records were written")
    _prepare(folder, overwrite)
    shards = min(shards or -(-len(groups) // 1000), len(groups))
    names = [f"part-{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
    parts = np.array_split(np.arange(len(groups)), shards)
    count = 0
    for name, part in track(list(zip(names, parts, strict=True)), "writing records"):
        count += _write_shard(folder / name, samples, [groups[i] for i in part], count)
    header = RecordsHeader(
        samples.skeleton,
        count,
        len(groups),
        samples.exif_orientation,
        tuple(names),
        samples.source,
        samples.image_names,
        samples.category_id,
    )
    write_json(folder / HEADER, _header_to_json(header), indent=1)
    return [_left_out(samples, path, reason) for path, reason in reasons.items()]


def read_records(
    folder: str | Path, parallel_reads: int | None = None
) -> tuple[tf.data.Dataset, RecordsHeader]:
    """Streams what `write_records` wrote, one person at a time.

    Args:
        folder: holds `records.json` and the shards.
        parallel_reads: shards read side by side, which mixes their order in a repeatable way; None keeps
            the order of writing.

    Returns:
        `(dataset, header)`. An element is a dict with the names of `Samples`' columns (`image_paths` string,
        `boxes [4]`, `keypoints [K, 3]`, `areas`, `scores` float32, `ids`, `image_ids` int64, all of one
        person), `image`, the bytes of the file, and `record_rows`, its place in the order of writing.

    Raises:
        DataError: there is no header, it is of another form, or a shard is missing.
    """
    folder = as_path(folder, "folder")
    header = read_header(folder)
    paths = [str(folder / name) for name in header.shards]
    dataset = stream_shards(paths, header.skeleton.num_keypoints, parallel_reads)
    return dataset.apply(tf.data.experimental.assert_cardinality(header.count)), header


def shard_paths(folder: str | Path) -> list[str]:
    """The shards in the order of writing.

    Raises:
        DataError: as `read_records`.
    """
    return [str(Path(folder) / name) for name in read_header(folder).shards]


def stream_shards(paths, num_keypoints: int, parallel_reads: int | None = None) -> tf.data.Dataset:
    """The elements of `read_records` out of some shards, whose paths may be tensors of a graph."""
    dataset = tf.data.TFRecordDataset(paths, num_parallel_reads=parallel_reads)
    dataset = dataset.map(lambda record: _parse(record, num_keypoints), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.flat_map(tf.data.Dataset.from_tensor_slices)


def read_record_samples(folder: str | Path) -> Samples:
    """The persons of `write_records` as `Samples`, in the order of the shards; reads all shards once.

    Raises:
        DataError: as `read_records`, or a shard is damaged.
    """
    dataset, header = read_records(folder)
    names = ("image_paths", "record_rows", *_FLOATS, *_INTEGERS)
    dataset = dataset.map(lambda person: {name: person[name] for name in names})
    try:
        rows = list(dataset.as_numpy_iterator())
    except tf.errors.OpError as error:
        raise DataError(
            f"{folder}: a shard is damaged ({error.message}); copy it again, or write the records again"
        ) from None
    columns = {name: np.asarray([row[name] for row in rows]) for name in names}
    columns["image_paths"] = np.asarray([os.fsdecode(path) for path in columns["image_paths"].tolist()], str)
    return Samples(
        skeleton=header.skeleton,
        exif_orientation=header.exif_orientation,
        source=str(folder),
        records=str(folder),
        image_names=header.image_names,
        category_id=header.category_id,
        **columns,
    )


def read_header(folder: str | Path) -> RecordsHeader:
    """Reads and checks `records.json`.

    Raises:
        DataError: as `read_records`.
    """
    path = as_path(folder, "folder") / HEADER
    if not path.is_file():
        raise DataError(f"{path}: not found; write_records leaves it when it is done, so write them again")
    data = load_json(path)
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise DataError(f"{path}: not a records header of version {_VERSION}; write the records again")
    try:
        header = _header_from_json(data, str(path))
    except (KeyError, TypeError, ValueError, SkeletonError) as error:
        raise DataError(f"{path}: damaged header ({error}); write the records again") from None
    for name in header.shards:
        if not (path.parent / name).is_file():
            raise DataError(f"{path.parent / name}: shard not found; copy it too, or write the records again")
    return header


def _rows_by_image(samples: Samples, broken: set[str]) -> list[np.ndarray]:
    """Rows of each readable image's persons, images in the order of their first person."""
    groups: dict[str, list[int]] = {}
    for row, path in enumerate(samples.image_paths.tolist()):
        if path not in broken:
            groups.setdefault(path, []).append(row)
    return [np.asarray(rows) for rows in groups.values()]


def _prepare(folder: Path, overwrite: bool) -> None:
    make_folder(folder)
    if (folder / HEADER).exists() and not overwrite:
        raise DataError(f"{folder}: holds records already; give another folder or overwrite=True")
    # The header goes first: without it the rest is not taken for records.
    (folder / HEADER).unlink(missing_ok=True)
    for stale in [*folder.glob("part-*-of-*.tfrecord"), *folder.glob(".part-*-of-*.tfrecord")]:
        stale.unlink()


def _write_shard(path: Path, samples: Samples, groups: Iterable[np.ndarray], first: int) -> int:
    """Writes the persons of some images, the first of them number `first`; returns how many."""
    count = 0
    with replacing(path) as scratch, tf.io.TFRecordWriter(str(scratch)) as writer:
        for rows in groups:
            writer.write(_example(samples, rows, first + count).SerializeToString())
            count += len(rows)
    return count


def _example(samples: Samples, rows: np.ndarray, first: int) -> tf.train.Example:
    path = str(samples.image_paths[rows[0]])
    feature = {
        "image": _bytes(portable_bytes(path, samples.exif_orientation)),
        "path": _bytes(os.fsencode(path)),
    }
    feature["first"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[first]))
    for name in _FLOATS:
        values = tf.train.FloatList(value=getattr(samples, name)[rows].reshape(-1).tolist())
        feature[name] = tf.train.Feature(float_list=values)
    for name in _INTEGERS:
        values = tf.train.Int64List(value=getattr(samples, name)[rows].tolist())
        feature[name] = tf.train.Feature(int64_list=values)
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _parse(record, num_keypoints: int) -> dict:
    """Columns of the persons of one image, `[n, ...]` each; path and bytes are repeated."""
    tails = {"boxes": (4,), "keypoints": (num_keypoints, 3)}
    spec = {name: tf.io.FixedLenSequenceFeature((), tf.float32, allow_missing=True) for name in _FLOATS}
    spec |= {name: tf.io.FixedLenSequenceFeature((), tf.int64, allow_missing=True) for name in _INTEGERS}
    spec |= {name: tf.io.FixedLenFeature((), tf.string) for name in ("image", "path")}
    spec["first"] = tf.io.FixedLenFeature((), tf.int64)
    parsed = tf.io.parse_single_example(record, spec)
    columns = {name: tf.reshape(parsed[name], (-1, *tails.get(name, ()))) for name in (*_FLOATS, *_INTEGERS)}
    count = tf.shape(columns["ids"])[:1]
    columns["record_rows"] = parsed["first"] + tf.range(tf.cast(count[0], tf.int64))
    columns["image_paths"] = tf.fill(count, parsed["path"])
    columns["image"] = tf.fill(count, parsed["image"])
    return columns


def _left_out(samples: Samples, path: str, reason: str) -> Problem:
    row = int(np.flatnonzero(samples.image_paths == path)[0])
    kind = "image_missing" if reason == "missing" else "image_broken"
    remedy = "its persons are not in the records; download it again and rewrite them"
    return Problem("error", kind, path, reason, remedy, image_id=int(samples.image_ids[row]))


def _header_to_json(header: RecordsHeader) -> dict:
    data = {"version": _VERSION, **asdict(header), "skeleton": header.skeleton.to_card()}
    # A list of pairs, as JSON has no numbers for keys.
    return {**data, "shards": list(header.shards), "image_names": list(header.image_names.items())}


def _header_from_json(data: dict, source: str) -> RecordsHeader:
    return RecordsHeader(
        skeleton=Skeleton.from_card(data["skeleton"], source),
        count=int(data["count"]),
        images=int(data["images"]),
        exif_orientation=bool(data["exif_orientation"]),
        shards=tuple(Path(name).name for name in data["shards"]),
        source=str(data["source"]),
        image_names={int(number): name for number, name in data.get("image_names", ())},
        category_id=data.get("category_id", 1),
    )
