"""A folder of pictures, as PNGs where TensorFlow cannot read them."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from p2net_tf.data.convert_images import convert_images
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.samples import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in/below").mkdir(parents=True)
    Image.fromarray(PIXELS).save(tmp_path / "in/a.tif")
    Image.fromarray(PIXELS).save(tmp_path / "in/below/b.png")
    (tmp_path / "in/notes.txt").write_text("notes")
    return tmp_path


@pytest.mark.parametrize(("keep", "name"), [(False, "a.png"), (True, "a.tif")])
def test_pixels_stay(folder, keep, name):
    done = convert_images(folder / "in", folder / "out", keep_names=keep)
    assert (done.converted, done.copied) == (1, 1)
    assert done.left_out == {str(folder / "in/notes.txt"): "is a text file, not an image"}
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(folder / "out").as_posix() for path in files) == [name, "below/b.png"]
    for path in files:
        np.testing.assert_array_equal(decode_image(tf.io.read_file(str(path))), PIXELS)


def test_nothing_is_replaced_unasked(folder):
    convert_images(folder / "in", folder / "out")
    with pytest.raises(DataError, match="is there already"):
        convert_images(folder / "in", folder / "out")
    convert_images(folder / "in", folder / "out", overwrite=True)
    with pytest.raises(DataError, match="lies in the folder"):
        convert_images(folder / "in", folder / "in/out")
