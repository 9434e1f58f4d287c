"""What is told from a picture's bytes without TensorFlow: nothing passes that TensorFlow then refuses."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.data.image_files import decode_image
from p2net_tf.data.unreadable_images import decodes_anywhere

JPEGS = [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"restart_marker_blocks": 4}]


def contents_of(format_: str, mode: str = "RGB", **options) -> bytes:
    y, x = np.mgrid[:60, :80]
    smooth = np.stack([(x * 3 + y) % 256, y * 4, x ^ y], axis=-1) // 2
    pixels = smooth + np.random.default_rng(0).integers(0, 128, (60, 80, 3))
    file = io.BytesIO()
    Image.fromarray(np.uint8(pixels)).convert(mode).save(file, format_, **options)
    return file.getvalue()


SOUND = [
    *(contents_of("JPEG", **options) for options in JPEGS),
    contents_of("JPEG", "L"),
    contents_of("JPEG", "CMYK"),
    contents_of("PNG"),
    contents_of("PNG", "P"),
    contents_of("PNG", "RGBA"),
]


def decodes(contents: bytes) -> bool:
    try:
        decode_image(contents)
    except tf.errors.OpError:
        return False
    return True


def damaged(contents: bytes, random: np.random.Generator) -> bytes:
    """In one of six ways, in the header as often as behind it."""
    start = 2 if random.random() < 0.5 else min(600, len(contents) // 2)
    place = int(random.integers(start, len(contents) - 4))
    before, after = contents[:place], contents[place:]
    noise = random.bytes(int(random.integers(1, 64)))
    return [
        lambda: before,
        lambda: before + noise + after,
        lambda: before + after[len(noise) :],
        lambda: before + noise + after[len(noise) :],
        lambda: before + b"\xff" + noise[:1] + after[2:],
        lambda: before + bytes([after[0] ^ 1 << int(random.integers(8))]) + after[1:],
    ][random.integers(6)]()


@pytest.mark.parametrize("number", range(len(SOUND)))
def test_sound_pictures_are_known_as_such(number):
    assert decodes_anywhere(SOUND[number]) and decodes(SOUND[number])


def test_a_line_break_behind_the_end_is_no_fault():
    """As 33 pictures of LSP have it."""
    assert decodes_anywhere(SOUND[0] + b"\n") and decodes(SOUND[0] + b"\n")


@pytest.mark.parametrize("format_", ["BMP", "GIF", "WEBP", "TIFF"])
def test_of_other_kinds_nothing_is_said(format_):
    assert not decodes_anywhere(contents_of(format_))


@pytest.mark.parametrize("number", range(len(SOUND)))
def test_nothing_passes_that_tensorflow_refuses(number):
    """Most damage TensorFlow does not mind; what it minds, nobody lets pass."""
    random = np.random.default_rng(number)
    broken = [damaged(SOUND[number], random) for _ in range(60)]
    refused = [not decodes(contents) for contents in broken]
    passed = [decodes_anywhere(contents) for contents in broken]
    assert sum(refused) > 5
    assert not any(np.logical_and(refused, passed))
