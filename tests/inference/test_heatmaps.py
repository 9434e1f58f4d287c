"""Heatmaps of persons: those of the network, and where they lie on the picture."""

import numpy as np
import pytest
from layer_checks import randomize_weights
from networks import tiny_network, two_convolutions

from p2net_tf.data.crops import crop_people
from p2net_tf.data.samples import DataError
from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.heatmaps import heatmap_windows
from p2net_tf.keypoints import heatmaps
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.skeletons.skeleton import Skeleton

COCO = Skeleton.load("coco17")
BOXES = np.float32([[10, 20, 30, 60], [-5, 2, 90, 40], [50, 30, 20, 20]])
PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    network = two_convolutions(17, (64, 64))
    randomize_weights(network, np.random.default_rng(3))
    return network


def estimator(network, alignment="continuous", **recipe) -> PoseEstimator:
    card = InferenceCard(skeleton=COCO, input_size=(64, 64), alignment=alignment, recipe=recipe)
    return PoseEstimator(network, card)


def outputs(network, mirror=False, alignment="continuous"):
    crops = np.asarray(crop_people(PICTURE, BOXES, (64, 64), alignment=ALIGNMENTS[alignment])[0])
    return np.asarray(network(crops[:, :, ::-1] if mirror else crops)["heatmaps"])


def test_without_flip_pass_and_filter_they_are_the_networks(network):
    maps = estimator(network, flip_test=False, filter_sigma=0.0, batch_size=2).heatmaps(PICTURE, BOXES)
    np.testing.assert_allclose(maps.values, outputs(network), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(maps["left_wrist"], maps.values[..., 9])
    assert len(maps) == 3


def test_the_flip_pass_is_averaged_and_filtered_as_the_recipe_says(network):
    maps = estimator(network, flip_test=True, filter_sigma=1.0).heatmaps(PICTURE, BOXES)
    mirrored = outputs(network, mirror=True)[:, :, ::-1][..., list(COCO.flip_permutation)]
    expected = heatmaps.gaussian_filter((outputs(network) + mirrored) / 2, 1.0)
    np.testing.assert_allclose(maps.values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alignment", list(ALIGNMENTS))
def test_the_highest_pixel_is_the_keypoint_on_the_picture(network, alignment):
    pose = estimator(network, alignment, decode="argmax")
    maps, (poses,) = pose.heatmaps(PICTURE, BOXES), pose.predict(PICTURE, BOXES)
    np.testing.assert_allclose(maps.values.max(axis=(1, 2)), poses.keypoint_scores, rtol=1e-5)
    places = maps.values.reshape(3, -1, 17).argmax(axis=1)
    shares = np.stack([places % 16, places // 16], axis=-1) / 16 + 1 / 32  # centres of pixels
    expected = maps.windows[:, None, :2] + shares * maps.windows[:, None, 2:]
    # The published code puts the keypoint of a map without a positive value elsewhere.
    some = poses.keypoint_scores > 0
    assert some.sum() > 20
    np.testing.assert_allclose(poses.keypoints[some], expected[some], atol=1e-3)


def test_windows_are_those_of_the_crops():
    card = InferenceCard(skeleton=COCO, input_size=(64, 32))
    _, matrices = crop_people(PICTURE, np.float32([[10, 20, 8, 40]]), (64, 32), box_padding=1.25)
    # 40 high needs 20 of width; a quarter more around the centre (14, 40).
    np.testing.assert_allclose(heatmap_windows(matrices, card), [[1.5, 15, 25, 50]], atol=1e-4)


def test_gates_of_p2net_alone(network):
    pose = PoseEstimator(tiny_network(17), InferenceCard(skeleton=COCO, input_size=(64, 64)))
    gates = pose.attention_gates(PICTURE, BOXES)
    assert {name: values.shape for name, values in gates.items()} == {
        f"apm_{stride}": (3, 4) for stride in (4, 8, 16, 32)
    }
    nobody = pose.attention_gates(PICTURE, np.zeros((0, 4)))
    assert {values.shape for values in nobody.values()} == {(0, 4)} and nobody.keys() == gates.keys()
    assert estimator(network).attention_gates(PICTURE, BOXES) == {}


def test_nobody_has_no_heatmaps(network):
    maps = estimator(network).heatmaps(PICTURE, np.zeros((0, 4)))
    assert (maps.values.shape, maps.windows.shape) == ((0, 16, 16, 17), (0, 4))


def test_what_is_wrong_is_named(network):
    pose = estimator(network)
    with pytest.raises(DataError, match=r"box 1 is \[0.0, 0.0, 0.0, 5.0\]; width and height must be above 0"):
        pose.heatmaps(PICTURE, [[0, 0, 4, 4], [0, 0, 0, 5]])
    with pytest.raises(KeyError, match="no keypoint 'left_wing'"):
        pose.heatmaps(PICTURE, BOXES)["left_wing"]


def test_maps_and_gates_without_boxes_are_refused(network):
    with pytest.raises(DataError, match=r"boxes: None; give \[n, 4\]"):
        estimator(network).heatmaps(PICTURE, None)
