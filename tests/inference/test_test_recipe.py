"""The test recipe, with a network that sees: it reads keypoints off colored spots in the picture."""

import functools
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from p2net_tf.data.samples import Samples
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.inference.test_recipe import Predictions, pose_scores, predict
from p2net_tf.skeletons.skeleton import Skeleton

HANDS = Skeleton.parse("""
name: hands
keypoints: [left_hand, right_hand]
sigmas: [0.1, 0.1]
flip_pairs: [[left_hand, right_hand]]
limbs: [{from: left_hand, to: right_hand, color: "#ffffff"}]
upper_body: [left_hand, right_hand]
""")
CROP = (64, 96)
PADDING = 1.25
SIZE = 200, 240  # height and width of the pictures


def card(**recipe) -> InferenceCard:
    return InferenceCard(skeleton=HANDS, input_size=CROP, box_padding=PADDING, recipe=recipe)


class SpotReader:
    """A perfect network for pictures of a red left hand, a green right hand and a blue mark on the left.

    As a trained network would, it names hands by what it sees: in a mirrored crop, told by the blue mark, the
    red hand is a right one.
    """

    def __call__(self, crops, training=None):
        maps = keras.ops.average_pool(crops, 4, 4)
        half = maps.shape[2] // 2
        left, right = (keras.ops.sum(part, (1, 2)) for part in (maps[:, :, :half, 2], maps[:, :, half:, 2]))
        hands = maps[..., :2]
        return {"heatmaps": keras.ops.where((left < right)[:, None, None, None], hands[..., ::-1], hands)}


def spot(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / radius**2)


@pytest.fixture(scope="module")
def hands(tmp_path_factory) -> Samples:
    """5 persons in pictures of their own, with boxes of different size and place."""
    tmp_path = tmp_path_factory.mktemp("hands")
    rng = np.random.default_rng(2)
    paths, boxes, keypoints = [], [], []
    for number in range(5):
        width, height = rng.uniform(70, 110), rng.uniform(50, 90)
        x, y = rng.uniform(10, SIZE[1] - width - 10), rng.uniform(10, SIZE[0] - height - 10)
        left = x + width * rng.uniform(0.2, 0.8), y + height * rng.uniform(0.2, 0.8)
        right = x + width * rng.uniform(0.2, 0.8), y + height * rng.uniform(0.2, 0.8)
        radius = width / 10
        colors = [spot(*left, radius), spot(*right, radius), spot(x, y + height / 2, radius)]
        paths.append(str(tmp_path / f"{number}.png"))
        cv2.imwrite(paths[-1], np.uint8(np.rint(255 * np.stack(colors[::-1], axis=-1))))
        boxes.append([x, y, width, height])
        keypoints.append([[*left, 2], [*right, 2]])
    return Samples(
        HANDS, paths, boxes, keypoints, np.ones(5), np.arange(5), np.arange(5), np.linspace(0.5, 1, 5)
    )


@pytest.fixture(scope="module")
def found(hands):
    """`found(flip_test=False, ...)`: what the spot reader finds on `hands`, each recipe asked for once."""

    @functools.cache
    def predictions(**recipe) -> Predictions:
        return predict(SpotReader(), hands, card(**recipe))

    return predictions


def errors(predictions: Predictions, samples: Samples) -> np.ndarray:
    """`[N, K]` distances in image pixels."""
    return np.linalg.norm(predictions.keypoints - samples.keypoints[..., :2], axis=-1)


def heatmap_pixels(samples: Samples) -> np.ndarray:
    """`[N, 1]` image pixels per heatmap pixel, from the crop window's definition."""
    width, height = samples.boxes[:, 2], samples.boxes[:, 3]
    return (np.maximum(width, height * CROP[1] / CROP[0]) * PADDING / CROP[1] * 4)[:, None]


class TestPredict:
    @pytest.mark.parametrize(
        ("flip_test", "filter_sigma"),
        [
            (True, 1.0),
            *(pytest.param(*r, marks=pytest.mark.slow) for r in ((False, 0.0), (False, 1.0), (True, 0.0))),
        ],
    )
    def test_finds_the_spots_in_image_pixels(self, hands, found, flip_test, filter_sigma):
        """`dark` is exact for Gaussians, up to the 8 bits of the picture and its bilinear crop."""
        recipe = {"decode": "dark", "flip_test": flip_test, "filter_sigma": filter_sigma, "batch_size": 2}
        predictions = found(**recipe)
        assert predictions.keypoints.shape == (5, 2, 2)
        # Measured 0.002 heatmap pixels; half a pixel of the crop, the usual slip, would be 0.125.
        assert np.all(errors(predictions, hands) < 0.01 * heatmap_pixels(hands))

    def test_the_papers_rule_is_as_good_as_it_can_be(self, hands, found):
        """At the corner of four pixels a quarter towards one of them leaves hypot(1/4, 1/2)."""
        predictions = found()
        assert np.all(errors(predictions, hands) < 0.56 * heatmap_pixels(hands))

    def test_left_and_right_are_exchanged_in_the_mirrored_pass(self, found):
        """Averaged with the wrong hand's map, a peak keeps half of its height."""
        straight, both = (found(filter_sigma=0, flip_test=flip) for flip in (False, True))
        np.testing.assert_allclose(both.keypoint_scores, straight.keypoint_scores, rtol=1e-4)

    def test_scores_are_box_score_times_mean_peak(self, hands, found):
        predictions = found()
        assert np.all((predictions.keypoint_scores > 0.5) & (predictions.keypoint_scores < 1))
        expected = hands.scores * predictions.keypoint_scores.mean(axis=1)
        np.testing.assert_allclose(predictions.scores, expected, rtol=1e-6)

    @pytest.mark.parametrize("size", [2, pytest.param(5, marks=pytest.mark.slow)])
    def test_the_batch_size_does_not_matter(self, found, size):
        """The last batch of 5 by 2 holds one person."""
        other, expected = found(batch_size=size), found()
        np.testing.assert_allclose(other.keypoints, expected.keypoints, atol=1e-4)
        np.testing.assert_allclose(other.scores, expected.scores, rtol=1e-5)

    def test_the_network_is_traced_once_though_the_last_batch_is_smaller(self, hands):
        traces = []

        class Counted(SpotReader):
            def __call__(self, crops, training=None):
                traces.append(crops.shape)
                return super().__call__(crops, training)

        predict(Counted(), hands, card(batch_size=2, flip_test=False))
        assert traces == [(None, *CROP, 3)]

    def test_the_truth_is_not_looked_at(self, hands, found):
        blind = predict(SpotReader(), replace(hands, keypoints=np.zeros((5, 2, 3))), card())
        np.testing.assert_array_equal(blind.keypoints, found().keypoints)


class TestPredictions:
    def test_take_and_scored_keypoints(self):
        predictions = Predictions(
            np.arange(8.0).reshape(2, 2, 2), np.float32([[0.1, 0.2], [0.3, 0.4]]), np.ones(2)
        )
        taken = predictions.take([1])
        np.testing.assert_allclose(taken.scored_keypoints, [[[4, 5, 0.3], [6, 7, 0.4]]], rtol=1e-6)


class TestPoseScores:
    box_scores = np.array([1.0, 0.5, 0.8])
    keypoint_scores = np.array([[0.9, 0.6, 0.3], [0.2, 0.1, 0.6], [0.1, 0.2, 0.05]])

    def test_the_paper_counts_every_keypoint(self):
        scores = pose_scores(self.box_scores, self.keypoint_scores, TestRecipe())
        assert scores == pytest.approx([0.6, 0.5 * 0.3, 0.8 * 0.35 / 3])

    def test_hrnet_counts_those_above_a_threshold(self):
        """0.2 itself is not above 0.2, and a pose without any such keypoint scores 0, not NaN."""
        config = TestRecipe(keypoint_threshold=0.2)
        assert pose_scores(self.box_scores, self.keypoint_scores, config) == pytest.approx(
            [0.6, 0.5 * 0.6, 0]
        )

    def test_negative_responses_count_by_default(self):
        scores = pose_scores(np.ones(1), np.array([[0.4, -0.2]]), TestRecipe())
        assert scores == pytest.approx([0.1])
