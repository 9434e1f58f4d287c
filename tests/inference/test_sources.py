"""Words that mean pictures and videos."""

import http.server
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.samples import DataError
from p2net_tf.inference import downloads
from p2net_tf.inference.pictures import load_picture
from p2net_tf.inference.sources import Pictures, PictureStream, Sources, Video, find_sources, open_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures, a video, and what is neither."""
    for name in ("b.JPG", "a.png", "walk.mp4", "notes.txt", "deeper/c.webp", "odd[1].jpg"):
        (tmp_path / "day" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "day" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "pictures", "videos"),
    [
        (["day"], ["day/a.png", "day/b.JPG", "day/odd[1].jpg"], ["day/walk.mp4"]),
        (["day/*.png", "day/b.JPG"], ["day/a.png", "day/b.JPG"], []),
        (["day/**/*.webp"], ["day/deeper/c.webp"], []),
        (["day/odd[1].jpg"], ["day/odd[1].jpg"], []),  # a name, before a pattern
        (
            ["day/notes.txt", "missing.jpg"],
            ["day/notes.txt", "missing.jpg"],
            [],
        ),  # named itself: reported later
        (["camera:2", "rtsp://door/1"], [], ["/dev/video2", "rtsp://door/1"]),
        (["missing.MOV", "tape.flv"], [], ["missing.MOV", "tape.flv"]),
    ],
)
def test_what_is_meant(folder, words, pictures, videos):
    assert find_sources(words, "out") == Sources(tuple(pictures), tuple(videos))


@pytest.mark.parametrize("word", ["day/deeper/none", "day/*.gif"])
def test_nothing_in_it(folder, word):
    """Is told of that word; the others mean what they mean."""
    (folder / "day/deeper/none").mkdir()
    found = find_sources([word, "day/a.png"], "out")
    assert found.pictures == ("day/a.png",)
    assert [(problem.file, problem.severity) for problem in found.problems] == [(word, "error")]
    assert "no picture or video in it" in found.problems[0].detail
    with ExitStack() as stack, pytest.raises(DataError, match="no picture or video in it"):
        open_source(word, stack)


def test_a_video_by_its_first_bytes(folder):
    Path("day/recording").write_bytes(b"\0\0\0\x20ftypisom" + bytes(600))
    assert find_sources(["day/recording"], "out").videos == ("day/recording",)


PIXELS = np.full((6, 8, 3), 90, np.uint8)


def opened(source):
    with ExitStack() as stack:
        return open_source(source, stack)


@pytest.mark.parametrize(
    ("source", "pictures"),
    [
        ("day/b.JPG", ["day/b.JPG"]),
        (Path("day/odd[1].jpg"), ["day/odd[1].jpg"]),
        (["day/*.png", Path("missing.jpg")], ["day/a.png", "missing.jpg"]),
        (("http://a.b/c.jpg", "day/b.JPG"), ["http://a.b/c.jpg", "day/b.JPG"]),
        (np.array(["day/a.png", "day/b.JPG"]), ["day/a.png", "day/b.JPG"]),
        ([], []),
    ],
)
def test_pictures_in_python(folder, source, pictures):
    found = opened(source)
    assert isinstance(found, Pictures) and list(map(str, found.pictures)) == pictures


def test_pixels_in_python():
    image = Image.fromarray(PIXELS)
    for source, count in ((PIXELS, 1), (image, 1), ([PIXELS, image], 2), (np.stack([PIXELS] * 3), 3)):
        found = opened(source)
        assert isinstance(found, Pictures) and len(found.pictures) == count
    for source in (iter([PIXELS]), (one for one in [PIXELS]), {1: PIXELS}.values(), map(np.array, [PIXELS])):
        assert opened(source) == PictureStream(source)


@pytest.mark.parametrize(
    ("source", "video"),
    [
        ("day/walk.mp4", "day/walk.mp4"),
        ("day/*.mp4", "day/walk.mp4"),
        (0, "/dev/video0"),
        (np.int64(2), "/dev/video2"),
        ("camera:1", "/dev/video1"),
        ("rtsp://door/1", "rtsp://door/1"),
    ],
)
def test_videos_in_python(folder, source, video):
    assert opened(source) == Video(video)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("day", "day: 1 of 4 files in it are videos; give each of them alone"),
        (["day/a.png", "day/walk.mp4"], "day/walk.mp4: is a video, in a list of pictures; give it alone"),
        ([0], "0 is no picture"),
        (None, "None is no picture: give a path"),
        (True, "True is no picture"),
        (2.5, "2.5 is no picture"),
        (-1, "camera -1: cameras are counted from 0"),
    ],
)
def test_what_python_does_not_take(folder, source, words):
    with pytest.raises(DataError, match=words):
        opened(source)


def test_open_files_and_their_bytes_are_pictures_of_pillow(folder):
    for source in (b"bytes", open("day/a.png", "rb")):  # noqa: SIM115
        (picture,) = opened(source).pictures
        with pytest.raises(DataError, match="PIL.Image.open makes one"):
            load_picture(picture)


@pytest.fixture
def server(tmp_path):
    """Also one that counts what it was asked for."""
    Image.fromarray(PIXELS).save(tmp_path / "street.png")
    picture = (tmp_path / "street.png").read_bytes()
    (tmp_path / "street.png").unlink()
    contents = {
        "/street%20one.png": (picture, "image/png"),
        "/walk": (b"\0\0\0\x20ftypisom" + bytes(600), "video/mp4"),
        "/live": (b"--frame", "multipart/x-mixed-replace; boundary=frame"),
        "/half.png": (picture[:40], "image/png"),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = []

        def do_GET(self):
            self.asked.append(self.path)
            content, kind = contents.get(self.path.partition("?")[0], (None, "text/html"))
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            if self.path == "/half.png":
                self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.asked
        server.shutdown()


@pytest.mark.parametrize("name", ["street%20one.png", "street one.png"])
def test_an_address_is_fetched_once(tmp_path, server, name):
    address = f"{server[0]}/{name}?size=large"
    found = find_sources([address, address], tmp_path)
    path, same = found.pictures
    assert path == same and path.endswith("/street one.png") and found.named(path) == address
    assert np.array_equal(load_picture(path), PIXELS)
    assert len(server[1]) == 1


def test_nothing_of_an_address_is_left(tmp_path, server, monkeypatch):
    """Of a picture the pixels, of a video its file until it is closed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ExitStack() as stack:
        (picture,) = open_source(f"{server[0]}/street%20one.png", stack).pictures
        assert np.array_equal(picture, PIXELS)
    assert np.array_equal(load_picture(f"{server[0]}/street%20one.png"), PIXELS)
    with ExitStack() as stack:
        assert Path(open_source(f"{server[0]}/walk", stack).source).is_file()
    assert not list(tmp_path.iterdir())


def test_a_live_stream_is_not_fetched(tmp_path, server):
    address = f"{server[0]}/live"
    assert find_sources([address], tmp_path).videos == (address,)
    assert opened(address) == Video(address)
    with pytest.raises(DataError, match="/live: is a live stream, no picture"):
        load_picture(address)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.jpg", r"cannot be fetched \(HTTP Error 404.*give the path"),
        ("half.png", r"cannot be fetched \(broken off after 40 of \d+ bytes\)"),
    ],
)
def test_an_address_that_does_not_answer(tmp_path, server, name, words):
    with pytest.raises(DataError, match=f"/{name}: {words}"):
        opened(f"{server[0]}/{name}")
    (problem,) = find_sources([f"{server[0]}/{name}"], tmp_path).problems
    assert problem.file.endswith(f"/{name}") and problem.detail.startswith("cannot be fetched")
    assert not list(tmp_path.rglob("*.*"))


def test_too_much_is_left_alone(tmp_path, server, monkeypatch):
    monkeypatch.setattr(downloads, "_LARGEST", 5)
    (problem,) = find_sources([f"{server[0]}/street%20one.png"], tmp_path).problems
    assert "more than a gigabyte" in problem.detail
    assert not list(tmp_path.rglob("*.*"))
