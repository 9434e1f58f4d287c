"""Everything that is to be predicted, looked at before any of it is worked on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from p2net_tf.data.check import write_problems
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.inference.sources import Sources, is_live
from p2net_tf.utils.exceptions import UserError
from p2net_tf.video.reading import VideoError, VideoReader

_OF_VIDEOS = "video_"


class ProblemList:
    """What was set aside, and what else is to be said; `problems.json` has all of it at any time.

    Args:
        folder: of the file.
        strict: the first error is raised.
    """

    def __init__(self, folder: Path, strict: bool):
        self._path, self._strict = folder / "problems.json", strict
        self.problems: list[Problem] = []

    def add(self, problems: Iterable[Problem]) -> None:
        """
        Raises:
            VideoError, DataError: `strict`, and one is an error.
        """
        self.problems += problems
        if self._strict:
            self.raise_first()
        write_problems(self.problems, self._path)

    def raise_first(self) -> None:
        """Raises the first error, where there is one."""
        for problem in self.problems:
            if problem.severity == "error":
                raise _error(problem)


def _error(problem: Problem) -> UserError:
    return (VideoError if problem.kind.startswith(_OF_VIDEOS) else DataError)(str(problem))


@dataclass(frozen=True)
class Readable:
    """What is left of sources.

    Attributes:
        pictures, videos: as of `Sources`.
        problems: of all the others.
    """

    pictures: list[str]
    videos: list[str]
    problems: list[Problem]


def look_at(sources: Sources) -> Readable:
    """Which of the sources can be read; of streams and cameras that shows when they are."""
    problems = list(sources.problems)
    for name, reason in unreadable_images(sources.pictures, exif_orientation=True).items():
        kind = "image_missing" if reason == "missing" else "image_broken"
        problems.append(Problem("error", kind, name, reason, "give the path of a picture"))
    problems += filter(None, map(_video_problem, sources.videos))
    broken = {problem.file for problem in problems}
    return Readable(
        [name for name in sources.pictures if name not in broken],
        [name for name in sources.videos if name not in broken],
        [replace(problem, file=sources.named(problem.file)) for problem in problems],
    )


def _video_problem(source: str) -> Problem | None:
    if is_live(source):
        return None
    if not os.path.exists(source):
        return Problem("error", f"{_OF_VIDEOS}missing", source, "missing", "give the path of a video")
    try:
        VideoReader(source).close()
    except VideoError as error:
        return broken_video(source, error)
    return None


def broken_video(source: str, error: UserError) -> Problem:
    """Of a video that cannot be read."""
    return Problem("error", f"{_OF_VIDEOS}broken", source, str(error).removeprefix(f"{source}: "), remedy="")
