"""What a person means by a source: pictures, folders, patterns, addresses, videos, cameras.

The one place that knows: the command line asks `find_sources` of its words, Python's front door and the
videos ask `open_source` of whatever they are given.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

from p2net_tf.data.image_kinds import HEAD_BYTES, PICTURE_SUFFIXES, is_video_head
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.inference.downloads import WEB, fetched
from p2net_tf.inference.pictures import PictureSource, as_pictures, load_picture, no_picture

VIDEO_SUFFIXES = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265",
    ".hevc", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m",
))  # fmt: skip
_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "udp://")
_CAMERA = re.compile(r"camera:(\d+)")


@dataclass(frozen=True)
class Sources:
    """Where poses are looked for.

    Attributes:
        pictures: paths, in the order given; those of a folder by name.
        videos: files, addresses of streams, and devices of cameras.
        problems: words that mean nothing that is there.
        addresses: where the fetched files are from, by their paths.
    """

    pictures: tuple[str, ...]
    videos: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)

    def named(self, source: str) -> str:
        """A picture or video in the user's own words."""
        return self.addresses.get(source, source)


def find_sources(words: Iterable[str], downloads: str | Path) -> Sources:
    """The pictures and videos that the words mean.

    A word is a picture, a video, a folder of both (not of what lies deeper), a pattern such as `day*/*.jpg`,
    `http://` or `https://` of one file, which is fetched, the address of a stream such as `rtsp://camera/1`,
    or `camera:0`.

    Args:
        downloads: folder of the fetched files, which the caller removes.
    """
    pictures, videos, problems, addresses = [], [], [], {}
    for word in words:
        try:
            for found in _meant(word, downloads):
                (videos if is_video(found) else pictures).append(found)
                if word.startswith(WEB):
                    addresses[found] = word
        except DataError as error:
            detail = str(error).removeprefix(f"{word}: ")
            problems.append(Problem("error", "source_missing", word, detail, remedy=""))
    return Sources(tuple(pictures), tuple(videos), tuple(problems), addresses)


def is_video(source: str) -> bool:
    """Whether it is to be read as a video: by its suffix, or its first bytes, or because it is a stream or a
    camera."""
    if is_live(source):
        return True
    suffix = Path(source).suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix in PICTURE_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    try:
        with open(source, "rb") as file:
            return is_video_head(file.read(HEAD_BYTES))
    except OSError:
        return False


def is_live(source: str) -> bool:
    """Whether it is the address of a stream, or a camera, and no file."""
    return source.startswith((*_STREAMS, *WEB, "/dev/video"))


@dataclass(frozen=True)
class Pictures:
    """Pictures that are all there: paths, arrays, PIL images."""

    pictures: list[PictureSource]


@dataclass(frozen=True)
class PictureStream:
    """Pictures that come one after the other, once."""

    pictures: Iterable[PictureSource]


@dataclass(frozen=True)
class Video:
    """A file, the address of a stream, or the device of a camera."""

    source: str


def open_source(
    source: Any, stack: ExitStack, files_are_videos: bool = False
) -> Pictures | PictureStream | Video:
    """What somebody's Python means.

    Args:
        source: a word as of `find_sources`; the number of a camera; an array `[H, W, 3]`, a PIL image, or
            a list of pictures, which may be words, too; whatever else gives pictures one after the other.
        stack: holds the fetched files as long as it is open.
        files_are_videos: one file is a video whatever its name, such as a GIF that moves.

    Raises:
        DataError: it is none of these, an address cannot be fetched, or a folder holds pictures and videos.
    """
    if isinstance(source, Integral) and not isinstance(source, bool):
        return Video(_camera(int(source)))
    if isinstance(source, str | Path):
        return _of_word(str(source), stack, files_are_videos)
    if not isinstance(pictures := as_pictures(source), list):
        return PictureStream(pictures)
    return Pictures([path for picture in pictures for path in _pictures_of(picture)])


def _of_word(word: str, stack: ExitStack, files_are_videos: bool) -> Pictures | Video:
    downloads = ""
    if word.startswith(WEB):
        downloads = stack.enter_context(tempfile.TemporaryDirectory(prefix="p2net_"))
    found = _meant(word, downloads)
    if files_are_videos and (found == [word] or downloads):
        return Video(found[0])
    videos = [path for path in found if is_video(path)]
    if not videos:
        # Of what is fetched nothing is left but the pixels.
        return Pictures([load_picture(path) for path in found] if downloads else found)
    if len(found) > 1:
        raise DataError(
            f"{word}: {len(videos)} of {len(found)} files in it are videos; give each of them alone, and "
            "pictures by a pattern such as '*.jpg'; or `p2net predict` takes them all"
        )
    return Video(videos[0])


def _pictures_of(picture: Any) -> list[PictureSource]:
    """One of a list: pictures alone, since each has its place in the answer."""
    if not isinstance(picture, str | Path):
        if picture is None or isinstance(picture, int | float):
            raise no_picture(picture)
        return [picture]
    word = str(picture)
    if word.startswith(WEB):
        return [word]
    found = _meant(word, "")
    if video := next(filter(is_video, found), None):
        raise DataError(f"{video}: is a video, in a list of pictures; give it alone")
    return found


def _camera(number: int) -> str:
    if number < 0:
        raise DataError(f"camera {number}: cameras are counted from 0")
    return f"/dev/video{number}"


def _meant(word: str, downloads: str | Path) -> list[str]:
    if camera := _CAMERA.fullmatch(word):
        return [_camera(int(camera[1]))]
    if word.startswith(_STREAMS):
        return [word]
    if word.startswith(WEB):
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
