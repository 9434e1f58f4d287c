"""Words that mean pictures and videos."""

import http.server
import threading
from pathlib import Path

import pytest

from p2net_tf.data.samples import DataError
from p2net_tf.inference import sources
from p2net_tf.inference.sources import Sources, find_sources


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
    (folder / "day/deeper/none").mkdir()
    with pytest.raises(DataError, match="no picture or video in it"):
        find_sources([word], "out")


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path.startswith("/street%20one.jpg")
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"pixels" if known else b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_fetched_once(tmp_path, server):
    address = f"{server}/street%20one.jpg?size=large"
    (path,) = find_sources([address], tmp_path).pictures
    assert path.endswith("_street one.jpg") and Path(path).read_bytes() == b"pixels"
    Path(path).write_bytes(b"kept")
    assert find_sources([address], tmp_path).pictures == (path,)
    assert Path(path).read_bytes() == b"kept"


def test_an_address_that_does_not_answer(tmp_path, server):
    with pytest.raises(DataError, match=r"/none.jpg: cannot be fetched \(HTTP Error 404.*give the path"):
        find_sources([f"{server}/none.jpg"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_too_much_is_left_alone(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sources, "_LARGEST", 5)
    with pytest.raises(DataError, match="more than a gigabyte"):
        find_sources([f"{server}/street%20one.jpg"], tmp_path)
    assert not list(tmp_path.iterdir())
