import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.data.coco import read_coco
from p2net_tf.data.records import read_record_samples, read_records, write_records
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.skeletons.skeleton import Skeleton, builtin_skeletons

COLUMNS = ("image_paths", "boxes", "keypoints", "areas", "ids", "image_ids", "scores")


def people(folder, images=(0, 1, 0, 2, 3)) -> Samples:
    """One person per entry of `images`, which numbers the image it is in."""
    random = np.random.default_rng(0)
    count = len(images)
    for number in set(images):
        Image.new("RGB", (20, 30), (number, 2, 3)).save(folder / f"{number}.png")
    return Samples(
        skeleton=Skeleton.load("lsp14"),
        image_paths=np.asarray([str(folder / f"{number}.png") for number in images]),
        boxes=random.uniform(1, 20, (count, 4)),
        keypoints=random.uniform(0, 20, (count, 14, 3)),
        areas=random.uniform(1, 20, count),
        ids=2**40 + np.arange(count),
        image_ids=np.asarray(images),
        scores=random.uniform(0, 1, count),
        exif_orientation=True,
        source="made here",
    )


def assert_same(first: Samples, second: Samples):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("shards", [2, 99, None, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_round_trip_keeps_every_value(tmp_path, shards):
    samples = people(tmp_path)
    assert write_records(samples, tmp_path / "records", shards=shards) == []
    dataset, header = read_records(tmp_path / "records")
    assert (header.count, header.images, header.exif_orientation) == (5, 4, True)
    assert header.skeleton == samples.skeleton
    assert len(header.shards) == {99: 4, None: 1}.get(shards, shards)
    # Persons of one image stand together.
    assert_same(read_record_samples(tmp_path / "records"), samples.take([0, 2, 1, 3, 4]))
    elements = list(dataset.as_numpy_iterator())
    assert set(elements[0]) == {*COLUMNS, "image", "record_rows"}
    for element in elements:
        with open(element["image_paths"].decode(), "rb") as file:
            assert element["image"] == file.read()
    assert [element["record_rows"] for element in elements] == [0, 1, 2, 3, 4]
    assert dataset.cardinality() == 5


def test_element_shapes_are_static(tmp_path):
    write_records(people(tmp_path), tmp_path / "records")
    spec = read_records(tmp_path / "records")[0].element_spec
    assert spec["keypoints"] == tf.TensorSpec([14, 3], tf.float32)
    assert spec["boxes"] == tf.TensorSpec([4], tf.float32)
    assert spec["ids"] == tf.TensorSpec([], tf.int64)
    assert spec["image"] == tf.TensorSpec([], tf.string)


@pytest.mark.slow
def test_parallel_reading_gives_the_same_persons(tmp_path):
    samples = people(tmp_path)
    write_records(samples, tmp_path / "records", shards=3)
    dataset, _ = read_records(tmp_path / "records", parallel_reads=2)
    assert sorted(element["ids"] for element in dataset.as_numpy_iterator()) == samples.ids.tolist()


def test_broken_images_are_left_out_and_reported(tmp_path):
    samples = people(tmp_path)
    (tmp_path / "0.png").unlink()
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    problems = write_records(samples, tmp_path / "records")
    assert [(p.kind, p.severity, p.image_id) for p in problems] == [
        ("image_missing", "error", 0), ("image_broken", "error", 2)
    ]  # fmt: skip
    assert_same(read_record_samples(tmp_path / "records"), samples.take([1, 4]))


def test_real_images_are_stored_once_each(data_root, tmp_path):
    samples = read_coco(data_root / "coco_tiny", "train2017")
    write_records(samples, tmp_path / "records", shards=4)
    stored = read_record_samples(tmp_path / "records")
    assert len(stored) == 143
    order = np.argsort(stored.ids), np.argsort(samples.ids)
    assert_same(stored.take(order[0]), samples.take(order[1]))
    images = sum(map(_size, set(samples.image_paths.tolist())))
    records = sum(_size(path) for path in (tmp_path / "records").glob("*.tfrecord"))
    assert images < records < images * 1.02


def _size(path) -> int:
    with open(path, "rb") as file:
        return len(file.read())


@pytest.mark.slow
def test_existing_records_are_kept_unless_told_otherwise(tmp_path):
    samples = people(tmp_path)
    write_records(samples, tmp_path / "records", shards=4)
    with pytest.raises(DataError, match="holds records already"):
        write_records(samples.take([0]), tmp_path / "records")
    write_records(samples.take([0]), tmp_path / "records", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [
        "part-00000-of-00001.tfrecord",
        "records.json",
    ]
    assert_same(read_record_samples(tmp_path / "records"), samples.take([0]))


def test_no_readable_image(tmp_path):
    samples = people(tmp_path, images=(0,))
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no readable image"):
        write_records(samples, tmp_path / "records")
    assert not (tmp_path / "records").exists()


class TestUnusableRecords:
    def test_unfinished_writing(self, tmp_path):
        write_records(people(tmp_path), tmp_path / "records")
        (tmp_path / "records/records.json").unlink()
        with pytest.raises(DataError, match=r"records\.json: not found"):
            read_records(tmp_path / "records")

    def test_missing_shard(self, tmp_path):
        write_records(people(tmp_path), tmp_path / "records", shards=2)
        (tmp_path / "records/part-00001-of-00002.tfrecord").unlink()
        with pytest.raises(DataError, match="part-00001-of-00002.tfrecord: shard not found"):
            read_records(tmp_path / "records")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"version": 2}, "version 1"),
            ({"count": None}, "damaged header"),
            ({"skeleton": {}}, "damaged header"),
        ],
    )
    def test_other_header(self, tmp_path, changes, message):
        write_records(people(tmp_path), tmp_path / "records")
        path = tmp_path / "records/records.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        with pytest.raises(DataError, match=message):
            read_records(tmp_path / "records")

    def test_truncated_shard_is_an_error_and_not_a_short_epoch(self, tmp_path):
        write_records(people(tmp_path), tmp_path / "records")
        path = next((tmp_path / "records").glob("*.tfrecord"))
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(tf.errors.DataLossError):
            list(read_records(tmp_path / "records")[0])
        with pytest.raises(DataError, match=r"a shard is damaged .*write the records again"):
            read_record_samples(tmp_path / "records")


@pytest.mark.parametrize("name", builtin_skeletons())
def test_cards_survive_the_header(name):
    card = Skeleton.load(name)
    assert Skeleton.from_card(json.loads(json.dumps(card.to_card()))) == card
    assert dataclasses.replace(card, name="other") != card
