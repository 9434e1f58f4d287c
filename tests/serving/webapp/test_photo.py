"""Pictures from a browser: what is read, and the words of what is not."""

import io

import numpy as np
import pytest
from picture_bytes import encoded
from PIL import Image

from p2net_tf.data.samples import DataError
from p2net_tf.serving.webapp import photo
from p2net_tf.serving.webapp.photo import file_name, read_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_pixels_of_every_kind_of_file(form):
    found = read_photo(encoded(PIXELS, form), "street")
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.name == "street"


def test_a_picture_is_turned_as_it_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter of a turn clockwise
    found = read_photo(encoded(PIXELS, "png", exif=exif.tobytes()), "street.png")
    np.testing.assert_array_equal(found.pixels, np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "street.jpg: empty file"),
        (b"Dear diary,", "street.jpg: is a text file, not an image"),
        (b"<!doctype html>", "street.jpg: is an HTML page"),
        (b"%PDF-1.7", "street.jpg: is a PDF; render its pages"),
        (encoded(PIXELS, "jpeg")[:200], "street.jpg: truncated JPEG"),
        (bytes(range(200, 256)) * 20, "street.jpg: not an image"),
    ],
)
def test_what_is_no_picture_is_refused_in_the_words_of_the_readers(contents, words):
    with pytest.raises(DataError) as refusal:
        read_photo(contents, "C:\\secret\\street.jpg")
    assert str(refusal.value).startswith(words)
    assert "p2net_app_" not in str(refusal.value) and "secret" not in str(refusal.value)


def test_too_many_pixels_are_refused_by_the_header(monkeypatch):
    """67 million pixels are 200 MB; no decoder sees them."""
    monkeypatch.setattr(photo, "decode_file", None)
    bomb = io.BytesIO()
    Image.new("1", (8193, 8192)).save(bomb, "PNG")
    with pytest.raises(DataError, match="bomb.png: has 8193 x 8192 pixels, and at most 67108864 are taken"):
        read_photo(bomb.getvalue(), "bomb.png")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("street.jpg", "street.jpg"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\a.png", "a.png"),
        ("", "picture"),
        ("..", ".."),
        ("a\n\x1b[31mb.jpg", "a[31mb.jpg"),
        ("straße 7.jpg", "straße 7.jpg"),
        ("x" * 300 + ".jpg", "x" * 116 + ".jpg"),
    ],
)
def test_names_are_for_words_alone(given, name):
    assert file_name(given) == name
