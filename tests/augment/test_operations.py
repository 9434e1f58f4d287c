"""Table 1's operations against PIL, OpenCV, scipy and numpy, and keypoints against the pixels they mark."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import FILL, OPERATION_NAMES, OPERATIONS
from p2net_tf.augment.resampling import resample
from p2net_tf.keypoints import geometry

SIZE = HEIGHT, WIDTH = 64, 48
GEOMETRIC = [name for name, row in OPERATIONS.items() if row.geometric]
EXACT_IN_LEVEL = [*GEOMETRIC, "SolarizeAdd", "Brightness", "Sharpness", "Cutout"]
"""Those with a true gradient; Equalize and Solarize pass a stand-in, Identity has none to speak of."""
STEPS = ["Equalize", "Solarize", "SolarizeAdd"]
"""Those that jump from one grey level to the next."""
SIGNS = (1, -1)
POOL = stateless_random.sample_seeds([11, 0], 4096)
POOL_NUMBERS = stateless_random.uniform(POOL, 3).numpy()


def seeds_of(signs) -> tf.Tensor:
    """`[B, 2]` seeds whose first number draws these signs."""
    drawn = np.where(POOL_NUMBERS[:, 0] < 0.5, -1, 1)
    places = {sign: iter(np.flatnonzero(drawn == sign)) for sign in SIGNS}
    return tf.gather(POOL, [next(places[int(sign)]) for sign in signs])


def numbers_of(seeds) -> np.ndarray:
    return stateless_random.uniform(seeds, 3).numpy().astype(np.float64)


def random_crops(count: int = 1, low=0.0, high=1.0, seed: int = 0, size=SIZE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (count, *size, 3)).astype(np.float32)


def smooth_crop() -> np.ndarray:
    """No more than a few grey levels from pixel to pixel, so a 32nd of a pixel (OpenCV 4) is no matter."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 8.0
    channels = [0.5 + 0.2 * np.sin(x + phase) * np.cos(y - phase) for phase in (0.0, 1.0, 2.0)]
    return np.stack(channels, axis=-1).astype(np.float32)[None]


def no_keypoints(count: int = 1) -> np.ndarray:
    return np.zeros((count, 1, 3), np.float32)


def some_keypoints(count: int, number: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, [WIDTH, HEIGHT], (count, number, 2))
    keypoints = np.concatenate([places, rng.integers(0, 3, (count, number, 1))], axis=-1)
    return (keypoints * (keypoints[..., 2:] > 0)).astype(np.float32)


def apply(name: str, crops, level, sign: int = 1, **options) -> np.ndarray:
    """The crops alone, all with one sign."""
    seeds = seeds_of([sign] * len(crops))
    return OPERATIONS[name](crops, no_keypoints(len(crops)), level, seeds, **options)[0].numpy()


def uint8_images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return {
        "random": rng.integers(0, 256, (*SIZE, 3)),
        "constant": np.full((*SIZE, 3), 77),
        "two grey levels": rng.choice([40, 200], (*SIZE, 3)),
        "few grey levels": rng.choice([0, 3, 4, 90, 255], (*SIZE, 3), p=[0.5, 0.1, 0.1, 0.2, 0.1]),
        "dark": rng.integers(0, 20, (*SIZE, 3)),
        "ramp": np.stack([y * 4, x * 5, np.full_like(x, 9)], axis=-1),
        "one bright pixel": np.pad(np.full((1, 1, 3), 255), [(5, 58), (7, 40), (0, 0)], constant_values=12),
    }


IMAGES = {name: image.astype(np.uint8) for name, image in uint8_images().items()}
EVERY_GREY = np.tile(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), (4, 3, 3))


def as_crops(image: np.ndarray) -> np.ndarray:
    return (image.astype(np.float32) / 255)[None]


def grey_levels(crops: np.ndarray) -> np.ndarray:
    return crops[0].astype(np.float64) * 255


class TestGoldenPixels:
    @pytest.mark.parametrize("sign", SIGNS)
    @pytest.mark.parametrize(
        ("name", "level", "shift", "axis"),
        [("TranslateX", 5.0, 6, 1), ("TranslateX", 10.0, 12, 1), ("TranslateY", 5.0, 8, 0)],
    )
    def test_translate_by_whole_pixels(self, name, level, shift, axis, sign):
        crops = random_crops()
        expected = np.roll(crops[0], sign * shift, axis)
        uncovered = slice(0, shift) if sign > 0 else slice(-shift, None)
        np.moveaxis(expected, axis, 0)[uncovered] = FILL
        np.testing.assert_allclose(apply(name, crops, level, sign)[0], expected, atol=1e-6)

    def index_matrix(self, name, level, sign) -> np.ndarray:
        """OpenCV's own: pixel index to pixel index, angles counter-clockwise."""
        center = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
        match name:
            case "TranslateX":
                return np.array([[1, 0, sign * level / 10 * 0.25 * WIDTH], [0, 1, 0.0]])
            case "TranslateY":
                return np.array([[1, 0, 0.0], [0, 1, sign * level / 10 * 0.25 * HEIGHT]])
            case "Rotate":
                return cv2.getRotationMatrix2D(center, -sign * level * 4.5, 1.0)
            case "Scale":
                factor = 1 + 0.35 * level / 10 if sign > 0 else 1 - 0.3 * level / 10
                return cv2.getRotationMatrix2D(center, 0.0, factor)

    CASES = [(name, level, sign) for name in GEOMETRIC for level in (0.7, 3.3, 6.1, 10.0) for sign in SIGNS]

    @pytest.mark.parametrize(("name", "level", "sign"), CASES)
    def test_geometry_is_that_of_scipy_up_to_the_border(self, name, level, sign):
        """`grid-constant` continues the image with grey, as we do: half a pixel at the border agrees too."""
        crops = random_crops()
        inverse = np.linalg.inv(np.vstack([self.index_matrix(name, level, sign), [0, 0, 1]]))
        swapped = inverse[:2][::-1][:, [1, 0, 2]]  # (x, y) to (row, column)
        expected = [
            ndimage.affine_transform(
                channel, swapped[:, :2], swapped[:, 2], order=1, mode="grid-constant", cval=FILL
            )
            for channel in np.moveaxis(crops[0].astype(np.float64), -1, 0)
        ]
        found = apply(name, crops, level, sign)[0]
        # float32 places a pixel to some 1e-5 px, times the contrast of noise.
        np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=1e-4)

    @pytest.mark.parametrize(("name", "level", "sign"), CASES)
    def test_geometry_is_that_of_opencv_to_a_grey_level(self, name, level, sign):
        crops = smooth_crop()
        expected = cv2.warpAffine(
            crops[0],
            self.index_matrix(name, level, sign),
            (WIDTH, HEIGHT),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(FILL, FILL, FILL),
        )
        found = apply(name, crops, level, sign)[0]
        np.testing.assert_allclose(found, expected, atol=1 / 255)

    @pytest.mark.parametrize("level", [0.8, 4.0, 10.0])
    def test_cutout_covers_the_area_of_its_square(self, level):
        crops, seeds = random_crops(12), stateless_random.sample_seeds([5, 0], 12)
        found = OPERATIONS["Cutout"](crops, no_keypoints(12), level, seeds)[0].numpy()
        side = level / 10 * 0.36 * min(SIZE)
        for crop, after, (_, x, y) in zip(crops, found, numbers_of(seeds), strict=True):
            shares = [
                np.diff(np.clip(np.arange(length + 1) - (center - side / 2), 0, side))
                for length, center in ((HEIGHT, y * HEIGHT), (WIDTH, x * WIDTH))
            ]
            covered = np.multiply.outer(*shares)[..., None]
            np.testing.assert_allclose(after, crop * (1 - covered) + FILL * covered, atol=1e-5)

    @pytest.mark.parametrize("name", IMAGES)
    def test_equalize_is_that_of_pil(self, name):
        expected = np.asarray(ImageOps.equalize(Image.fromarray(IMAGES[name])))
        found = apply("Equalize", as_crops(IMAGES[name]), 5.0)
        np.testing.assert_array_equal(found[0], expected.astype(np.float32) / 255)

    def test_equalize_looks_at_each_image_and_channel_alone(self):
        together = apply("Equalize", np.concatenate([as_crops(image) for image in IMAGES.values()]), 0.0)
        for row, image in zip(together, IMAGES.values(), strict=True):
            for channel in range(3):
                expected = ImageOps.equalize(Image.fromarray(image[..., channel]))
                np.testing.assert_array_equal(np.rint(row[..., channel] * 255), np.asarray(expected))

    @pytest.mark.parametrize("run", [lambda function: function, tf.function])
    def test_solarize_is_that_of_pil_at_every_whole_threshold(self, run):
        thresholds = np.arange(257)
        crops = np.repeat(as_crops(EVERY_GREY), 257, axis=0)
        levels = (thresholds * 10 / 256).astype(np.float32)
        solarize = run(lambda levels: OPERATIONS["Solarize"](crops, no_keypoints(257), levels, (0, 0))[0])
        found = solarize(tf.constant(levels)).numpy() * 255
        expected = [ImageOps.solarize(Image.fromarray(EVERY_GREY), int(t)) for t in thresholds]
        np.testing.assert_allclose(found, np.stack([np.asarray(image) for image in expected]), atol=1e-4)

    @pytest.mark.parametrize("level", range(11))
    def test_solarize_add(self, level):
        image = EVERY_GREY.astype(int)
        expected = np.where(image < 128, np.minimum(image + 11 * level, 255), image)
        found = grey_levels(apply("SolarizeAdd", as_crops(EVERY_GREY), float(level)))
        np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize("level", [0.0, 2.5, 5.0, 9.0, 10.0])
    @pytest.mark.parametrize(
        ("name", "peer"), [("Brightness", ImageEnhance.Brightness), ("Sharpness", ImageEnhance.Sharpness)]
    )
    def test_enhancements_are_those_of_pil_to_its_rounding(self, name, peer, level):
        """PIL rounds the blurred image (at most 0.9 * 0.5 here), then cuts the result to grey levels."""
        for image in (IMAGES["random"], IMAGES["ramp"], EVERY_GREY):
            expected = np.asarray(peer(Image.fromarray(image)).enhance(0.1 + 0.18 * level)).astype(float)
            found = grey_levels(apply(name, as_crops(image), level))
            rounding = 1.0 + (0.5 * abs(0.18 * level - 0.9) if name == "Sharpness" else 0.0)
            assert np.abs(found - expected).max() <= rounding + 1e-3
            assert np.abs(found - expected).mean() <= 0.7

    @pytest.mark.parametrize("level", [0.0, 2.5, 7.5, 10.0])
    def test_brightness_and_sharpness_in_numpy(self, level):
        crops, factor = random_crops(), 0.1 + 0.18 * level
        np.testing.assert_allclose(
            apply("Brightness", crops, level), np.clip(crops * factor, 0, 1), atol=1e-6
        )
        kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
        blurred = ndimage.convolve(crops[0].astype(np.float64), kernel[..., None])
        expected = np.clip(blurred + factor * (crops[0] - blurred), 0, 1)
        for border in ([0, -1], slice(None)), (slice(None), [0, -1]):
            expected[border] = crops[0][border]
        np.testing.assert_allclose(apply("Sharpness", crops, level)[0], expected, atol=1e-6)


class TestRanges:
    @pytest.mark.parametrize("name", [name for name, row in OPERATIONS.items() if row.neutral is not None])
    def test_the_neutral_level_changes_nothing(self, name):
        crops, keypoints = random_crops(6), some_keypoints(6)
        moved = OPERATIONS[name](crops, keypoints, OPERATIONS[name].neutral, (1, 2))
        np.testing.assert_allclose(moved[0], crops, atol=1e-6)
        np.testing.assert_array_equal(moved[1], keypoints)

    def test_which_levels_are_neutral(self):
        others = {"Equalize": None, "Solarize": 10.0, "Brightness": 5.0, "Sharpness": 5.0}
        assert {name: row.neutral for name, row in OPERATIONS.items()} == {
            name: others.get(name, 0.0) for name in OPERATION_NAMES
        }

    @pytest.mark.parametrize(
        ("name", "ends"),
        [
            ("TranslateX", {1: (10 + 0.25 * WIDTH, 20), -1: (10 - 0.25 * WIDTH, 20)}),
            ("TranslateY", {1: (10, 20 + 0.25 * HEIGHT), -1: (10, 20 - 0.25 * HEIGHT)}),
            # From the centre (24, 32): (-14, -12) turned by 45 degrees.
            ("Rotate", {1: (24 - 2 / 2**0.5, 32 - 26 / 2**0.5), -1: (24 - 26 / 2**0.5, 32 + 2 / 2**0.5)}),
            ("Scale", {1: (24 - 14 * 1.35, 32 - 12 * 1.35), -1: (24 - 14 * 0.7, 32 - 12 * 0.7)}),
        ],
    )
    def test_geometric_ends_and_both_signs_in_a_batch(self, name, ends):
        keypoints = np.tile(np.float32([[[10, 20, 2]]]), (200, 1, 1))
        _, moved = OPERATIONS[name](random_crops(200, size=(HEIGHT, WIDTH)), keypoints, 10.0, (3, 4))
        counts = []
        for x, y in ends.values():
            inside = 0 <= x <= WIDTH and 0 <= y <= HEIGHT
            expected = (x, y, 2) if inside else (0, 0, 0)
            counts.append(np.isclose(moved.numpy()[:, 0], expected, atol=1e-4).all(axis=1).sum())
        assert sum(counts) == 200
        # Five deviations of a fair coin.
        assert min(counts) > 100 - 5 * np.sqrt(50)

    def test_photometric_ends(self):
        grey = np.full((1, *SIZE, 3), 0.4, np.float32)
        for name, level, expected in (
            ("Brightness", 0.0, 0.04),
            ("Brightness", 10.0, 0.76),
            ("Solarize", 0.0, 0.6),
            ("SolarizeAdd", 10.0, 0.4 + 110 / 255),
        ):
            np.testing.assert_allclose(apply(name, grey, level), expected, atol=1e-6)
        spike = grey.copy()
        spike[0, 10, 10] += 0.13
        for level, factor in ((0.0, 0.1), (10.0, 1.9)):
            found = apply("Sharpness", spike, level)[0, 10:12, 10:12, 0] - 0.4
            expected = [[0.05 + factor * 0.08, 0.01 - factor * 0.01]] + [[0.01 - factor * 0.01] * 2]
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_the_largest_cutout_hides_36_percent_of_the_short_side(self):
        seeds = stateless_random.sample_seeds([5, 0], 400)
        _, x, y = numbers_of(seeds).T
        found = OPERATIONS["Cutout"](np.zeros((400, *SIZE, 3)), no_keypoints(400), 10.0, seeds)[0].numpy()
        inside = (np.abs(x - 0.5) < 0.5 - 0.18) & (np.abs(y * HEIGHT - 32) < 32 - 0.18 * WIDTH)
        assert inside.sum() > 100
        np.testing.assert_allclose(found[inside].sum(axis=(1, 2)) / FILL, (0.36 * WIDTH) ** 2, rtol=1e-5)
        # Its centre is anywhere in the crop: five deviations of a uniform variable.
        np.testing.assert_allclose([x.mean(), y.mean()], 0.5, atol=5 / np.sqrt(12 * 400))


class TestKeypoints:
    """A Gaussian dot at a keypoint, and where its centroid is afterwards.

    A step (`STEPS`) makes of the dot a disc with a hard edge, drawn in whole pixels. Its centroid then strays
    by a tenth of a pixel with where it lies between them: an error of the disc, not of the keypoint. So these
    operations meet dots that the pixels show symmetrically, about the centre or the corner of one; in chains,
    where geometry comes first, their errors are averaged.
    """

    SIZE = (128, 96)
    SIGMA, BACKGROUND, REACH = 2.5, 0.35, 14

    def dots(
        self, count: int, seed: int, symmetric: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`(crops, blank crops, keypoints)`, one bright or dark dot each."""
        rng = np.random.default_rng(seed)
        height, width = self.SIZE
        places = rng.uniform(self.REACH, [width - self.REACH, height - self.REACH], (count, 2))
        places = np.round(places * 2) / 2 if symmetric else places
        y, x = np.mgrid[:height, :width] + 0.5
        distance = (x - places[:, 0, None, None]) ** 2 + (y - places[:, 1, None, None]) ** 2
        height_of_dot = rng.choice([-0.25, 0.25], (count, 1, 1))
        dots = height_of_dot * np.exp(-distance / (2 * self.SIGMA**2))
        blank = np.full((count, height, width, 3), self.BACKGROUND, np.float32)
        keypoints = np.concatenate([places, np.full((count, 1), 2)], axis=-1)[:, None]
        return blank + dots[..., None].astype(np.float32), blank, keypoints.astype(np.float32)

    def centroid_errors(self, crops, blank, keypoints) -> list[list[float]]:
        """(x, y) in pixels, of the dots that are whole: nothing uncovered, cut out or outside nearby."""
        height, width = self.SIZE
        errors = []
        for crop, empty, (x, y, visibility) in zip(crops, blank, keypoints[:, 0], strict=True):
            left, top = round(float(x)) - self.REACH, round(float(y)) - self.REACH
            right, bottom = left + 2 * self.REACH, top + 2 * self.REACH
            if visibility == 0 or left < 0 or top < 0 or right > width or bottom > height:
                continue
            if np.ptp(empty[top:bottom, left:right]) > 1e-5:
                continue
            window = crop[top:bottom, left:right].mean(axis=-1).astype(np.float64)
            # An operation may invert the dot, in whole or in part: what counts is where it differs.
            weights = np.abs(window - window[0, 0])
            if weights.sum() < 0.05:  # Twice brightened, a bright dot drowns in white.
                continue
            rows, columns = np.mgrid[top:bottom, left:right] + 0.5
            errors.append([(weights * (columns - x)).sum() / weights.sum(),
                           (weights * (rows - y)).sum() / weights.sum()])  # fmt: skip
        return errors

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_follow_the_pixels_through_every_operation(self, name):
        signs = [1, -1] * 6
        errors = []
        for level in range(11):
            crops, blank, keypoints = self.dots(len(signs), seed=level, symmetric=name in STEPS)
            seeds = seeds_of(signs)
            after, moved = OPERATIONS[name](crops, keypoints, level, seeds)
            empty, _ = OPERATIONS[name](blank, keypoints, level, seeds)
            measured = self.centroid_errors(after.numpy(), empty.numpy(), moved.numpy())
            assert measured, f"nothing to measure at level {level}"
            errors += measured
        assert np.linalg.norm(errors, axis=1).max() < 0.05
        assert len(errors) > 0.5 * 11 * len(signs)

    def chain_errors(self, stages: int, rows: list[int]) -> np.ndarray:
        """`[n, 2]` of random operations out of `rows`."""
        rng = np.random.default_rng(stages)
        errors, count, trials = [], 48, 6
        for trial in range(trials):
            crops, blank, keypoints = self.dots(count, seed=100 + trial)
            operations = rng.choice(rows, (count, stages))
            levels = rng.uniform(0, 10, (count, stages)).astype(np.float32)
            after, moved = ops.apply_chain(crops, keypoints, operations, levels, (trial, 7))
            empty, _ = ops.apply_chain(blank, keypoints, operations, levels, (trial, 7))
            errors += self.centroid_errors(after.numpy(), empty.numpy(), moved.numpy())
        assert len(errors) > 0.3 * trials * count
        return np.array(errors)

    @pytest.mark.slow
    @pytest.mark.parametrize("stages", [2, 3])
    def test_follow_the_pixels_through_chains(self, stages):
        smooth = [row for row, name in enumerate(OPERATION_NAMES) if name not in STEPS]
        assert np.linalg.norm(self.chain_errors(stages, smooth), axis=1).max() < 0.05

    @pytest.mark.slow
    @pytest.mark.parametrize("stages", [2, 3])
    def test_follow_the_pixels_through_chains_with_steps(self, stages):
        errors = self.chain_errors(stages, list(range(len(OPERATION_NAMES))))
        assert np.abs(errors.mean(axis=0)).max() < 0.01
        assert np.median(np.linalg.norm(errors, axis=1)) < 0.02
        # A step near the peak leaves a disc of a few pixels now and then: no bound on the largest error.
        assert np.percentile(np.linalg.norm(errors, axis=1), 95) < 0.15

    def test_cutout_hides_pixels_and_keeps_labels(self):
        crops, _, keypoints = self.dots(64, seed=1)
        after, kept = OPERATIONS["Cutout"](crops, keypoints, 10.0, (0, 1))
        np.testing.assert_array_equal(kept, keypoints)
        peaks = [
            (crop[int(y), int(x), 0]) for crop, (x, y, _) in zip(after.numpy(), keypoints[:, 0], strict=True)
        ]
        hidden = np.isclose(peaks, FILL, atol=1e-6)
        assert 0 < hidden.sum() < 32

    @pytest.mark.parametrize("name", GEOMETRIC)
    def test_outside_is_no_label_and_unlabeled_stays_zero(self, name):
        keypoints = np.float32([[[1, 1, 2], [47, 63, 1], [1, 63, 2], [47, 1, 2], [24, 32, 1], [0, 0, 0]]])
        seeds = seeds_of([1])
        _, moved = OPERATIONS[name](random_crops(), keypoints, 10.0, seeds)
        expected = {
            "TranslateX": [[13, 1, 2], [0, 0, 0], [13, 63, 2], [0, 0, 0], [36, 32, 1]],
            "TranslateY": [[1, 17, 2], [0, 0, 0], [0, 0, 0], [47, 17, 2], [24, 48, 1]],
            "Rotate": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [24, 32, 1]],
            "Scale": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [24, 32, 1]],
        }
        # At 45 degrees a corner of this crop lies 54 / sqrt(2) = 38 px from the centre line, beyond 24 or 32.
        np.testing.assert_allclose(moved[0], [*expected[name], [0, 0, 0]], atol=1e-4)

    @pytest.mark.parametrize("name", [name for name in OPERATION_NAMES if name not in GEOMETRIC])
    def test_what_looks_at_pixels_leaves_them_alone(self, name):
        keypoints = some_keypoints(4)
        np.testing.assert_array_equal(OPERATIONS[name](random_crops(4), keypoints, 8.0, (0, 0))[1], keypoints)


def assert_close(found, expected, atol: float = 3e-5):
    for one, twin in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, twin, atol=atol)


class TestBatches:
    """A sample does not know what it is batched with."""

    COUNT = 6

    def singles(self, function, *columns) -> list[np.ndarray]:
        rows = [function(*(column[i : i + 1] for column in columns)) for i in range(self.COUNT)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_mixed_magnitudes_are_a_loop_of_singles(self, name):
        batch = random_crops(self.COUNT), some_keypoints(self.COUNT)
        levels = np.float32([0, 1.5, 3, 5, 8.2, 10])
        seeds = stateless_random.sample_seeds([3, 5], self.COUNT)
        assert_close(
            OPERATIONS[name](*batch, levels, (3, 5)), self.singles(OPERATIONS[name], *batch, levels, seeds)
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("stages", [1, 2, 3])
    def test_a_chain_of_mixed_operations_is_a_loop_of_singles(self, stages):
        rng = np.random.default_rng(stages)
        for trial in range(3):
            batch = random_crops(self.COUNT), some_keypoints(self.COUNT)
            operations = rng.integers(0, len(OPERATION_NAMES), (self.COUNT, stages))
            levels = rng.uniform(0, 10, (self.COUNT, stages)).astype(np.float32)
            seeds = stateless_random.sample_seeds([trial, 5], self.COUNT)
            assert_close(
                ops.apply_chain(*batch, operations, levels, (trial, 5)),
                self.singles(ops.apply_chain, *batch, operations, levels, seeds),
            )

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_a_chain_of_one_is_the_operation(self, name):
        batch = random_crops(4), some_keypoints(4)
        levels, seeds = np.float32([0.5, 2, 7, 10]), stateless_random.sample_seeds([8, 8], 4)
        row = np.full((4, 1), OPERATION_NAMES.index(name))
        assert_close(
            ops.apply_chain(*batch, row, levels[:, None], seeds),
            OPERATIONS[name](*batch, levels, stateless_random.fold_in(seeds, 0)),
        )

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_an_empty_batch_passes(self, name):
        crops, keypoints = OPERATIONS[name](random_crops(0), no_keypoints(0), 5.0, (0, 0))
        assert crops.shape == (0, *SIZE, 3) and keypoints.shape == (0, 1, 3)

    def test_an_empty_batch_passes_a_chain(self):
        crops, keypoints = ops.apply_chain(
            random_crops(0), no_keypoints(0), np.zeros((0, 2), np.int32), np.zeros((0, 2), np.float32), (0, 0)
        )
        assert crops.shape == (0, *SIZE, 3) and keypoints.shape == (0, 1, 3)

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_float64_stays_float64(self, name):
        crops, keypoints = random_crops(2).astype(np.float64), some_keypoints(2)
        row = np.full((2, 1), OPERATION_NAMES.index(name))
        for found in (
            OPERATIONS[name](crops, keypoints, 6.0, (0, 0)),
            ops.apply_chain(crops, keypoints, row, np.full((2, 1), 6.0), (0, 0)),
        ):
            assert found[0].dtype == tf.float64 and found[1].dtype == tf.float32


class TestChains:
    def chain(self, crops, keypoints, *stages, signs):
        """`stages` are (name, level), the same for all; `signs` of each stage."""
        seeds = self.seeds(signs)[: len(crops)]
        operations = np.tile([OPERATION_NAMES.index(name) for name, _ in stages], (len(crops), 1))
        levels = np.tile(np.float32([level for _, level in stages]), (len(crops), 1))
        return ops.apply_chain(crops, keypoints, operations, levels, seeds)

    def seeds(self, signs) -> tf.Tensor:
        """Seeds from which stage after stage draws these signs."""
        drawn = [
            stateless_random.uniform(stateless_random.fold_in(POOL, stage), 1).numpy()[:, 0]
            for stage in range(len(signs))
        ]
        right = np.all([(row >= 0.5) == (sign > 0) for row, sign in zip(drawn, signs, strict=True)], axis=0)
        return tf.boolean_mask(POOL, right)

    def test_geometry_in_a_row_is_one_resampling_by_the_composed_matrix(self):
        crops, keypoints = random_crops(3), some_keypoints(3)
        crops_after, keypoints_after = self.chain(
            crops, keypoints, ("Rotate", 5.0), ("Scale", 8.0), ("TranslateX", 3.0), signs=(1, -1, 1)
        )
        angle, center = np.radians(22.5), np.array([WIDTH / 2, HEIGHT / 2])
        linear = 0.76 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = center - linear @ center + [0.3 * 0.25 * WIDTH, 0]
        matrices = np.tile(np.c_[linear, offset].astype(np.float32), (3, 1, 1))
        np.testing.assert_allclose(crops_after, resample(crops, matrices, FILL), atol=1e-4)
        moved = geometry.hide_outside(geometry.transform_keypoints(keypoints, matrices), SIZE)
        np.testing.assert_allclose(keypoints_after, moved, atol=1e-4)

    @pytest.mark.parametrize("name", ["Rotate", "TranslateX", "TranslateY"])
    def test_there_and_back_gives_the_input_back(self, name):
        """Noise, which two resamplings would blur, and keypoints, which they would lose."""
        crops, keypoints = random_crops(3), some_keypoints(3)
        after = self.chain(crops, keypoints, (name, 7.3), (name, 7.3), signs=(1, -1))
        assert_close(after, (crops, keypoints), atol=1e-4)
        once = OPERATIONS[name](crops, keypoints, 7.3, seeds_of([1] * 3))
        twice, lost = OPERATIONS[name](*once, 7.3, seeds_of([-1] * 3))
        assert np.abs(twice - crops).mean() > 0.03
        assert (lost.numpy()[..., 2] > 0).sum() < (keypoints[..., 2] > 0).sum()

    def test_an_identity_between_does_not_resample(self):
        crops, keypoints = random_crops(3), some_keypoints(3)
        stages = ("Rotate", 4.0), ("Identity", 5.0), ("Rotate", 4.0)
        assert_close(self.chain(crops, keypoints, *stages, signs=(1, 1, -1)), (crops, keypoints), atol=1e-4)

    @pytest.mark.parametrize(
        "names", [("TranslateX", "Cutout", "Scale"), ("Rotate", "Equalize", "TranslateY"),
                  ("Brightness", "TranslateX", "Brightness"), ("Scale", "Solarize", "Sharpness")]
    )  # fmt: skip
    def test_the_order_is_kept_around_what_looks_at_pixels(self, names):
        crops, keypoints = random_crops(8), some_keypoints(8)
        levels = np.random.default_rng(0).uniform(2, 9, (8, 3)).astype(np.float32)
        seeds = stateless_random.sample_seeds([4, 4], 8)
        rows = np.tile([OPERATION_NAMES.index(name) for name in names], (8, 1))
        expected = crops, keypoints
        for stage, name in enumerate(names):
            expected = OPERATIONS[name](*expected, levels[:, stage], stateless_random.fold_in(seeds, stage))
        assert_close(ops.apply_chain(crops, keypoints, rows, levels, seeds), expected)

    def test_stages_draw_their_own_numbers(self):
        """Two translations of one sample agree in sign half of the time."""
        keypoints = np.tile(np.float32([[[24, 32, 2]]]), (400, 1, 1))
        row = np.full((400, 2), OPERATION_NAMES.index("TranslateX"))
        levels = np.full((400, 2), 5.0, np.float32)
        x = ops.apply_chain(np.zeros((400, *SIZE, 3), np.float32), keypoints, row, levels, (0, 0))[1][:, 0, 0]
        values, counts = np.unique(np.round(x), return_counts=True)
        np.testing.assert_array_equal(values, [12, 24, 36])
        # Five deviations of the binomial distributions.
        np.testing.assert_allclose(counts, [100, 200, 100], atol=50)


class TestSeeds:
    def runs(self, seed):
        rng = np.random.default_rng(2)
        operations = rng.integers(0, len(OPERATION_NAMES), (6, 2)).astype(np.int32)
        operations[:, 0] = OPERATION_NAMES.index("Rotate")
        levels = rng.uniform(1, 10, (6, 2)).astype(np.float32)
        seed = tf.constant(seed, tf.int64)
        return (random_crops(6), some_keypoints(6), operations, levels), seed

    def test_a_seed_decides(self):
        batch, seed = self.runs((1, 2))
        first = ops.apply_chain(*batch, seed)
        assert_close(ops.apply_chain(*batch, seed), first, atol=0)
        for other in ((1, 3), (2, 2)):
            assert np.abs(ops.apply_chain(*batch, other)[0] - first[0]).max() > 0.1

    @pytest.mark.slow
    def test_the_same_in_eager_graph_and_data_pipeline(self):
        batch, seed = self.runs((1, 2))
        eager = ops.apply_chain(*batch, seed)
        assert_close(tf.function(ops.apply_chain)(*map(tf.constant, batch), seed), eager)
        dataset = tf.data.Dataset.from_tensor_slices(batch).batch(6)
        (mapped,) = dataset.map(lambda *parts: ops.apply_chain(*parts, seed))
        assert_close(mapped, eager)

    @pytest.mark.parametrize(
        "name",
        # One that moves keypoints, one that looks at all pixels, one that draws a place; the others slowly.
        [
            pytest.param(name, marks=[] if name in ("Rotate", "Equalize", "Cutout") else pytest.mark.slow)
            for name in OPERATION_NAMES
        ],
    )
    def test_every_operation_is_the_same_in_a_graph_of_unknown_batch(self, name):
        crops, keypoints = random_crops(3), some_keypoints(3)
        signature = [tf.TensorSpec([None, *SIZE, 3]), tf.TensorSpec([None, None, 3]), tf.TensorSpec([None])]
        traced = tf.function(lambda *batch: OPERATIONS[name](*batch, (5, 6)), input_signature=signature)
        level = np.float32([2, 4, 7])
        found = traced(crops, keypoints, level)
        assert traced.get_concrete_function().structured_outputs[0].shape[1:] == (*SIZE, 3)
        assert_close(found, OPERATIONS[name](crops, keypoints, level, (5, 6)))


class TestGradients:
    """float64, against central differences."""

    COUNT, STEP = 4, 1e-5
    LEVELS = np.array([1.3, 3.7, 6.1, 8.9])

    def batch(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Crops away from the kinks: 0.5 of SolarizeAdd, and 1, where values are clipped."""
        rng = np.random.default_rng(6)
        crops = rng.uniform(0.15, 0.3, (self.COUNT, 20, 16, 3))
        crops += 0.16 * rng.integers(0, 2, crops.shape)
        return tf.constant(crops), tf.constant(rng.normal(size=crops.shape)), tf.constant(self.LEVELS)

    def losses(self, name, crops, weights, levels):
        """`[B]`, not linear in the image."""
        seeds = seeds_of([1, -1, 1, -1])
        keypoints = np.zeros((self.COUNT, 1, 3))
        after, _ = OPERATIONS[name](crops, keypoints, levels, seeds, differentiable=True)
        return tf.reduce_sum(weights * after**2, axis=[1, 2, 3])

    @pytest.mark.parametrize("name", EXACT_IN_LEVEL)
    def test_of_the_level(self, name):
        crops, weights, levels = self.batch()
        with tf.GradientTape() as tape:
            tape.watch(levels)
            losses = self.losses(name, crops, weights, levels)
        high, low = (self.losses(name, crops, weights, levels + step) for step in (self.STEP, -self.STEP))
        expected = (high - low) / (2 * self.STEP)
        assert np.abs(expected).min() > 1e-3
        np.testing.assert_allclose(tape.gradient(losses, levels), expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("name", [*EXACT_IN_LEVEL, "Identity"])
    def test_of_the_image(self, name):
        crops, weights, levels = self.batch()
        direction = tf.constant(np.random.default_rng(7).normal(size=crops.shape))
        with tf.GradientTape() as tape:
            tape.watch(crops)
            losses = self.losses(name, crops, weights, levels)
        found = tf.reduce_sum(tape.gradient(losses, crops) * direction, axis=[1, 2, 3])
        high, low = (
            self.losses(name, crops + step * direction, weights, levels) for step in (self.STEP, -self.STEP)
        )
        np.testing.assert_allclose(found, (high - low) / (2 * self.STEP), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("name", [*GEOMETRIC, "Brightness", "Sharpness"])
    def test_of_the_gradient(self, name):
        """Second order: how <d loss / d image, u> and d loss / d level change with the level."""
        crops, weights, levels = self.batch()
        direction = tf.constant(np.random.default_rng(8).normal(size=crops.shape))

        def first(levels):
            with tf.GradientTape() as tape:
                tape.watch([crops, levels])
                losses = self.losses(name, crops, weights, levels)
            by_image, by_level = tape.gradient(losses, [crops, levels])
            return tf.reduce_sum(by_image * direction, axis=[1, 2, 3]), by_level

        with tf.GradientTape(persistent=True) as outer:
            outer.watch(levels)
            firsts = first(levels)
        highs, lows = first(levels + self.STEP), first(levels - self.STEP)
        for gradient, high, low in zip(firsts, highs, lows, strict=True):
            expected = (high - low) / (2 * self.STEP)
            assert np.abs(expected).min() > 1e-4
            np.testing.assert_allclose(outer.gradient(gradient, levels), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", GEOMETRIC)
    def test_of_keypoints(self, name):
        keypoints = tf.constant(np.array([[[7.0, 9.0, 2.0]]] * self.COUNT))
        levels = tf.constant(np.array([1.3, 2.7, 3.1, 0.9]))

        def moved(levels):
            seeds = seeds_of([1, -1, 1, -1])
            return OPERATIONS[name](self.batch()[0], keypoints, levels, seeds, differentiable=True)[1][
                :, 0, :2
            ]

        with tf.GradientTape() as tape:
            tape.watch(levels)
            total = tf.reduce_sum(moved(levels) * [1.0, 10.0], axis=-1)
        high, low = (tf.reduce_sum(moved(levels + s) * [1.0, 10.0], axis=-1) for s in (self.STEP, -self.STEP))
        np.testing.assert_allclose(tape.gradient(total, levels), (high - low) / (2 * self.STEP), rtol=1e-6)

    @pytest.mark.parametrize("name", OPERATION_NAMES)
    def test_the_differentiable_way_gives_the_same_pixels(self, name):
        batch = random_crops(6), some_keypoints(6), np.float32([0, 1.5, 3, 5, 8.2, 10]), (7, 7)
        # Both place a pixel to some 1e-6 px of their own rounding; noise makes that of the size of a 1e-5.
        assert_close(OPERATIONS[name](*batch, differentiable=True), OPERATIONS[name](*batch), atol=1e-5)

    def test_stand_ins(self):
        """Equalize passes gradients as they come; Solarize those of a sigmoid 1 / 20 of the range wide."""
        crops = tf.constant(random_crops(2).astype(np.float64))
        levels = tf.constant([3.0, 8.0], tf.float64)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([crops, levels])
            equal = OPERATIONS["Equalize"](crops, no_keypoints(2), levels, (0, 0))[0]
            solar = OPERATIONS["Solarize"](crops, no_keypoints(2), levels, (0, 0))[0]
        np.testing.assert_array_equal(tape.gradient(equal, crops), tf.ones_like(crops))
        x, threshold = crops.numpy(), levels.numpy().reshape(2, 1, 1, 1) * 25.6 / 255 - 0.01 / 255
        gate = 1 / (1 + np.exp(-(x - threshold) / 0.05))
        slope = (1 - 2 * x) * gate * (1 - gate) / 0.05
        np.testing.assert_allclose(tape.gradient(solar, crops), 1 - 2 * gate + slope, atol=1e-9)
        np.testing.assert_allclose(
            tape.gradient(solar, levels), -slope.sum(axis=(1, 2, 3)) * 25.6 / 255, rtol=1e-9
        )


class TestBadInput:
    ROW, LEVEL = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)

    def both(self, crops, keypoints):
        yield lambda: OPERATIONS["Rotate"](crops, keypoints, 3.0, (0, 0))
        yield lambda: ops.apply_chain(crops, keypoints, self.ROW, self.LEVEL, (0, 0))

    @pytest.mark.parametrize(
        "crops",
        [np.zeros((1, *SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.float32), np.zeros(4, np.float32)],
    )
    def test_crops(self, crops):
        for call in self.both(crops, no_keypoints()):
            with pytest.raises(ValueError, match=r"crops are \[B, H, W, 3\] floats in 0..1 .* divide images"):
                call()

    def test_crops_of_unknown_size(self):
        call = tf.function(lambda crops: OPERATIONS["Rotate"](crops, no_keypoints(), 3.0, (0, 0)))
        with pytest.raises(ValueError, match="set shapes with tf.ensure_shape"):
            call.get_concrete_function(tf.TensorSpec([1, None, None, 3]))

    @pytest.mark.parametrize(
        "keypoints", [np.zeros((1, 5, 3), int), np.zeros((1, 5, 2), np.float32), np.zeros((5, 3), np.float32)]
    )
    def test_keypoints(self, keypoints):
        for call in self.both(random_crops(), keypoints):
            with pytest.raises(ValueError, match=r"keypoints are \[B, K, 3\] floats"):
                call()

    @pytest.mark.parametrize("level", [-1, 10.5, np.float32([11]), float("nan")])
    def test_level(self, level):
        with pytest.raises(ValueError, match="Rotate: magnitude levels run from 0 to 10, not"):
            OPERATIONS["Rotate"](random_crops(), no_keypoints(), level, (0, 0))

    def test_operations(self):
        for operations in ([["Rotate", "Scale"]], np.zeros((1, 2), np.float32)):
            with pytest.raises(ValueError, match="operations are integers, rows of OPERATION_NAMES"):
                ops.apply_chain(random_crops(), no_keypoints(), operations, self.LEVEL, (0, 0))
        with pytest.raises(ValueError, match=r"operations and levels are \[B, N\]"):
            ops.apply_chain(random_crops(), no_keypoints(), [3, 4], self.LEVEL, (0, 0))
        with pytest.raises(ValueError, match=r"operations and levels are \[B, N\]"):
            ops.apply_chain(random_crops(), no_keypoints(), self.ROW, [3.0, 4.0], (0, 0))
        with pytest.raises(ValueError, match=r"operations and levels are \[B, N\]"):
            ops.apply_chain(random_crops(), no_keypoints(), self.ROW, self.LEVEL[:, :1], (0, 0))
