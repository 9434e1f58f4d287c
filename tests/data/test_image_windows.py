"""Windows of image files: the pixels of the whole picture, and what reducing it costs."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_windows import RATIOS, decode_window

SIZE = (75, 101)
KINDS = [
    ("JPEG", "RGB", {"subsampling": 0}),
    ("JPEG", "RGB", {"subsampling": 1}),
    ("JPEG", "RGB", {"subsampling": 2}),
    ("JPEG", "RGB", {"subsampling": 2, "progressive": True}),
    ("JPEG", "L", {}),
    ("PNG", "RGB", {}),
    ("BMP", "RGB", {}),
]


def contents_of(pixels, format_="JPEG", mode="RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format_, **options)
    return file.getvalue()


def turned_jpeg(pixels, orientation) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return contents_of(pixels, exif=exif, quality=95)


def noise(size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize(("format_", "mode", "options"), KINDS)
def test_a_window_has_the_pixels_of_the_picture(format_, mode, options):
    contents = tf.constant(contents_of(noise(), format_, mode, **options))
    whole, random = decode_image(contents).numpy(), np.random.default_rng(1)
    for _ in range(20):
        top, left = random.integers(-30, SIZE[0] + 20), random.integers(-30, SIZE[1] + 20)
        bottom, right = top + random.integers(1, 60), left + random.integers(1, 60)
        found = decode_window(contents, (top, left, bottom, right))
        assert (found.size.numpy().tolist(), int(found.ratio)) == (list(SIZE), 1)
        y, x = found.corner.numpy()
        height, width = found.image.shape[:2]
        seen = np.s_[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        shown = np.full(whole.shape, 7, np.uint8)
        shown[y : y + height, x : x + width] = found.image
        np.testing.assert_array_equal(shown[seen], whole[seen])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_of_a_turned_picture(orientation):
    contents = tf.constant(turned_jpeg(noise(), orientation))
    whole = decode_image(contents, exif_orientation=True).numpy()
    found = decode_window(contents, (20, 30, 44, 61), exif_orientation=True)
    assert found.size.numpy().tolist() == list(whole.shape[:2])
    top, left = 20 - found.corner.numpy()[0], 30 - found.corner.numpy()[1]
    np.testing.assert_array_equal(found.image[top : top + 24, left : left + 31], whole[20:44, 30:61])


@pytest.mark.parametrize("ratio", RATIOS)
def test_reduced_pixels_are_the_means_of_their_squares(ratio):
    """To a grey level or two: libjpeg sums in the frequency domain, and rounds."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = 128 + 60 * np.sin(x / 9)[..., None] * np.cos(y[..., None] / 7 + np.arange(3))
    contents = tf.constant(contents_of(np.uint8(np.rint(waves)), quality=98, subsampling=0))
    found = decode_window(contents, (0, 0, *SIZE), ratio, RATIOS)
    height, width = (side // ratio for side in SIZE)
    squares = decode_image(contents).numpy()[: height * ratio, : width * ratio].astype(float)
    means = squares.reshape(height, ratio, width, ratio, 3).mean(axis=(1, 3))
    assert found.size.numpy().tolist() == [-(-side // ratio) for side in SIZE]
    assert int(found.ratio) == ratio
    np.testing.assert_allclose(found.image[:height, :width], means, atol=2)


def test_a_reduced_window_is_that_of_the_reduced_picture():
    contents = tf.constant(contents_of(noise((160, 200))))
    whole = decode_window(contents, (0, 0, 160, 200), 4, RATIOS).image.numpy()
    found = decode_window(contents, (41, 50, 99, 133), 4, RATIOS)
    (top, left), (height, width) = found.corner.numpy(), found.image.shape[:2]
    assert (top <= 10 and left <= 12) and (top + height >= 25 and left + width >= 34)
    np.testing.assert_array_equal(found.image, whole[top : top + height, left : left + width])


def test_what_cannot_be_reduced_comes_whole_and_says_so():
    """A PNG, and a turned JPEG whose last square would be cut on the other side."""
    png, turned = contents_of(noise(), "PNG"), turned_jpeg(noise(), 3)
    assert int(decode_window(tf.constant(png), ratio=4, ratios=RATIOS).ratio) == 1
    assert int(decode_window(tf.constant(turned), ratio=4, ratios=RATIOS, exif_orientation=True).ratio) == 1
    even = tf.constant(turned_jpeg(noise((80, 96)), 6))
    found = decode_window(even, ratio=4, ratios=RATIOS, exif_orientation=True)
    assert (int(found.ratio), found.size.numpy().tolist()) == (4, [24, 20])


def test_broken_bytes_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_window(tf.constant(contents_of(noise())[:200]))


class TestDamageBehindTheWindow:
    """In the lower half of a picture, of which a window in the upper half is asked for."""

    WINDOW = (2, 3, 30, 60)

    @pytest.fixture(scope="class")
    def contents(self) -> bytes:
        return contents_of(noise((160, 120)), quality=90)

    @pytest.mark.parametrize("ratio", [1, 2])
    @pytest.mark.parametrize(
        "damage",
        [
            lambda contents: contents[: len(contents) * 3 // 4],
            lambda contents: contents[:-1],
            lambda contents: contents[: len(contents) * 3 // 4] + bytes(len(contents) // 4),
        ],
        ids=["cut", "without its last byte", "zeros to the end"],
    )
    def test_a_picture_without_its_end_fails_as_it_does_whole(self, contents, damage, ratio):
        broken = tf.constant(damage(contents))
        for decode in (decode_image, lambda broken: decode_window(broken, self.WINDOW, ratio, RATIOS)):
            with pytest.raises(tf.errors.InvalidArgumentError):
                decode(broken)

    @pytest.mark.parametrize(("behind", "whole"), [(b"\n", False), (bytes(14), False), (bytes(100), True)])
    def test_a_picture_with_bytes_behind_its_end_is_sound(self, contents, behind, whole):
        """Where there are many, its end is not looked for, and all of it is decoded."""
        found, pixels = decode_window(tf.constant(contents + behind), self.WINDOW), decode_image(contents)
        assert (found.image.shape[0] == 160) == whole
        top, left, bottom, right = self.WINDOW
        y, x = found.corner.numpy()
        seen = found.image[top - y : bottom - y, left - x : right - x]
        np.testing.assert_array_equal(seen, pixels[top:bottom, left:right])

    def test_a_hole_in_the_middle_is_not_noticed_and_not_shown(self, contents):
        """Who only reads the window cannot know; the check before a training reads everything."""
        place = len(contents) * 3 // 4
        broken = tf.constant(contents[:place] + b"\xff\xd8" + contents[place + 2 :])
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_image(broken)
        found = decode_window(broken, self.WINDOW)
        sound = decode_window(tf.constant(contents), self.WINDOW)
        assert sound.image.shape[0] < 40
        np.testing.assert_array_equal(found.image, sound.image)
