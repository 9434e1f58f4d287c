"""The page over HTTP: what is answered, what is refused, and that nothing else can be had."""

import http.client
import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest

from p2net_tf.serving.webapp import server
from p2net_tf.serving.webapp.server import LARGEST_FILE, WebApp, WebAppError

BYTES = {"Content-Type": "application/octet-stream"}


def ask(page, method, path, body=None, headers=None):
    """`(status, headers, body)`."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    try:
        connection.request(method, path, body, BYTES if headers is None else headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def send(page, path, body, **fields):
    """`(status, document)`."""
    status, _, answer = ask(page, "POST", f"{path}?{urlencode(fields)}", body)
    return status, json.loads(answer)


class TestFiles:
    @pytest.mark.parametrize(
        ("path", "kind"), [("/", "text/html"), ("/app.css", "text/css"), ("/app.js", "text/javascript")]
    )
    def test_three(self, page, path, kind):
        status, headers, body = ask(page, "GET", path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert len(body) > 1000
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")

    def test_nothing_comes_from_elsewhere(self, page):
        """Also where there is no internet."""
        text = b"".join(ask(page, "GET", path)[2] for path in ("/", "/app.css", "/app.js")).decode()
        assert set(re.findall(r"https?://[^\s'\"]+", text)) == {"http://www.w3.org/2000/svg"}
        linked = re.findall(r'(?:src|href)="([^"]+)"', ask(page, "GET", "/")[2].decode())
        assert [link for link in linked if not link.startswith("data:")] == ["app.css", "app.js"]

    @pytest.mark.parametrize(
        "path",
        [
            "/etc/passwd",
            "//etc/passwd",
            "/../../setup.cfg",
            "/%2e%2e/%2e%2e/setup.cfg",
            "/page/index.html",
            "/index.html",
            "/app.js/../../server.py",
            "/?file=/etc/passwd&/../x",
        ],
    )
    def test_no_path_of_the_machine(self, page, path):
        status, _, body = ask(page, "GET", path)
        if path.startswith("/?"):
            assert body == ask(page, "GET", "/")[2]
        else:
            assert (status, json.loads(body)) == (404, {"error": "there is nothing here"})

    def test_the_model(self, page, answers):
        document = json.loads(ask(page, "GET", "/model")[2])
        assert document == answers.model() | {"largest_file": LARGEST_FILE}


class TestPictures:
    def test_people(self, page, contents, answers, photo):
        status, document = send(page, "/people", contents, name="street.png")
        assert (status, document) == (200, answers.people(photo))

    def test_a_person(self, page, contents, answers, photo, poses):
        box = ",".join(map(str, poses.boxes[1]))
        status, document = send(page, "/person", contents, name="street.png", box=box)
        assert (status, document) == (200, answers.person(photo, poses.boxes[1]))

    @pytest.mark.parametrize("path", ["/people", "/person"])
    def test_no_picture_is_refused_in_words(self, page, path):
        status, document = send(page, path, b"Dear diary,", name="diary.txt", box="0,0,9,9")
        assert (status, document) == (422, {"error": "diary.txt: is a text file, not an image"})

    def test_a_name_is_no_path(self, page, tmp_path, contents):
        """A picture of this machine is named; what was sent is looked at, and it is none."""
        (tmp_path / "mine.png").write_bytes(contents)
        status, document = send(page, "/people", b"", name=str(tmp_path / "mine.png"))
        assert (status, document) == (422, {"error": "mine.png: empty file"})

    @pytest.mark.parametrize("box", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d"])
    def test_no_box(self, page, contents, box):
        status, document = send(page, "/person", contents, box=box)
        assert (status, document["error"]) == (400, "give a box=x,y,w,h in pixels of the picture")

    @pytest.mark.parametrize("box", ["5,5,0,9", "nan,5,9,9", "5,5,inf,9"])
    def test_an_empty_box(self, page, contents, box):
        status, document = send(page, "/person", contents, box=box)
        assert status == 422
        assert "width and height must be above 0, in pixels" in document["error"]

    def test_other_paths_and_types(self, page, contents):
        assert send(page, "/predict", contents)[0] == 404
        form = {"Content-Type": "multipart/form-data"}
        assert ask(page, "POST", "/people", contents, form)[0] == 415
        assert ask(page, "OPTIONS", "/people")[0] == 501  # so no other site's page is let in

    def test_too_large_a_file(self, page):
        headers = BYTES | {"Content-Length": str(LARGEST_FILE + 1)}
        status, _, body = ask(page, "POST", "/people", b"", headers)
        assert (status, json.loads(body)) == (
            413,
            {"error": f"the body has {LARGEST_FILE + 1} bytes; this server takes up to {LARGEST_FILE}"},
        )


class Slow:
    """Answers that take their time, and see how many of them there are at once."""

    def __init__(self):
        self.inside = self.most = 0

    def people(self, photo):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.02)
        self.inside -= 1
        return {"name": photo.name}


class TestQueue:
    def test_one_at_a_time(self, contents):
        slow = Slow()
        with WebApp(slow, port=0) as page, ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda n: send(page, "/people", contents, name=f"{n}"), range(6)))
        assert found == [(200, {"name": f"{n}"}) for n in range(6)]
        assert slow.most == 1

    def test_one_too_many_is_told(self, page, contents):
        with ExitStack() as others:
            for _ in range(8):
                others.enter_context(page.turns.place())
            refused = send(page, "/people", contents)
        assert refused == (503, {"error": "8 pictures are waiting already; try again in a moment"})
        assert send(page, "/people", contents)[0] == 200

    def test_an_error_of_ours_is_words_too_and_the_next_is_answered(
        self, answers, contents, monkeypatch, caplog
    ):
        def fail(photo, box):
            raise RuntimeError("/secret/path")

        with WebApp(answers, port=0) as page:
            with monkeypatch.context() as patch:
                patch.setattr(answers, "person", fail)
                status, document = send(page, "/person", contents, box="1,2,3,4")
            assert (status, document) == (
                500,
                {"error": "the picture could not be looked at; the terminal of p2net app says more"},
            )
            assert "/secret/path" in caplog.text
            assert send(page, "/people", contents)[0] == 200


class TestPorts:
    def test_a_taken_one(self, page, answers):
        with pytest.raises(
            WebAppError, match=rf"cannot listen on 127.0.0.1:{page.port} \(Address already in use"
        ):
            WebApp(answers, port=page.port)

    def test_no_such_host(self, answers):
        with pytest.raises(WebAppError, match="cannot listen on no.such.host.invalid:0"):
            WebApp(answers, "no.such.host.invalid", 0)

    def test_the_url(self, page, answers):
        assert page.url == f"http://127.0.0.1:{page.port}/"
        with WebApp(answers, "0.0.0.0", 0) as everywhere:
            assert everywhere.url == f"http://127.0.0.1:{everywhere.port}/"


def test_serving_until_it_is_told_to_stop(answers, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(answers, "warm_up", lambda: os.kill(os.getpid(), signal.SIGINT))
    server.serve_page(answers, "127.0.0.1", 0, open_browser=True)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{opened[0]}  (Ctrl-C ends it)", "stopped"]


def test_warming_up_is_every_question(answers, monkeypatch):
    asked = []
    for name in ("people", "person"):
        real = getattr(answers, name)
        monkeypatch.setattr(
            answers, name, lambda *given, name=name, real=real: asked.append(name) or real(*given)
        )
    answers.warm_up()
    assert asked == ["people", "person"]


def test_every_file_of_the_page_is_served():
    files = {path.name for path in (Path(server.__file__).parent / "page").iterdir()}
    assert files == {name for name, _ in server._FILES.values()}
