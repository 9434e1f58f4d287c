"""The page, its pictures and its answers over HTTP, for a browser on this machine.

What a browser can get is three files of this package and answers about the bytes that it sends: no path of a
request is ever looked up on the disk. Nothing that is sent is kept.
"""

from __future__ import annotations

import json
import logging
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from urllib.parse import parse_qs, urlsplit

import numpy as np

from p2net_tf.serving.defaults import LARGEST_MESSAGE
from p2net_tf.serving.http_server import HttpError, HttpHandler, RunningHttpServer
from p2net_tf.serving.stopping import stop_signals
from p2net_tf.serving.webapp.answers import PhotoAnswers
from p2net_tf.serving.webapp.photo import Photo, read_photo
from p2net_tf.serving.webapp.turns import Turns
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError

PORT = 8502
"""Beside those of `p2net serve`."""
LARGEST_FILE = LARGEST_MESSAGE
"""Bytes of a picture's file."""

_MOST_WAITING = 8
"""Pictures inside at the same time, in memory; one of them is worked on."""
_LAST_WORDS = 5.0
"""Seconds for the answer that is on its way when the server is told to stop."""
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
}
_JSON = "application/json"
_BYTES = "application/octet-stream"
_LOCAL = ("127.0.0.1", "localhost")
_log = logging.getLogger(__name__)


class WebAppError(UserError):
    """The page cannot be offered; the message says why."""


class WebApp(RunningHttpServer):
    """The page at `http://host:port/`; a port of 0 takes a free one. A context manager that stops it.

    Raises:
        WebAppError: the port is taken, or there is no such host.
    """

    def __init__(self, answers: PhotoAnswers, host: str = _LOCAL[0], port: int = PORT):
        self._host = host
        self.turns = Turns(_MOST_WAITING)
        try:
            super().__init__(_Handler, _Context(answers, self.turns), host, port, "webapp")
        except OSError as error:
            raise WebAppError(
                f"cannot listen on {host}:{port} ({error.strerror}); take another port, or 0 for a free one"
            ) from None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = self._host if self._host not in ("", "0.0.0.0") else _LOCAL[0]
        return f"http://{host}:{self.port}/"

    def __enter__(self) -> WebApp:
        return self

    def __exit__(self, *_) -> None:
        self.stop(_LAST_WORDS)


def serve_page(answers: PhotoAnswers, host: str, port: int, open_browser: bool) -> None:
    """Offers the page until Ctrl-C or SIGTERM.

    Raises:
        WebAppError: the port is taken, or there is no such host.
    """
    with stop_signals() as asked, WebApp(answers, host, port) as page:
        messages.print(f"{page.url}  (Ctrl-C ends it)", soft_wrap=True)
        if host not in _LOCAL:
            messages.print(
                "Whoever reaches this machine can use the page: no TLS, no password.", soft_wrap=True
            )
        if open_browser:
            webbrowser.open(page.url)
        with page.turns.turn:  # whoever is quick waits for it, and no longer than for a picture of others
            answers.warm_up()
        asked.wait()
    messages.print("stopped")


@dataclass(frozen=True)
class _Context:
    answers: PhotoAnswers
    turns: Turns


class _Handler(HttpHandler):
    largest_body = LARGEST_FILE
    headers_of_all = {
        # Nothing from elsewhere, whatever a page or a picture's name holds.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }

    def get(self) -> tuple[str, bytes]:
        path = urlsplit(self.path).path
        if path == "/model":
            return _JSON, _json(self.server.context.answers.model() | {"largest_file": LARGEST_FILE})
        if path not in _FILES:
            raise HttpError(404, "there is nothing here", closes=False)
        name, kind = _FILES[path]
        return kind, (resources.files("p2net_tf.serving.webapp") / "page" / name).read_bytes()

    def post(self) -> tuple[str, bytes]:
        url = urlsplit(self.path)
        answers, turns = self.server.context.answers, self.server.context.turns
        if url.path not in ("/people", "/person"):
            raise HttpError(404, "pictures are sent to /people, and with a box to /person")
        # A page of another site cannot send this type without the browser asking here first (CORS), in vain.
        if self.headers.get("Content-Type") != _BYTES:
            raise HttpError(415, f"send the bytes of a picture as {_BYTES}")
        fields = _fields(url.query)
        box = _box(fields) if url.path == "/person" else None
        with turns.place():
            contents = self.read_body()
            with turns.turn:
                photo = _asked(lambda: read_photo(contents, fields.get("name", "")))
                return _JSON, _json(_asked(lambda: _answer(answers, photo, box)))


def _answer(answers: PhotoAnswers, photo: Photo, box: np.ndarray | None) -> dict:
    return answers.people(photo) if box is None else answers.person(photo, box)


def _asked(work: Callable):
    """What `work` returns; its errors as answers, those of a user in their own words."""
    try:
        return work()
    except UserError as error:
        raise HttpError(422, str(error), closes=False) from None
    except Exception:
        _log.exception("a picture could not be looked at")
        raise HttpError(
            500, "the picture could not be looked at; the terminal of p2net app says more", closes=False
        ) from None


def _fields(query: str) -> dict[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(query, max_num_fields=4).items()}
    except ValueError:
        raise HttpError(400, "too many fields in the address") from None


def _box(fields: dict[str, str]) -> np.ndarray:
    """`[4]` float32 of `box=x,y,w,h`; whether it is a box is the estimator's to say."""
    numbers = fields.get("box", "").split(",")
    if len(numbers) == 4:
        with suppress(ValueError):
            return np.float32([float(number) for number in numbers])
    raise HttpError(400, "give a box=x,y,w,h in pixels of the picture")


def _json(document: dict) -> bytes:
    return json.dumps(document).encode("utf-8")
