"""What a person means by a source: pictures, folders, patterns, addresses, videos, cameras."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from p2net_tf.data.image_kinds import PICTURE_SUFFIXES
from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import replacing

VIDEO_SUFFIXES = frozenset((
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
))  # fmt: skip
_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "udp://")
_CAMERA = re.compile(r"camera:(\d+)")
_WEB = ("http://", "https://")
_LARGEST = 2**30
"""Bytes of a download."""
_PATIENCE = 30
"""Seconds without an answer."""


@dataclass(frozen=True)
class Sources:
    """Where poses are looked for.

    Attributes:
        pictures: paths, in the order given; those of a folder by name.
        videos: files, addresses of streams, and devices of cameras.
    """

    pictures: tuple[str, ...]
    videos: tuple[str, ...]


def find_sources(words: Iterable[str], downloads: str | Path) -> Sources:
    """The pictures and videos that the words mean.

    A word is a picture, a video, a folder of both (not of what lies deeper), a pattern such as `day*/*.jpg`,
    `http://` or `https://` of one file, which is fetched, the address of a stream such as `rtsp://camera/1`,
    or `camera:0`.

    Args:
        downloads: folder of the fetched files.

    Raises:
        DataError: a folder or pattern without pictures, or an address that cannot be fetched.
    """
    pictures, videos = [], []
    for word in words:
        for found in _meant(word, Path(downloads)):
            (videos if is_video(found) else pictures).append(found)
    return Sources(tuple(pictures), tuple(videos))


def is_video(source: str) -> bool:
    """Whether it is to be read as a video: by its suffix, or because it is a stream or a camera."""
    return source.startswith((*_STREAMS, "/dev/video")) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def _meant(word: str, downloads: Path) -> list[str]:
    if camera := _CAMERA.fullmatch(word):
        return [f"/dev/video{camera[1]}"]
    if word.startswith(_STREAMS):
        return [word]
    if word.startswith(_WEB):
        return [fetched(word, downloads)]
    if os.path.isdir(word):
        return _in_folder(word, sorted(os.path.join(word, name) for name in os.listdir(word)))
    if not os.path.exists(word) and glob.has_magic(word):
        return _in_folder(word, sorted(glob.glob(word, recursive=True)))
    return [word]


def _in_folder(word: str, paths: list[str]) -> list[str]:
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    found = [path for path in paths if Path(path).suffix.lower() in known and os.path.isfile(path)]
    if not found:
        raise DataError(f"{word}: no picture or video in it; give a folder, or a pattern, that has some")
    return found


def fetched(address: str, folder: Path) -> str:
    """A file from the web, kept in `folder` under its own name behind a part of its address's digest.

    Raises:
        DataError: it cannot be fetched, or is larger than a gigabyte.
    """
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name or "download"
    goal = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:8]}_{name}"
    if goal.is_file():
        return str(goal)
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE) as answer, replacing(goal) as scratch:
            if int(answer.headers.get("Content-Length") or 0) > _LARGEST:
                raise DataError(f"{address}: more than a gigabyte; fetch it yourself, and give its path")
            with open(scratch, "wb") as file:
                shutil.copyfileobj(_Limited(answer, address), file)
    except (OSError, ValueError) as error:  # urllib's own are OSErrors
        raise DataError(f"{address}: cannot be fetched ({error}); give the path of a file") from None
    return str(goal)


class _Limited:
    """What a server sends, as long as it is not too much: it need not say how much beforehand."""

    def __init__(self, answer, address: str):
        self._answer, self._address, self._left = answer, address, _LARGEST

    def read(self, size: int) -> bytes:
        block = self._answer.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise DataError(f"{self._address}: more than a gigabyte; fetch it yourself, and give its path")
        return block
