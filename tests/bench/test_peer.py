"""The peer recipe does the work it is measured for: the crops and heatmaps of our own pipeline."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.bench.peer import PeerLoader, affine_matrix
from p2net_tf.bench.pipeline import peer_recipe
from p2net_tf.data.coco import read_coco
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.keypoints import geometry, heatmaps

pytestmark = [pytest.mark.slow, pytest.mark.long]

CROP = (64, 48)
STILL = AugmentConfig(scale=0, rotation_probability=0, flip_probability=0, half_body_probability=0)
MEAN, DEVIATION = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 8, seed=2, options=SceneOptions(height=96, width=128, max_persons=1))
    return read_coco(root, "train")


def grey_levels(crop: np.ndarray) -> np.ndarray:
    """`[H, W, 3]` of a normalized `[3, H, W]`."""
    return np.transpose((crop * DEVIATION + MEAN) * 255, (1, 2, 0))


def test_a_plain_crop_is_that_of_the_evaluation(samples):
    """But for the decoders, which differ by some grey levels where a JPEG has edges."""
    recipe = peer_recipe(samples, CROP, STILL)
    (ours,) = evaluation_dataset(samples, CROP, len(samples))
    for row in range(len(samples)):
        crop, maps, weights = recipe.element(row, np.random.default_rng(row))
        keypoints = ours["keypoints"][row].numpy()
        difference = np.abs(grey_levels(crop) - ours["crops"][row].numpy() * 255)
        assert np.mean(difference) < 2 and np.percentile(difference, 99) < 8
        np.testing.assert_array_equal(weights[:, 0] > 0, keypoints[:, 2] > 0)
        for k in np.flatnonzero(weights[:, 0]):
            peak = np.unravel_index(maps[k].argmax(), maps[k].shape)
            np.testing.assert_array_equal(peak, np.floor(keypoints[k, 1::-1] / 4))


@pytest.mark.parametrize("rotation", [0.0, 33.0, -80.0])
def test_the_matrix_is_that_of_the_geometry(rotation):
    center, size = np.array([31.0, 47.5]), np.array([60.0, 80.0])
    expected = geometry.crop_matrix(tf.constant(center), tf.constant(size), CROP, rotation)
    np.testing.assert_allclose(affine_matrix(center, size, rotation, CROP), expected, atol=1e-5)


def test_flip_exchanges_left_and_right(samples):
    flips = STILL.model_copy(update={"flip_probability": 1.0})
    plain, flipped = (
        peer_recipe(samples, CROP, augment).element(0, np.random.default_rng(0)) for augment in (STILL, flips)
    )
    np.testing.assert_allclose(flipped[0], plain[0][:, :, ::-1], atol=0.05)
    permutation = list(samples.skeleton.flip_permutation)
    np.testing.assert_array_equal(flipped[2], plain[2][permutation])


def test_heatmaps_at_pixel_centres_are_ours_within_their_patches(samples):
    recipe = peer_recipe(samples, CROP, STILL)
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:4] = [[22, 30, 2], [2, 2, 2], [46, 62, 1], [100, 30, 2]]
    maps, weights = recipe.heatmaps(keypoints)
    ours = heatmaps.encode(keypoints[None], (16, 12), 2.0).numpy()[0].transpose(2, 0, 1)
    patch = maps[:3] > 0
    np.testing.assert_allclose(maps[:3][patch], ours[:3][patch], atol=1e-6)
    # Beyond three sigmas there is nothing left worth drawing.
    assert ours[:3][~patch].max() < np.exp(-0.5 * 3**2)
    assert weights[:, 0].tolist() == [1, 1, 1] + [0] * 14
    assert not maps[3:].any()


def test_workers_give_whole_batches_in_order_whatever_their_number(samples):
    pytest.importorskip("torch", reason="the peer's loader is PyTorch's, the extra `torch`")
    recipe = peer_recipe(samples, CROP, AugmentConfig())
    found = []
    for workers in (1, 2):
        with PeerLoader(recipe, 4, workers, seed=3) as loader:
            found.append([[column.numpy().copy() for column in next(loader)] for _ in range(5)])
            assert loader.core_seconds > 0
    assert [column.shape for column in found[0][0]] == [(4, 3, 64, 48), (4, 17, 16, 12), (4, 17, 1)]
    for one, two in zip(*found, strict=True):
        for column, twin in zip(one, two, strict=True):
            np.testing.assert_array_equal(column, twin)


def test_a_broken_image_is_an_error_not_a_wait(samples, tmp_path):
    pytest.importorskip("torch", reason="the peer's loader is PyTorch's, the extra `torch`")
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    recipe = replace(peer_recipe(samples.take([0]), CROP, STILL), image_paths=[str(path)])
    assert cv2.imread(str(path)) is None
    with (
        PeerLoader(recipe, 1, 1) as loader,
        pytest.raises(OSError, match="broken.jpg: cannot be read"),
    ):
        next(loader)
