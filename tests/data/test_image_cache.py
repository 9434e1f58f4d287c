"""Images that stay decoded: the batches are the same, byte for byte."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import Image

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.image_cache import open_image_cache
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.samples import Samples
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import messages

CROP, BATCH = (32, 32), 4
AUGMENT = AugmentConfig(color=0.2)


@pytest.fixture
def samples(tmp_path) -> Samples:
    """Nine persons in three pictures of noise, of different sizes."""
    random, card = np.random.default_rng(0), Skeleton.load("lsp14")
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(random.integers(0, 256, (60 + 9 * number, 80, 3), np.uint8)).save(path)
    keypoints = random.uniform(2, 58, (9, card.num_keypoints, 3))
    keypoints[..., 2] = 2
    boxes = np.concatenate([random.uniform(0, 20, (9, 2)), random.uniform(20, 40, (9, 2))], axis=1)
    numbers, ones = np.arange(9), np.ones(9)
    return Samples(card, paths * 3, boxes, keypoints, ones, numbers, numbers % 3, ones)


def batches(samples, store, count=6):
    found = training_batches(samples, CROP, BATCH, AUGMENT, seed=5, store=store).take(count)
    return [[tensor.numpy() for tensor in batch] for batch in found]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for value, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(value, twin)


def test_one_copy_of_each_image(samples):
    store = open_image_cache(samples, megabytes=1)
    assert len(store.images.pixels) == 1 + sum(height * 80 for height in (60, 69, 78))
    assert store.images.starts.numpy().tolist() == [1, 1 + 60 * 80, 1 + (60 + 69) * 80] * 3
    assert store.images.sizes.numpy().tolist() == [[60, 80], [69, 80], [78, 80]] * 3


@pytest.mark.slow
def test_batches_do_not_depend_on_it(samples):
    assert_same(batches(samples, open_image_cache(samples)), batches(samples, None))


@pytest.mark.slow
def test_nor_those_of_records(samples, tmp_path):
    write_records(samples, tmp_path / "records", shards=2)
    records = read_record_samples(tmp_path / "records")
    assert_same(batches(records, open_image_cache(records)), batches(records, None))


@pytest.mark.parametrize(("megabytes", "fits"), [(0, False), (1, True)])
def test_all_images_or_none(samples, megabytes, fits):
    assert (open_image_cache(samples, megabytes) is not None) == fits


@pytest.mark.parametrize(("available", "fits"), [(4_000_000, True), (200, False)])
def test_auto_counts_memory_that_the_cache_of_files_holds(samples, tmp_path, monkeypatch, available, fits):
    """As after a pass over the data: the system has read files into all that was free."""
    sizes = {
        "MemTotal": 8_000_000,
        "MemFree": 40,
        "Buffers": 0,
        "Cached": 3_900_000,
        "MemAvailable": available,
        "Shmem": 0,
        "Active": 2_000_000,
        "Inactive": 1_900_000,
    }
    (tmp_path / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in sizes.items()))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert (open_image_cache(samples) is not None) == fits


@pytest.mark.slow
def test_persons_of_a_broken_image_are_named_and_left_out(samples, tmp_path):
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with messages.capture() as said:
        store = open_image_cache(samples)
    assert f"left out {tmp_path / '1.png'}" in said.get()
    assert store.known.numpy().tolist() == [True, False, True] * 3
    with_store = batches(samples, store)
    assert {row % 3 for batch in with_store for row in batch[2]} == {0, 2}
    assert_same(with_store, batches(samples, None))


@pytest.mark.slow
def test_a_jpeg_cut_off_behind_the_crops_is_left_out_with_and_without_the_store(samples, tmp_path):
    """Without the store no more than the windows of the crops is decoded."""
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.jpg") for number in range(3)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (400, 80, 3), np.uint8)).save(path)
    samples = replace(samples, image_paths=np.array(paths * 3))
    contents = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(contents[: len(contents) * 3 // 4])
    with_store = batches(samples, open_image_cache(samples))
    assert {row % 3 for batch in with_store for row in batch[2]} == {0, 2}
    assert_same(with_store, batches(samples, None))
