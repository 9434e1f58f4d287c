"""Picture files of every kind that people bring, made here, against Pillow's `convert("RGB")`.

They are equal, read by a stated rule, or refused by name.
"""

import io
import os
import struct
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from p2net_tf.data.image_files import FileReader, decode_file, decode_image, portable_bytes
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import DataError
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.inference.pictures import load_picture

HEIGHT, WIDTH = 53, 77
random = np.random.default_rng(3)


def smooth(channels: int) -> np.ndarray:
    """`[H, W, channels]` uint8 with slopes and details, sides that no block of a JPEG divides."""
    coarse = random.integers(0, 256, (9, 11, channels)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).reshape(HEIGHT, WIDTH, channels)


RGB = smooth(3)
ALPHA = smooth(1)
ALPHA[:20, :20] = 0
DEEP = RGB.astype(np.uint16) * 256 + random.integers(0, 256, RGB.shape).astype(np.uint16)
COLOR, CLEAR = Image.fromarray(RGB), Image.fromarray(np.dstack([RGB, ALPHA]))
GREY, BLACK_WHITE = COLOR.convert("L"), COLOR.convert("1")
PALETTE, FEW = COLOR.quantize(200), COLOR.quantize(16)
GREY_16 = Image.fromarray(DEEP[..., 0])


def pillow(image: Image.Image, format_: str, **options) -> bytes:
    file = io.BytesIO()
    # A copy, because Pillow leaves the options of one format on the image for the next.
    image.copy().save(file, format_, **options)
    return file.getvalue()


def movie() -> dict:
    """Options by which Pillow writes a second picture."""
    return {"save_all": True, "append_images": [COLOR.rotate(180)]}


def opencv(suffix: str, pixels: np.ndarray, *flags: int) -> bytes:
    colors = pixels if pixels.shape[-1] == 1 else pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]
    return cv2.imencode(suffix, colors, flags)[1].tobytes()


def bmp(bits: int, rows: bytes, height: int = HEIGHT) -> bytes:
    """An uncompressed BMP with a header of 40 bytes."""
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + header + rows


BGRX = np.dstack([RGB[..., ::-1], np.zeros((HEIGHT, WIDTH, 1), np.uint8)])
PADDED = np.pad(RGB[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, -WIDTH * 3 % 4)))
PACKED = (
    ((RGB[..., 0] >> 3).astype("<u2") << 10) | ((RGB[..., 1] >> 3).astype("<u2") << 5) | (RGB[..., 2] >> 3)
)
PACKED = np.pad(PACKED, ((0, 0), (0, WIDTH % 2)))

IN_GRAPH = {
    "jpeg 4:4:4": pillow(COLOR, "JPEG", subsampling=0),
    "jpeg 4:2:2": pillow(COLOR, "JPEG", subsampling=1),
    "jpeg 4:2:0": pillow(COLOR, "JPEG", subsampling=2),
    "jpeg 4:1:1": opencv(".jpg", RGB, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "jpeg 4:4:0": opencv(".jpg", RGB, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "jpeg progressive": pillow(COLOR, "JPEG", progressive=True),
    "jpeg restart markers": pillow(COLOR, "JPEG", restart_marker_blocks=2),
    "jpeg coarse": pillow(COLOR, "JPEG", quality=5),
    "jpeg grey": pillow(GREY, "JPEG"),
    "jpeg rgb": pillow(COLOR, "JPEG", keep_rgb=True),
    "jpeg cmyk": pillow(COLOR.convert("CMYK"), "JPEG"),
    "jpeg with a tail": pillow(COLOR, "JPEG") + b"more",
    "mpo": pillow(COLOR, "MPO", **movie()),
    "png": pillow(COLOR, "PNG"),
    "png alpha": pillow(CLEAR, "PNG"),
    "png grey": pillow(GREY, "PNG"),
    "png grey alpha": pillow(CLEAR.convert("LA"), "PNG"),
    "png palette": pillow(PALETTE, "PNG"),
    "png palette of 4 bits": pillow(FEW, "PNG", bits=4),
    "png palette with a clear color": pillow(PALETTE, "PNG", transparency=3),
    "png 1 bit": pillow(BLACK_WHITE, "PNG"),
    "png clear color": pillow(COLOR, "PNG", transparency=tuple(RGB[0, 0].tolist())),
    "png 16 bit": opencv(".png", DEEP),
    "png 16 bit alpha": opencv(".png", np.dstack([DEEP, ALPHA.astype(np.uint16) * 257])),
    "apng": pillow(COLOR, "PNG", **movie()),
    "gif": pillow(PALETTE, "GIF"),
    "gif interlaced": pillow(PALETTE, "GIF", interlace=1),
    "gif animated": pillow(PALETTE, "GIF", **movie()),
    "gif grey": pillow(GREY, "GIF"),
    "bmp": pillow(COLOR, "BMP"),
    "bmp 32 bit": bmp(32, BGRX[::-1].tobytes()),
    "bmp alpha": pillow(CLEAR, "BMP"),
    "bmp top down": bmp(24, PADDED.tobytes(), -HEIGHT),
    "webp": pillow(COLOR, "WEBP"),
    "webp lossless": pillow(COLOR, "WEBP", lossless=True),
    "webp alpha": pillow(CLEAR, "WEBP"),
    "webp lossless alpha": pillow(CLEAR, "WEBP", lossless=True),
    "webp lossless alpha, hidden colors": pillow(CLEAR, "WEBP", lossless=True, exact=True),
    "webp profile": pillow(COLOR, "WEBP", icc_profile=bytes(128)),
}
"""What the decoder in the graph reads to Pillow's pixels."""

BY_PILLOW = {
    "bmp palette": pillow(PALETTE, "BMP"),
    "bmp grey": pillow(GREY, "BMP"),
    "bmp 1 bit": pillow(BLACK_WHITE, "BMP"),
    "bmp 16 bit": bmp(16, PACKED[::-1].tobytes()),
    "webp animated": pillow(COLOR, "WEBP", **movie()),
    "webp animated alpha": pillow(CLEAR, "WEBP", **movie()),
    "tiff": pillow(COLOR, "TIFF"),
    "tiff lzw": pillow(COLOR, "TIFF", compression="tiff_lzw"),
    "tiff jpeg": pillow(COLOR, "TIFF", compression="jpeg"),
    "tiff grey": pillow(GREY, "TIFF"),
    "tiff palette": pillow(PALETTE, "TIFF"),
    "tiff 1 bit": pillow(BLACK_WHITE, "TIFF"),
    "tiff cmyk": pillow(COLOR.convert("CMYK"), "TIFF"),
    "tiff alpha": pillow(CLEAR, "TIFF"),
    "tiff 16 bit": opencv(".tiff", DEEP),
    "tiff pages": pillow(COLOR, "TIFF", **movie()),
    "avif": pillow(COLOR, "AVIF"),
    "avif alpha": pillow(CLEAR, "AVIF"),
    "jpeg 2000": pillow(COLOR, "JPEG2000"),
    "jpeg 2000 stream": pillow(COLOR, "JPEG2000", no_jp2=True),
    "ppm": pillow(COLOR, "PPM"),
    "pgm": pillow(GREY, "PPM"),
    "gif with a clear color": pillow(PALETTE, "GIF", transparency=2),
    "tga": pillow(COLOR, "TGA"),
    "pcx": pillow(COLOR, "PCX"),
    "qoi": pillow(COLOR, "QOI"),
    "sgi": pillow(COLOR, "SGI"),
}
"""What Pillow reads in our place."""

HIGH_BYTE = np.repeat((DEEP[..., :1] >> 8).astype(np.uint8), 3, axis=-1)
BY_RULE = {
    "png 16 bit grey": (pillow(GREY_16, "PNG"), HIGH_BYTE),
    "tiff 16 bit grey": (pillow(GREY_16, "TIFF"), HIGH_BYTE),
    "tiff 16 bit grey, lzw": (opencv(".tiff", DEEP[..., :1]), HIGH_BYTE),
    "pgm 16 bit": (b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP[..., 0].astype(">u2").tobytes(), HIGH_BYTE),
}
"""Where Pillow's own conversion is white above level 255: the high byte."""


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"picture")
    return file.getvalue()


FLOATS = pillow(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF")
REFUSED = {
    "page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page"),
    "page with a mark": (b"\xef\xbb\xbf\n <HTML>", "is an HTML page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
                "is a Git LFS pointer: git lfs pull"),
    "nothing": (b"", "empty file"),
    "zeros": (bytes(4000), "is nothing but zeros"),
    "two bytes": (b"BM", "is the first two bytes of a BMP"),
    "text": ("Größe".encode(), "is a text file, not an image"),
    "json": (b' {"error": "not found"}', "is a JSON document, not an image"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing; render"),
    "zip": (zipped(), "is a ZIP archive; unpack it"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is a PDF; render its pages"),
    "mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "is a video, which `p2net predict` takes; else cut it"),
    "mkv": (b"\x1aE\xdf\xa3\x01\0\0\0", "is a video"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture; convert it to PNG or JPEG"),
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n\0\0", "is a JPEG XL picture; convert it"),
    "cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "is a camera RAW file"),
    "dng": (pillow(COLOR, "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "camera RAW file that begins with"),
    "floats": (FLOATS, "floating-point numbers of unknown range"),
    "noise": (b"\x07\x95" * 300, "not an image"),
    "cut jpeg": (IN_GRAPH["jpeg 4:2:0"][:-400], "truncated JPEG"),
    "cut png": (IN_GRAPH["png"][:-900], "truncated PNG"),
    "cut tiff": (BY_PILLOW["tiff"][:3000], "TIFF that cannot be read|truncated TIFF"),
    "cut webp": (IN_GRAPH["webp"][:300], "WebP"),
    "broken png": (IN_GRAPH["png"][:60] + b"\0\0\0\0" + IN_GRAPH["png"][64:], "PNG"),
    "header alone": (b"\x89PNG\r\n\x1a\n", "broken PNG"),
}  # fmt: skip


def of_pillow(contents: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(contents)) as image:
        return np.asarray(image.convert("RGB"))


def test_there_are_forty_and_more():
    assert len(IN_GRAPH) + len(BY_PILLOW) + len(BY_RULE) >= 40


class TestEqual:
    def test_in_the_graph(self):
        decode = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])
        wrong = [k for k, v in IN_GRAPH.items() if not np.array_equal(decode(tf.constant(v)), of_pillow(v))]
        assert wrong == []

    def test_as_files_in_a_pipeline(self, tmp_path):
        """All kinds in one data set, each by whatever reads it, in rows that are mixed."""
        files = {**IN_GRAPH, **BY_PILLOW}
        paths = []
        for number, contents in enumerate(files.values()):
            paths.append(str(tmp_path / f"{number}.jpg"))
            (tmp_path / f"{number}.jpg").write_bytes(contents)
        assert unreadable_images(paths) == {}
        reader = FileReader(paths, exif_orientation=False)
        assert reader.by_pillow.tolist() == [False] * len(IN_GRAPH) + [True] * len(BY_PILLOW)
        rows = tf.data.Dataset.range(len(paths))
        images = rows.map(lambda row: decode_image(reader.contents(row)), num_parallel_calls=2)
        wrong = [
            name
            for (name, contents), image in zip(files.items(), images.as_numpy_iterator(), strict=True)
            if not np.array_equal(image, of_pillow(contents))
        ]
        assert wrong == []
        sizes, formats = image_headers(paths)
        assert sizes.tolist() == [[WIDTH, HEIGHT]] * len(paths)
        assert "" not in formats.tolist()

    @pytest.mark.parametrize("name", BY_RULE)
    def test_by_a_rule(self, tmp_path, name):
        contents, expected = BY_RULE[name]
        (tmp_path / "a.png").write_bytes(contents)
        np.testing.assert_array_equal(decode_file(str(tmp_path / "a.png")), expected)
        np.testing.assert_array_equal(load_picture(tmp_path / "a.png"), expected)
        np.testing.assert_array_equal(load_picture(Image.open(tmp_path / "a.png")), expected)

    def test_what_a_gif_leaves_transparent_is_black_in_a_graph_that_is_alone(self):
        contents = pillow(CLEAR, "GIF")
        with Image.open(io.BytesIO(contents)) as image:
            shown = np.asarray(image.convert("RGBA"))
        expected = shown[..., :3] * (shown[..., 3:] > 0)
        np.testing.assert_array_equal(decode_image(tf.constant(contents)), expected)

    def test_a_graph_without_rare_files_holds_no_python(self, tmp_path):
        for name in ("png", "tiff"):
            (tmp_path / name).write_bytes({**IN_GRAPH, **BY_PILLOW}[name])
        for names, expected in ((["png"], False), (["png", "tiff"], True)):
            reader = FileReader([str(tmp_path / name) for name in names], exif_orientation=False)
            graph = tf.function(reader.contents).get_concrete_function(tf.constant(0, tf.int64)).graph
            assert ("PyFunc" in str(graph.as_graph_def())) == expected

    @pytest.mark.parametrize("name", ["tiff 16 bit", "webp animated", "bmp palette", "jpeg 4:2:0"])
    def test_for_servers_and_records(self, tmp_path, name):
        contents = {**IN_GRAPH, **BY_PILLOW}[name]
        (tmp_path / "a").write_bytes(contents)
        sent = portable_bytes(str(tmp_path / "a"))
        assert sent == contents if name in IN_GRAPH else sent.startswith(b"\x89PNG")
        np.testing.assert_array_equal(decode_image(tf.constant(sent)), of_pillow(contents))


@pytest.mark.parametrize("sets", ["lsp/images/im100*.jpg", "coco_tiny/*2017/*0.jpg", "mpii_*/**/*.jpg"])
def test_real_jpegs_are_pillows_bit_for_bit(data_root, sets):
    paths = sorted(data_root.glob(sets))
    assert len(paths) >= 4
    for path in paths:
        np.testing.assert_array_equal(
            decode_image(tf.io.read_file(str(path))), of_pillow(path.read_bytes()), path.name
        )


class TestRefused:
    @pytest.mark.parametrize("name", REFUSED)
    def test_by_name(self, tmp_path, name):
        contents, words = REFUSED[name]
        path = tmp_path / "a.jpg"
        path.write_bytes(contents)
        (reason,) = unreadable_images([str(path)]).values()
        assert any(word in reason for word in words.split("|")), reason
        with pytest.raises(DataError) as refusal:
            load_picture(path)
        assert str(refusal.value) == f"{path}: {reason}"
        assert "{{" not in reason and "[Op:" not in reason and "\n" not in reason

    def test_a_folder(self, tmp_path):
        (tmp_path / "a.jpg").mkdir()
        assert list(unreadable_images([str(tmp_path / "a.jpg")]).values()) == ["is a folder, not an image"]

    def test_a_pipe(self, tmp_path):
        """Whoever opens one waits for somebody to write into it."""
        os.mkfifo(tmp_path / "a.jpg")
        assert image_headers([str(tmp_path / "a.jpg")])[0].tolist() == [[0, 0]]
        reasons = unreadable_images([str(tmp_path / "a.jpg")])
        assert list(reasons.values()) == ["is a pipe or device, not an image"]
        with pytest.raises(DataError, match="is a pipe"):
            load_picture(tmp_path / "a.jpg")

    @pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg"])
    def test_a_name_that_no_file_can_have(self, tmp_path, name):
        path = f"{tmp_path}/{name}"
        assert image_headers([path])[0].tolist() == [[0, 0]]
        assert unreadable_images([path]) == {path: "missing"}
        with pytest.raises(DataError, match="missing"):
            load_picture(path)

    @pytest.mark.parametrize("name", ["bmp palette", "bmp 16 bit", "webp animated", "tiff", "avif"])
    def test_in_a_graph_that_is_alone(self, name):
        with pytest.raises(tf.errors.InvalidArgumentError, match="convert it to PNG or JPEG"):
            decode_image(tf.constant(BY_PILLOW[name]))


class TestTurned:
    @pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_exif_of_every_format(self, tmp_path, format_):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "a"
        path.write_bytes(pillow(COLOR, format_, exif=exif))
        with Image.open(path) as image:
            # Of a TIFF Pillow itself gives no other pixels than the upright ones.
            stored, upright = np.asarray(image), np.asarray(ImageOps.exif_transpose(image))
        assert upright.shape[:2] == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(decode_file(str(path), exif_orientation=True), upright)
        np.testing.assert_array_equal(decode_file(str(path)), stored)
        assert image_headers([str(path)], exif_orientation=True)[0].tolist() == [[HEIGHT, WIDTH]]
        assert image_headers([str(path)])[0].tolist() == [[stored.shape[1], stored.shape[0]]]


def test_a_name_that_is_no_utf8(tmp_path):
    path = tmp_path.as_posix() + "/caf\udce9.png"
    with open(path, "wb") as file:
        file.write(IN_GRAPH["png"])
    with open(tmp_path / "good.jpg", "wb") as file:
        file.write(IN_GRAPH["jpeg grey"])
    assert unreadable_images([path, str(tmp_path / "good.jpg")]) == {}
    np.testing.assert_array_equal(load_picture(path), RGB)
