"""Heatmaps against closed forms, scipy, and the decode rules of CPN, HRNet and DARK written out as loops."""

import math

import keras
import numpy as np
import pytest
from scipy import ndimage

from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import make_predict_step
from p2net_tf.keypoints import heatmaps
from p2net_tf.skeletons.skeleton import Skeleton


def random_maps(seed: int, shape=(3, 12, 9, 4)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 1, shape)


def decode_in_loops(maps, rule):
    """Applies `rule(map, row, column) -> (dx, dy)` to each map; positions in crop pixels at stride 4."""
    batch, _, width, number = maps.shape
    found = np.zeros((batch, number, 2))
    for b in range(batch):
        for k in range(number):
            row, column = divmod(int(np.argmax(maps[b, :, :, k])), width)
            dx, dy = rule(maps[b, :, :, k], row, column)
            found[b, k] = (column + 0.5 + dx) * 4, (row + 0.5 + dy) * 4
    return found


def cpn_rule(heatmap, row, column):
    """CPN, `mptest.py`: erase the highest response, go a quarter of a pixel towards the next highest."""
    rest = heatmap.copy()
    rest[row, column] = 0
    second_row, second_column = np.unravel_index(rest.argmax(), rest.shape)
    px, py = second_column - column, second_row - row
    length = (px**2 + py**2) ** 0.5
    return (0.25 * px / length, 0.25 * py / length) if length > 1e-3 else (0, 0)


def hrnet_rule(heatmap, row, column):
    """HRNet, `lib/core/inference.py`; at the border, axis by axis."""
    height, width = heatmap.shape
    dx = dy = 0.0
    if 0 < column < width - 1:
        dx = 0.25 * np.sign(heatmap[row, column + 1] - heatmap[row, column - 1])
    if 0 < row < height - 1:
        dy = 0.25 * np.sign(heatmap[row + 1, column] - heatmap[row - 1, column])
    return dx, dy


def hrnet_rule_to_the_letter(heatmap, row, column):
    """HRNet, `get_final_preds`: nothing at all near a border, farther from it at the first ones."""
    height, width = heatmap.shape
    inside = 1 < column < width - 1 and 1 < row < height - 1
    return hrnet_rule(heatmap, row, column) if inside else (0, 0)


def dark_rule(heatmap, row, column):
    """DARK, `taylor`: minus the inverse Hessian of the log heatmap times its gradient, where that exists."""
    height, width = heatmap.shape
    assert 0 < row < height - 1
    assert 0 < column < width - 1
    (a, b, c), (d, e, f), (g, h, i) = np.log(heatmap[row - 1 : row + 2, column - 1 : column + 2])
    gradient = np.array([(f - d) / 2, (h - b) / 2])
    mixed = (i - g - c + a) / 4
    hessian = np.array([[f - 2 * e + d, mixed], [mixed, h - 2 * e + b]])
    if np.linalg.eigvalsh(hessian).max() >= 0:
        return 0.0, 0.0
    return np.clip(-np.linalg.solve(hessian, gradient), -1.5, 1.5)


def test_encode_is_a_gaussian_around_the_unrounded_keypoint():
    keypoints = np.float32([[[10.3, 21.9, 2], [3.0, 50.0, 1], [10.3, 21.9, 0]]])
    maps = keras.ops.convert_to_numpy(heatmaps.encode(keypoints, (16, 12), sigma=1.5))
    assert maps.shape == (1, 16, 12, 3)
    for i in range(16):
        for j in range(12):
            for k in range(2):
                x, y = keypoints[0, k, :2] / 4
                expected = math.exp(-((j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2) / (2 * 1.5**2))
                assert maps[0, i, j, k] == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert not maps[..., 2].any()


def test_a_keypoint_on_a_pixel_centre_has_height_one():
    maps = heatmaps.encode(np.float32([[[22.0, 14.0, 2]]]), (8, 8), sigma=2.0)
    assert float(maps[0, 3, 5, 0]) == 1.0
    np.testing.assert_allclose(maps[0, 3, 5:8, 0], np.exp([0, -1 / 8, -4 / 8]), rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "loop"),
    [
        ("argmax", lambda *_: (0, 0)),
        ("quarter_offset", cpn_rule),
        ("sign", hrnet_rule),
        ("sign_inside", hrnet_rule_to_the_letter),
    ],
)
def test_decode_is_the_published_rule(rule, loop):
    """Random maps have their peaks anywhere, at borders and in corners too."""
    maps = random_maps(0, (20, 5, 4, 6))
    maps[0, :, :, 0], maps[0, 0, 0, 0] = maps[0, :, :, 0] * 0.5, 1
    maps[0, :, :, 1], maps[0, 4, 3, 1] = maps[0, :, :, 1] * 0.5, 1
    found, scores = heatmaps.decode(maps, rule)
    np.testing.assert_allclose(found, decode_in_loops(maps, loop), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(scores, maps.max(axis=(1, 2)))


def test_dark_is_one_newton_step_on_the_log():
    """Smooth maps with peaks inside; half of them anything but Gaussian."""
    rng = np.random.default_rng(1)
    maps = ndimage.gaussian_filter(rng.uniform(0.01, 1, (10, 14, 11, 4)), (0, 1.2, 1.2, 0))
    maps[:, [0, -1]] = maps[:, :, [0, -1]] = 1e-3
    found, _ = heatmaps.decode(maps, "dark")
    expected = decode_in_loops(maps, dark_rule)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    plain, _ = heatmaps.decode(maps, "argmax")
    assert (np.abs(expected - np.asarray(plain)) > 0.1).mean() > 0.5


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_dark_is_exact_for_a_gaussian(sigma):
    rng = np.random.default_rng(2)
    keypoints = np.concatenate([rng.uniform([0, 0], [48, 64], (1, 200, 2)), np.ones((1, 200, 1))], axis=-1)
    found, scores = heatmaps.decode(heatmaps.encode(keypoints, (16, 12), sigma), "dark")
    np.testing.assert_allclose(found, keypoints[..., :2], rtol=0, atol=1e-6)
    assert np.min(scores) > math.exp(-0.5 * 2 * 0.5**2 / sigma**2) - 1e-9


def test_dark_leaves_a_flat_or_saddle_peak_where_it_is():
    flat = np.ones((1, 5, 5, 1))
    saddle = np.full((1, 5, 5, 1), 0.1)
    saddle[0, 1:4, 1:4, 0] = [[0.99, 0.5, 0.01], [0.5, 1.0, 0.6], [0.01, 0.5, 0.99]]
    found, _ = heatmaps.decode(np.concatenate([flat, flat * 0.0]), "dark")
    np.testing.assert_array_equal(found, [[[2, 2]], [[2, 2]]])
    found, _ = heatmaps.decode(saddle, "dark")
    np.testing.assert_array_equal(found, [[[4 * 2.5, 4 * 2.5]]])


def test_quarter_offset_by_hand():
    """The second highest response lies 3 columns right and 4 rows down: 0.25 * (0.6, 0.8) pixels."""
    maps = np.zeros((1, 10, 10, 1), "float32")
    maps[0, 2, 3, 0], maps[0, 6, 6, 0] = 1.0, 0.7
    found, scores = heatmaps.decode(maps)
    np.testing.assert_allclose(found, [[[4 * (3.5 + 0.15), 4 * (2.5 + 0.2)]]], rtol=1e-6)
    np.testing.assert_array_equal(scores, [[1.0]])


def test_decode_where_no_response_is_positive():
    """The second highest is still the second highest when everything is below zero."""
    maps = np.full((1, 4, 4, 1), -3.0, "float32")
    maps[0, 1, 1, 0], maps[0, 1, 2, 0] = -1.0, -2.0
    found, scores = heatmaps.decode(maps, "quarter_offset")
    np.testing.assert_allclose(found, [[[4 * 1.75, 4 * 1.5]]])
    assert float(scores[0, 0]) == -1.0


def test_decode_at_another_stride_and_after_a_filter():
    maps = random_maps(3)
    blurred = ndimage.gaussian_filter(maps, (0, 1, 1, 0), mode="constant", truncate=4)
    found, scores = heatmaps.decode(maps, "quarter_offset", filter_sigma=1.0, stride=8)
    np.testing.assert_allclose(found, 2 * decode_in_loops(blurred, cpn_rule), atol=1e-9)
    np.testing.assert_allclose(scores, blurred.max(axis=(1, 2)), rtol=1e-12)


def test_unknown_rule():
    with pytest.raises(ValueError, match="'soft'; take one of argmax, quarter_offset, sign, sign_"):
        heatmaps.decode(np.zeros((1, 4, 4, 1)), "soft")


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.75])
def test_gaussian_filter_is_that_of_scipy(sigma):
    """Maps smaller than the filter too; zero beyond the border."""
    maps = random_maps(4, (2, 16, 7, 3))
    expected = ndimage.gaussian_filter(maps, (0, sigma, sigma, 0), mode="constant", truncate=4)
    np.testing.assert_allclose(heatmaps.gaussian_filter(maps, sigma), expected, rtol=1e-12)


def test_no_gaussian_filter():
    maps = random_maps(5)
    np.testing.assert_array_equal(heatmaps.gaussian_filter(maps, 0), maps)


def test_flip_heatmaps_mirrors_columns_and_exchanges_keypoints():
    maps = random_maps(6)
    flipped = np.asarray(heatmaps.flip_heatmaps(maps, (0, 2, 1, 3)))
    for k, partner in enumerate((0, 2, 1, 3)):
        np.testing.assert_array_equal(flipped[..., k], maps[:, :, ::-1, partner])


def symmetric_network(permutation) -> keras.Model:
    """Average over each 4x4 block, then a 1x1 convolution whose channels agree with their partners'."""
    crops = keras.Input((64, 48, 3))
    pooled = keras.layers.AveragePooling2D(4)(crops)
    refine = keras.layers.Conv2D(len(permutation), 1)(pooled)
    network = keras.Model(crops, {"heatmaps": refine})
    kernel = np.random.default_rng(7).normal(size=(1, 1, 3, len(permutation))).astype("float32")
    paired = np.minimum(np.arange(len(permutation)), permutation)
    network.layers[-1].set_weights([kernel[..., paired], np.arange(len(permutation))[paired] / 10])
    return network


@pytest.mark.parametrize(
    "rule",
    [pytest.param(r, marks=[] if r == "dark" else pytest.mark.slow) for r in heatmaps.DECODE_RULES],
)
def test_the_flip_pass_of_a_symmetric_network_changes_nothing(rule):
    """No shift: the mirrored prediction lies exactly on the plain one, and so does their average."""
    names = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
    pairs = [names[1:3], names[3:]]
    tree = {
        "name": "head",
        "keypoints": names,
        "sigmas": [0.1] * 5,
        "flip_pairs": pairs,
        "limbs": [],
        "upper_body": [],
    }
    skeleton = Skeleton.from_card(tree)
    permutation = skeleton.flip_permutation
    network = symmetric_network(permutation)
    card = InferenceCard.of(network, skeleton)
    # Sixteenths sum exactly in float32, whatever the order in which a pooling adds them.
    crops = (np.random.default_rng(8).integers(0, 64, (2, 64, 48, 3)) / 64).astype("float32")
    matrices = np.float32([[[0.5, 0, 3], [0, 0.5, -7]]] * 2)

    mirrored = network(crops[:, :, ::-1])["heatmaps"]
    np.testing.assert_array_equal(heatmaps.flip_heatmaps(mirrored, permutation), network(crops)["heatmaps"])

    plain, flipped = (
        make_predict_step(network, card.updated(recipe={"flip_test": flip, "decode": rule}))(crops, matrices)
        for flip in (False, True)
    )
    np.testing.assert_array_equal(flipped[0], plain[0])
    np.testing.assert_array_equal(flipped[1], plain[1])
