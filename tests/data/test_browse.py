"""The contact sheet of a data set: what lies where on it."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.browse import browse
from p2net_tf.data.crops import warp
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton

CARD = Skeleton.parse(
    """
name: two
keypoints: [left, right]
sigmas: [0.1, 0.1]
flip_pairs: [[left, right]]
upper_body: [left]
limbs:
  - {from: left, to: right, color: "#ff0000"}
"""
)
SIZE = (64, 64)
FACTOR, GAP = 4, 8


@pytest.fixture
def samples(tmp_path):
    """Three black 80 x 100 images with a blue pixel block at the first keypoint; the last file is text."""
    paths, boxes = [], []
    for index in range(3):
        image = np.zeros((80, 100, 3), np.uint8)
        image[30:34, 40:44] = (0, 0, 255)
        paths.append(str(tmp_path / f"{index}.png"))
        drawing.write_image(paths[-1], image)
        boxes.append([20, 10, 64, 64])
    (tmp_path / "2.png").write_text("not an image")
    keypoints = np.array([[[42, 32, 2], [70, 60, 2]]] * 3, np.float32)
    zeros = np.zeros(3)
    return Samples(CARD, paths, boxes, keypoints, zeros, np.arange(3), np.arange(3), zeros)


def read(path):
    return cv2.imread(str(path))[..., ::-1].astype(int)


def cell(sheet, column=0):
    left = GAP + column * (2 * SIZE[1] * FACTOR + GAP)
    return sheet[GAP : GAP + SIZE[0] * FACTOR, left : left + 2 * SIZE[1] * FACTOR]


def test_skeleton_and_heatmaps_lie_on_what_they_mark(samples, tmp_path):
    rows = browse(samples, tmp_path / "sheet.png", rows=[0], crop_size=SIZE, sigma=1.0, box_padding=1.0)
    assert rows == [0]
    pair = cell(read(tmp_path / "sheet.png"))
    crop, heatmap = pair[:, : SIZE[1] * FACTOR], pair[:, SIZE[1] * FACTOR :]
    # The box starts at (20, 10), so the keypoints lie at (22, 22) and (50, 50) of the crop.
    row, column = (22 * FACTOR,) * 2
    np.testing.assert_allclose(crop[row, column], [255, 0, 0], atol=10)
    np.testing.assert_allclose(crop[36 * FACTOR, 36 * FACTOR], [255, 0, 0], atol=10)
    blueness = crop[..., 2] - crop[..., 0]
    around = np.argwhere(blueness > 100) + 0.5
    np.testing.assert_allclose((around.min(axis=0) + around.max(axis=0)) / 2, [row, column], atol=1)
    warmth = heatmap.sum(axis=-1)
    for place in (22, 50):
        window = warmth[
            (place - 8) * FACTOR : (place + 8) * FACTOR, (place - 8) * FACTOR : (place + 8) * FACTOR
        ]
        peaks = np.argwhere(window > 0.95 * window.max()) + 0.5
        np.testing.assert_allclose(peaks.mean(axis=0), [8 * FACTOR] * 2, atol=1.5)
    assert warmth[22 * FACTOR, 50 * FACTOR] == 0


def test_unreadable_images_get_a_grey_tile(samples, tmp_path):
    browse(samples, tmp_path / "sheet.png", rows=[0, 2], crop_size=SIZE)
    tile = cell(read(tmp_path / "sheet.png"), column=1)
    assert tuple(tile[-1, -1]) == drawing.GREY
    assert tile[:30].min() < 60


def test_random_rows_follow_the_seed_and_do_not_repeat(samples, tmp_path):
    many = samples.take([0] * 40)
    shown = [browse(many, tmp_path / "a.jpg", count=6, crop_size=SIZE, seed=seed) for seed in (1, 1, 2)]
    assert shown[0] == shown[1] != shown[2]
    assert len(set(shown[0])) == 6
    assert browse(samples.take([0, 1]), tmp_path / "a.jpg", count=6, crop_size=SIZE) == [0, 1]


def test_augmented_crops_differ_from_plain_ones(samples, tmp_path):
    for name, augment in (("plain", None), ("turned", AugmentConfig(rotation_probability=1.0))):
        browse(samples, tmp_path / f"{name}.png", rows=[0], crop_size=SIZE, augment=augment)
    assert np.any(read(tmp_path / "plain.png") != read(tmp_path / "turned.png"))


def test_an_empty_data_set_is_named(samples, tmp_path):
    with pytest.raises(ValueError, match="no samples to show"):
        browse(samples.take([]), tmp_path / "a.png")


def test_the_crop_agrees_with_opencv():
    """OpenCV warps pixel indices: with p = index + 0.5 on both sides, t_cv = t + A (0.5, 0.5) - 0.5."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), (5, 5), 0)
    center, size = tf.constant([62.3, 41.8]), tf.constant([50.0, 66.7])
    matrix = geometry.crop_matrix(center, size, (64, 48), rotation=25.0, flip=1.0)
    for_opencv = matrix.numpy().astype(np.float64)
    for_opencv[:, 2] += for_opencv[:, :2].sum(axis=1) * 0.5 - 0.5
    expected = cv2.warpAffine(image, for_opencv, (48, 64), flags=cv2.INTER_LINEAR).astype(float)
    actual = warp(tf.constant(image), matrix, (64, 48)).numpy() * 255
    assert np.abs(actual - expected)[2:-2, 2:-2].max() < 3


def test_records_are_shown_like_the_files_they_hold(samples, tmp_path):
    two = samples.take([0, 1])
    write_records(two, tmp_path / "records")
    records = read_record_samples(tmp_path / "records")
    for name, source in (("files", two), ("records", records)):
        browse(source, tmp_path / f"{name}.png", rows=[1, 0], crop_size=SIZE)
    np.testing.assert_array_equal(read(tmp_path / "files.png"), read(tmp_path / "records.png"))
