import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from p2net_tf.data import image_files
from p2net_tf.data.image_files import decode_image, jpeg_orientation, orient
from p2net_tf.data.image_headers import image_headers, image_sizes
from p2net_tf.data.unreadable_images import unreadable_images

ORIENTATIONS = range(1, 9)
HTML_PAGE = "is an HTML page, as servers send it in place of a file, not an image; download it again"


def picture(height=48, width=80, seed=0) -> np.ndarray:
    """Blocks of random color, so that no two orientations look alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3))
    return np.kron(blocks, np.ones((16, 16, 1))).astype(np.uint8)


def encoded(pixels, format_="JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def jpeg_with_orientation(orientation, endian="<", **options) -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a maker, so that the orientation is not the only tag"
    exif[0x0112] = orientation
    return encoded(picture(), exif=exif, quality=95, **options)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_upright(contents):
    return decode_image(contents, exif_orientation=True)


class TestDecode:
    @pytest.mark.parametrize("endian", ["<", ">"])
    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_all_orientations_turn_as_pillow_turns_them(self, orientation, endian):
        contents = jpeg_with_orientation(orientation, endian)
        order = contents.index(b"Exif") + 6
        assert contents[order : order + 2] == (b"II" if endian == "<" else b"MM")
        with Image.open(io.BytesIO(contents)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        assert int(jpeg_orientation(tf.constant(contents))) == orientation
        np.testing.assert_array_equal(decode_upright(tf.constant(contents)), expected)

    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_orientation_is_ignored_unless_asked_for(self, orientation):
        # TensorFlow's decoders never turn an image, which is what data sets annotated on stored pixels need.
        contents = jpeg_with_orientation(orientation)
        expected = np.asarray(Image.open(io.BytesIO(contents)))
        assert expected.shape == (48, 80, 3)
        np.testing.assert_array_equal(decode_image(tf.constant(contents)), expected)

    def test_orient_follows_the_exif_definition(self):
        """Exif 2.3, 4.6.4: which stored corner is the visual top-left, and where the rows run."""
        stored = tf.constant([[[1], [2], [3]], [[4], [5], [6]]])
        expected = {
            1: [[1, 2, 3], [4, 5, 6]],
            2: [[3, 2, 1], [6, 5, 4]],
            3: [[6, 5, 4], [3, 2, 1]],
            4: [[4, 5, 6], [1, 2, 3]],
            5: [[1, 4], [2, 5], [3, 6]],
            6: [[4, 1], [5, 2], [6, 3]],
            7: [[6, 3], [5, 2], [4, 1]],
            8: [[3, 6], [2, 5], [1, 4]],
        }
        for orientation, upright in expected.items():
            assert orient(stored, tf.constant(orientation))[..., 0].numpy().tolist() == upright

    def test_orientation_of_other_bytes_is_one(self):
        good = jpeg_with_orientation(6)
        at = good.index(b"Exif")
        beyond = good[: at + 10] + b"\xff\xff\xff\x7f" + good[at + 14 :]
        negative = good[: at + 10] + b"\xff\xff\xff\xff" + good[at + 14 :]
        tag = b"\x12\x01\x03\x00\x01\x00\x00\x00"
        odd_value = good.replace(tag + b"\x06", tag + b"\x63")
        assert odd_value != good
        no_exif, png = encoded(picture()), encoded(picture(), "PNG")
        short = (b"", b"x", b"\xff\xd8\xff", good[: at + 8])
        for contents in (*short, beyond, negative, odd_value, no_exif, png):
            assert int(jpeg_orientation(tf.constant(contents))) == 1

    def test_decodes_without_python_in_a_dataset(self):
        contents = [jpeg_with_orientation(orientation) for orientation in (1, 6)]
        dataset = tf.data.Dataset.from_tensor_slices(contents)
        shapes = [image.shape for image in dataset.map(lambda value: decode_image(value, True))]
        assert shapes == [(48, 80, 3), (80, 48, 3)]

    def test_is_traced_once_for_all_pipelines(self, monkeypatch):
        traces = []

        def traced(contents, exif_orientation):
            traces.append(contents)
            return decode(contents, exif_orientation)

        decode = image_files._decode
        monkeypatch.setattr(image_files, "_decode", traced)
        image_files._decoder.cache_clear()
        for _ in range(3):
            list(tf.data.Dataset.from_tensors(jpeg_with_orientation(6)).map(decode_image))
        image_files._decoder.cache_clear()
        assert len(traces) == 1

    @pytest.mark.parametrize("format_", ["PNG", "BMP", "GIF"])
    def test_lossless_formats_keep_their_pixels(self, format_):
        flat = np.full((16, 32, 3), (10, 200, 30), np.uint8)
        np.testing.assert_array_equal(decode_image(tf.constant(encoded(flat, format_))), flat)

    def test_grey_becomes_rgb(self):
        grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
        decoded = decode_image(tf.constant(encoded(grey, "PNG")))
        np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=-1))


class TestHeaders:
    def test_sizes_are_width_height_in_the_order_asked_and_zero_where_unreadable(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(jpeg_with_orientation(6))
        (tmp_path / "b.png").write_bytes(encoded(picture(16, 32), "PNG"))
        (tmp_path / "c.jpg").write_bytes(b"no image")
        names = ["b.png", "a.jpg", "c.jpg", "missing.jpg", "b.png"]
        sizes = image_sizes([str(tmp_path / name) for name in names])
        assert sizes.dtype == np.float32
        assert sizes.tolist() == [[32, 16], [80, 48], [0, 0], [0, 0], [32, 16]]

    def test_exif_turns_sizes_only_when_asked(self, tmp_path):
        path = tmp_path / "a.jpg"
        for orientation in ORIENTATIONS:
            path.write_bytes(jpeg_with_orientation(orientation))
            sizes, formats = image_headers([str(path)], exif_orientation=True)
            expected = decode_image(tf.constant(path.read_bytes()), True).shape
            assert sizes[0].tolist() == [expected[1], expected[0]]
            assert formats.tolist() == ["JPEG"]

    def test_no_paths(self):
        assert image_sizes([]).shape == (0, 2)
        assert unreadable_images([]) == {}


class TestUnreadable:
    def test_exactly_the_broken_files_with_their_reason(self, tmp_path):
        jpeg, png = jpeg_with_orientation(1), encoded(picture(), "PNG")
        files = {
            "good.jpg": jpeg,
            "png_named.jpg": png,
            "cut.jpg": jpeg[: len(jpeg) // 2],
            "cut.png": png[: len(png) // 2],
            "empty.jpg": b"",
            "text.jpg": b"<html>404</html>",
        }
        for name, contents in files.items():
            (tmp_path / name).write_bytes(contents)
        (tmp_path / "folder.jpg").mkdir()
        paths = [str(tmp_path / name) for name in [*files, "missing.jpg", "folder.jpg", "cut.jpg"]]
        found = unreadable_images(paths)
        assert {path.rsplit("/", 1)[1]: reason for path, reason in found.items()} == {
            "cut.jpg": "truncated JPEG",
            "cut.png": "truncated PNG",
            "empty.jpg": "empty file",
            "folder.jpg": "is a folder, not an image",
            "missing.jpg": "missing",
            "text.jpg": HTML_PAGE,
        }

    def test_a_header_alone_is_not_enough(self, tmp_path):
        """A JPEG cut after its header has a size, and fails only when it is decoded."""
        contents = encoded(picture(480, 640), quality=95)
        path = tmp_path / "cut.jpg"
        path.write_bytes(contents[:1000])
        assert image_sizes([str(path)]).tolist() == [[640, 480]]
        assert unreadable_images([str(path)]) == {str(path): "truncated JPEG"}

    def test_real_images_are_readable(self, data_root):
        paths = [str(path) for path in sorted((data_root / "coco_tiny").glob("*2017/*.jpg"))]
        assert len(paths) == 134
        assert unreadable_images(paths) == {}
