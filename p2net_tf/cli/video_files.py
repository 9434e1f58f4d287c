"""From a video to an annotated one, its poses as a COCO result file, and a table of its keypoints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from p2net_tf.cli.keypoint_tables import open_table
from p2net_tf.cli.prediction_files import keypoint_rows, open_estimator
from p2net_tf.cli.prediction_sources import broken_video
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.utils.console import progress
from p2net_tf.utils.files import make_folder, replacing
from p2net_tf.video.people import PeopleFrame, VideoPoses
from p2net_tf.video.reading import VideoError, VideoReader
from p2net_tf.video.writing import VideoWriter

_COLUMNS = {
    "frame": int, "time": float, "track_id": int, "keypoint": str, "x": float, "y": float, "score": float,
}  # fmt: skip
_USUAL_RATE = 30.0


@dataclass(frozen=True)
class WrittenVideo:
    """What `predict_video` did.

    Attributes:
        source: as it was given.
        files: that were written.
        frames: how many were looked at.
        people: how many have a number.
        broken: frames that could not be decoded.
        resized: frames of another size than the first; the annotated video has them scaled and padded, the
            other files have their own pixels.
        interrupted: Ctrl-C, or a program that reads no more lines, ended it; the files hold what was done so
            far.
    """

    source: str
    files: tuple[Path, ...]
    frames: int
    people: int
    broken: int
    resized: int
    interrupted: bool

    @property
    def problems(self) -> list[Problem]:
        """What is to be said of single frames."""
        found = []
        if self.broken:
            detail = f"{self.broken} frames cannot be decoded, and are passed over"
            found.append(Problem("warning", "frames_broken", self.source, detail, ""))
        if self.resized:
            detail = (
                f"{self.resized} frames of another size than the first, scaled in the annotated video; in "
                "the other files they have their own pixels"
            )
            found.append(Problem("warning", "frames_resized", self.source, detail, ""))
        return found


def predict_videos(
    model: str,
    sources: Sequence[str],
    out: Path,
    overrides: Sequence[str] = (),
    on_frame: Callable[[str, PeopleFrame], None] = lambda source, frame: None,
    table: str = "csv",
    **settings: Any,
) -> Iterator[WrittenVideo | Problem]:
    """`predict_video` of each, as they are done; of one that cannot be read, what is wrong with it.

    Args:
        model, overrides: as `predict_files` takes them; `evaluation.nms` and `evaluation.box_threshold` thin
            out the people of a frame.
        on_frame: called with the source and every frame.
        table: `csv` or `parquet`.
        settings: of `VideoPoses`.
    """
    pose, evaluation = open_estimator(model, overrides)
    people = VideoPoses(pose, evaluation=evaluation, **settings)
    names: set[str] = set()
    for source in sources:
        name = _name_of(source, names)
        try:
            yield predict_video(people, source, out, name, lambda frame: on_frame(source, frame), table)  # noqa: B023
        except (VideoError, DataError) as error:
            yield broken_video(source, error)


def predict_video(
    people: VideoPoses,
    source: str,
    folder: str | Path,
    name: str,
    on_frame: Callable[[PeopleFrame], None] = lambda frame: None,
    table: str = "csv",
) -> WrittenVideo:
    """Writes `NAME.mp4`, `NAME.json` and a table of keypoints into the folder, as the video is read.

    Ctrl-C and a video that breaks off leave whole files of what was done.

    Args:
        source: a file, the address of a stream, or a camera's device.
        name: of the files.
        on_frame: called with every frame.
        table: `csv` or `parquet`, and the suffix of the table.

    Raises:
        VideoError: the video cannot be opened.
        DataError: not one frame of it can be decoded.
    """
    folder = make_folder(folder)
    files = tuple(folder / f"{name}{suffix}" for suffix in (".mp4", ".json", f".{table}"))
    numbers, frames, resized, interrupted, size = set(), 0, 0, False, None
    with VideoReader(source) as video, ExitStack() as stack:
        pictures = stack.enter_context(VideoWriter(files[0], video.rate or _USUAL_RATE))
        add_entries = stack.enter_context(_json_list(files[1]))
        add_rows = stack.enter_context(open_table(files[2], _COLUMNS))
        advance = stack.enter_context(progress(Path(source).name, len(video) or None))
        try:
            for frame in people.predict(video):
                drawn = frame.draw()
                size = size or drawn.shape[:2]
                if drawn.shape[:2] != size:
                    drawn, resized = _padded(drawn, size), resized + 1
                pictures.write(drawn, frame.time)
                add_entries(frame.to_coco())
                add_rows(_rows(frame))
                on_frame(frame)
                advance()
                numbers.update(frame.ids.tolist())
                frames += 1
        except (KeyboardInterrupt, BrokenPipeError):
            interrupted = True
        broken = video.broken
        if not frames and not interrupted:
            raise DataError(f"{source}: no frame of it can be decoded; give a video that plays")
    return WrittenVideo(source, files, frames, len(numbers), broken, resized, interrupted)


def _name_of(source: str, taken: set[str]) -> str:
    """Of the files of a video; a number keeps those of the same name in different folders apart."""
    stem = re.sub(r"[^\w.-]+", "_", Path(source).stem if "://" not in source else source.split("://")[1])
    name, count = stem, 1
    while name in taken:
        name, count = f"{stem}_{count + 1}", count + 1
    taken.add(name)
    return name


def _padded(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The whole picture, scaled into `(height, width)`, with black beside it."""
    return np.asarray(ImageOps.pad(Image.fromarray(picture), size[::-1]))


def _rows(frame: PeopleFrame) -> Iterator[tuple]:
    """One a person and keypoint, in continuous pixels (`p2net_tf.keypoints.geometry`)."""
    for person, *rest in keypoint_rows(frame.poses):
        yield frame.number, frame.time, int(frame.ids[person]), *rest


@contextmanager
def _json_list(path: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """A JSON document of a list that grows, of which nothing is kept in memory."""
    with replacing(path) as scratch, open(scratch, "w", encoding="utf-8") as file:
        first = True

        def add(entries: Iterable[dict]) -> None:
            nonlocal first
            for entry in entries:
                file.write(("[" if first else ",\n") + json.dumps(entry))
                first = False

        yield add
        file.write("[]\n" if first else "]\n")
