"""JPEGs at a fraction of their size: when, how far off the crops are, and with or without the cache."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.decode_ratios import decode_ratios
from p2net_tf.data.image_cache import open_image_cache
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.samples import Samples
from p2net_tf.skeletons.skeleton import Skeleton

CARD = Skeleton.load("lsp14")
CROP = (64, 48)
STILL = AugmentConfig(scale=0, rotation_probability=0, flip_probability=0, half_body_probability=0)


def people(paths, heights) -> Samples:
    """Persons three quarters as wide as high, their keypoints in the upper half and the lower."""
    count, random = len(paths), np.random.default_rng(0)
    heights = np.asarray(heights, float)
    boxes = np.stack([np.full(count, 30.0), np.full(count, 20.0), 0.75 * heights, heights], axis=1)
    keypoints = np.full((count, CARD.num_keypoints, 3), 2.0)
    places = random.uniform(0.1, 0.9, (count, CARD.num_keypoints, 2))
    keypoints[..., :2] = boxes[:, None, :2] + places * boxes[:, None, 2:]
    numbers, ones = np.arange(count), np.ones(count)
    return Samples(CARD, paths, boxes, keypoints, ones, numbers, numbers, ones)


class TestWhen:
    def test_every_crop_pixel_keeps_a_decoded_one(self):
        """A window of 1.25 times the box at 48 pixels of width: 51.2 pixels of height each."""
        heights = [51, 102, 103, 204, 205, 409, 410, 5000]
        ratios = decode_ratios(people([f"{h}.jpg" for h in heights], heights), CROP)
        assert ratios.tolist() == [1, 1, 2, 2, 4, 4, 8, 8]

    def test_the_smallest_draw_counts(self):
        """A factor of 0.65 on the size: 103 pixels of height are not enough for a half, but 158 are."""
        config = STILL.model_copy(update={"scale": 0.35})
        found = decode_ratios(people(["a", "b", "c"], [103, 157, 158]), CROP, config)
        assert found.tolist() == [1, 1, 2]

    def test_of_half_bodies_too(self):
        samples, config = people(["a"], [420]), STILL.model_copy(update={"half_body_probability": 0.3})
        assert decode_ratios(samples, CROP, STILL).tolist() == [8]
        assert decode_ratios(samples, CROP, config).tolist() < [8]

    def test_the_smallest_person_of_a_picture_decides_for_all_in_it(self):
        samples = people(["a", "b", "a", "b"], [410, 410, 60, 205])
        assert decode_ratios(samples, CROP).tolist() == [1, 4, 1, 4]


@pytest.fixture
def photographs(tmp_path) -> Samples:
    """Smooth pictures that one, two and four people pixels make one crop pixel of."""
    y, x = np.mgrid[:600, :500]
    paths, heights = [], [60, 130, 300, 420]
    for number in range(len(heights)):
        waves = 128 + 70 * np.sin((x + 31 * number) / 60) * np.cos(y / 50)
        pixels = np.uint8(np.rint(np.stack([waves, 255 - waves, waves / 2], axis=-1)))
        paths.append(str(tmp_path / f"{number}.jpg"))
        Image.fromarray(pixels).save(paths[-1], quality=97, subsampling=0)
    return people(paths, heights)


def batches(samples, store=None, augment=STILL, **options):
    found = training_batches(samples, CROP, 4, augment, seed=5, store=store, **options).take(3)
    return [[tensor.numpy() for tensor in batch] for batch in found]


def displacement(crop, reference):
    """`[2]` pixels down and right that explain most of the difference of two pictures `[H, W, 3]`."""
    slopes = np.stack([np.gradient(reference, axis=axis).ravel() for axis in (0, 1)], axis=1)
    return np.linalg.lstsq(slopes, (reference - crop).ravel(), rcond=None)[0]


def test_displacement_is_found():
    y, x = np.mgrid[:40, :40, :3][:2]
    found = displacement(
        *(np.sin((x - right) / 9) * np.cos((y - down) / 7) for right, down in [(0.1, 0.3), (0, 0)])
    )
    np.testing.assert_allclose(found, (0.3, 0.1), atol=0.02)


def test_crops_show_the_same_at_the_same_places(photographs):
    """To 0.02 pixels and a grey level; half a decoded pixel, easily missed, is 0.3 to 0.5 of them."""
    assert decode_ratios(photographs, CROP, STILL).tolist() == [1, 2, 4, 8]
    for whole, reduced in zip(batches(photographs), batches(photographs, reduce_jpegs=True), strict=True):
        # At the edge of a picture a mean ends where the picture does; the windows begin beyond it.
        for crop, reference in zip(reduced[0], whole[0], strict=True):
            crop, reference = (255 * levels[8:-8, 8:-8] for levels in (crop, reference))
            assert np.abs(displacement(crop, reference)).max() < 0.02
            assert np.abs(crop - reference).mean() < 1
        for one, other in zip(whole[1:], reduced[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_batch_depends_on_the_cache(photographs):
    augment = AugmentConfig(scale=0, half_body_probability=0)
    # Four whole pictures take 4.8 MB.
    store = open_image_cache(photographs, 2, decode_ratios(photographs, CROP, augment))
    assert store is not None and open_image_cache(photographs, 2) is None
    assert store.ratios.numpy().tolist() == [1, 2, 4, 8]
    pairs = zip(
        batches(photographs, store, augment, reduce_jpegs=True),
        batches(photographs, None, augment, reduce_jpegs=True),
        strict=True,
    )
    for with_store, without in pairs:
        for one, other in zip(with_store, without, strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_kinds_come_as_they_are(photographs, tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(4)]
    for path, png in zip(photographs.image_paths, paths, strict=True):
        Image.fromarray(tf.io.decode_jpeg(tf.io.read_file(path)).numpy()).save(png)
    samples = people(paths, [60, 130, 300, 420])
    for whole, reduced in zip(batches(samples), batches(samples, reduce_jpegs=True), strict=True):
        np.testing.assert_array_equal(whole[0], reduced[0])
