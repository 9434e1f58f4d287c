"""Statistics of the hand-crafted augmentation against the HRNet recipe, restated here in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.augment.baseline import CropWindow, jitter_color, sample_window
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.skeletons.skeleton import Skeleton

CARD = Skeleton.load("coco17")
CROP = (64, 48)
CENTER, SIZE = np.array([50.0, 60.0], np.float32), np.array([90.0, 120.0], np.float32)
DRAWS = 4000
STILL = {
    "scale": 0.0,
    "rotation_probability": 0.0,
    "flip_probability": 0.0,
    "half_body_probability": 0.0,
}


def person(labeled=range(17)) -> np.ndarray:
    """`[17, 3]`; the upper half lies above y = 60."""
    random = np.random.default_rng(3)
    keypoints = np.zeros((17, 3), np.float32)
    for k in labeled:
        low = 10 if k in CARD.upper_body else 70
        keypoints[k] = random.uniform(20, 80), random.uniform(low, low + 40), 2
    return keypoints


def draw(keypoints=None, seed=0, draws=DRAWS, **options) -> CropWindow:
    """`draws` windows as columns; everything that `options` does not name is off."""
    config = AugmentConfig(**{**STILL, **options})
    keypoints = tf.constant(person() if keypoints is None else keypoints)
    plain = CropWindow(tf.constant(CENTER), tf.constant(SIZE), tf.constant(0.0), tf.constant(0.0))

    @tf.function
    def windows():
        def one(number):
            return sample_window(plain, keypoints, CROP, config, CARD, tf.stack([seed, number]))

        types = CropWindow(*[tf.float32] * 4)
        return tf.map_fn(one, tf.range(draws, dtype=tf.int64), fn_output_signature=types)

    return CropWindow(*[column.numpy() for column in windows()])


def half_window(keypoints, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """HRNet's `half_body_transform`: mean and box of the half, grown to the aspect ratio, times 1.5."""
    chosen = [k for k in range(17) if keypoints[k, 2] > 0 and (k in CARD.upper_body) == upper]
    points = keypoints[chosen, :2]
    width, height = points.max(axis=0) - points.min(axis=0)
    ratio = CROP[1] / CROP[0]
    width, height = (width, width / ratio) if width > ratio * height else (height * ratio, height)
    return points.mean(axis=0), np.array([width, height]) * 1.5


def is_window(windows: CropWindow, center, size) -> np.ndarray:
    close = np.isclose(windows.center, center, atol=1e-3).all(axis=1)
    return close & np.isclose(windows.size, size, atol=1e-3).all(axis=1)


@pytest.mark.slow
def test_everything_off_leaves_the_window_alone():
    windows = draw(draws=20)
    np.testing.assert_array_equal(windows.center, np.tile(CENTER, (20, 1)))
    np.testing.assert_array_equal(windows.size, np.tile(SIZE, (20, 1)))
    assert not windows.rotation.any() and not windows.flip.any()


class TestHalfBody:
    def test_probability_and_a_fair_coin_between_the_halves(self):
        """HRNet compares a *normal* draw with 0.5, which gives the upper half 69 % of the time."""
        windows = draw(half_body_probability=0.3)
        upper = is_window(windows, *half_window(person(), upper=True))
        lower = is_window(windows, *half_window(person(), upper=False))
        plain = is_window(windows, CENTER, SIZE)
        assert np.all(upper.astype(int) + lower + plain == 1)
        # Four standard deviations of the binomial distributions.
        assert abs(np.mean(upper | lower) - 0.3) < 0.03
        assert abs(upper.sum() / (upper | lower).sum() - 0.5) < 0.058

    @pytest.mark.parametrize(("labeled", "applies"), [(8, False), (9, True)])
    def test_only_for_more_than_eight_labeled_keypoints(self, labeled, applies):
        # From the ankles up, so that both halves have three labeled keypoints.
        keypoints = person(range(17 - labeled, 17))
        windows = draw(keypoints, draws=50, half_body_probability=1.0)
        assert np.all(is_window(windows, CENTER, SIZE) == (not applies))

    def test_a_half_of_two_keypoints_is_never_shown(self):
        lower = [k for k in range(17) if k not in CARD.upper_body]
        keypoints = person([*CARD.upper_body, *lower[:2]])
        windows = draw(keypoints, draws=50, half_body_probability=1.0)
        assert np.all(is_window(windows, *half_window(keypoints, upper=True)))


def test_scale_is_normal_and_clipped_at_one_deviation():
    factors = draw(scale=0.35).size / SIZE
    np.testing.assert_allclose(factors[:, 0], factors[:, 1], rtol=1e-5)
    factors = factors[:, 0]
    np.testing.assert_allclose([factors.min(), factors.max()], [0.65, 1.35], rtol=1e-5)
    # Of a normal distribution 15.9 % lie beyond one deviation on each side, 38.3 % within half of one.
    assert abs(np.mean(factors < 0.6501) - 0.1587) < 0.025
    assert abs(np.mean(factors > 1.3499) - 0.1587) < 0.025
    assert abs(np.mean(np.abs(factors - 1) < 0.175) - 0.3829) < 0.031


@pytest.mark.slow
def test_rotation_is_normal_clipped_at_two_deviations_and_applied_with_its_probability():
    rotation = draw(rotation=40.0, rotation_probability=0.6).rotation
    turned = rotation[rotation != 0]
    assert abs(len(turned) / DRAWS - 0.6) < 0.031
    np.testing.assert_allclose([turned.min(), turned.max()], [-80, 80], rtol=1e-5)
    assert abs(np.mean(np.abs(turned) > 79.99) - 0.0455) < 0.017
    assert abs(np.mean(np.abs(turned) < 40) - 0.6827) < 0.038
    assert abs(np.mean(turned > 0) - 0.5) < 0.041


def test_translation_is_uniform_in_fractions_of_the_window():
    shift = (draw(translation=0.1).center - CENTER) / SIZE
    assert 0.099 < np.abs(shift).max() <= 0.1 + 1e-6
    np.testing.assert_allclose(shift.std(axis=0), 0.1 / np.sqrt(3), atol=0.002)
    np.testing.assert_allclose(shift.mean(axis=0), 0, atol=0.004)
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.065


@pytest.mark.slow
def test_the_draws_are_independent_of_each_other():
    windows = draw(rotation_probability=0.5, flip_probability=0.25, half_body_probability=0.5, scale=0.3)
    half = windows.center[:, 1] != CENTER[1]
    events = np.stack([windows.rotation != 0, windows.flip == 1, half, windows.rotation > 0])
    np.testing.assert_allclose(events[:3].mean(axis=1), [0.5, 0.25, 0.5], atol=0.032)
    correlation = np.corrcoef(events[:3])
    assert np.abs(correlation - np.eye(3)).max() < 0.065


def test_seeds_decide():
    options = {"rotation_probability": 1.0, "draws": 30}
    first, again, other = (draw(seed=seed, **options).rotation for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist()) & set(other.tolist())) < 5  # clipped ones may coincide


class TestColor:
    CROP = np.random.default_rng(0).uniform(0.2, 0.6, (8, 6, 3)).astype(np.float32)

    def test_no_strength_no_change(self):
        np.testing.assert_array_equal(jitter_color(self.CROP, 0.0, tf.constant([0, 0], tf.int64)), self.CROP)

    def test_stays_in_range_and_changes_by_up_to_the_strength(self):
        grey = tf.constant(np.full((4, 4, 3), 0.5, np.float32))
        levels = []
        for number in range(60):
            level = jitter_color(grey, 0.2, tf.constant([0, number], tf.int64)).numpy()
            # Saturation and contrast have nothing to change in a flat grey crop.
            np.testing.assert_allclose(level, level[0, 0, 0], rtol=1e-5)
            levels.append(level[0, 0, 0])
        assert 0.4 <= min(levels) < 0.43 and 0.57 < max(levels) <= 0.6
        bright = jitter_color(tf.ones((4, 4, 3)), 0.9, tf.constant([0, 1], tf.int64)).numpy()
        assert bright.min() >= 0 and bright.max() <= 1
