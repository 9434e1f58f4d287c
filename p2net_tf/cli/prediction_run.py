"""What `p2net predict` does, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from p2net_tf.cli.prediction_files import Written, predict_files
from p2net_tf.cli.prediction_lines import print_line
from p2net_tf.cli.prediction_sources import ProblemList, look_at
from p2net_tf.cli.video_files import WrittenVideo, predict_videos
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.inference.poses import Poses
from p2net_tf.inference.sources import Sources
from p2net_tf.utils.console import console, messages
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.video.people import PeopleFrame

_MOST_SAID = 10
"""Problems on the terminal; problems.json has all."""


@dataclass
class Prediction:
    """One call of the verb.

    Attributes:
        finding: who finds the people, as of `predict_files` and `VideoPoses`.
    """

    model: str
    sources: Sources
    overrides: list[str]
    out: Path
    strict: bool
    as_json: bool
    table: str
    finding: dict

    def run(self, of_pictures: dict, of_videos: dict) -> None:
        """All sources; those that cannot be read are told before any is worked on.

        Args:
            of_pictures: further arguments of `predict_files`.
            of_videos: of `VideoPoses`.
        """
        readable = look_at(self.sources)
        self.problems = ProblemList(self.out, self.strict)
        self.problems.add(readable.problems)
        if not readable.pictures and not readable.videos:
            self.problems.raise_first()
            raise DataError("nothing to look at: give a picture, a video or a folder of them")
        _say_problems(readable.problems, self.out)
        done = self._predict_pictures(readable.pictures, of_pictures) if readable.pictures else 0
        done += self._predict_videos(readable.videos, of_videos) if readable.videos else 0
        if not done:
            self.problems.raise_first()

    def _predict_pictures(self, pictures: list[str], settings: dict) -> int:
        common = {"overrides": self.overrides, "strict": self.strict, "table": self.table}
        lines = {"on_poses": self._print_picture} if self.as_json and self.sources.videos else {}
        try:
            written = predict_files(
                self.model, pictures, out=self.out, **common, **self.finding, **settings, **lines
            )
        except BrokenPipeError:
            raise Interrupted(f"nobody reads any more; the pictures are done: {self.out}") from None
        self.problems.add(written.problems)
        if self.as_json and not lines:  # of pictures alone one document, as their file
            console.file.write((self.out / "predictions.json").read_text(encoding="utf-8"))
        say_pictures(written, self.out, self.as_json)
        return 1

    def _predict_videos(self, videos: list[str], settings: dict) -> int:
        done, lines = 0, {"on_frame": self._print_frame} if self.as_json else {}
        settings = {"table": self.table} | self.finding | settings | lines
        for written in predict_videos(self.model, videos, self.out, self.overrides, **settings):
            if isinstance(written, Problem):
                found = [replace(written, file=self.sources.named(written.file))]
            else:
                written = replace(written, source=self.sources.named(written.source))
                found, done = written.problems, done + 1
            self.problems.add(found)
            _say_problems(found, self.out)
            if not isinstance(written, Problem):
                _say_video(written, self.as_json)
        return done

    def _print_picture(self, poses: Poses, entries: list[dict], image_id: Any) -> None:
        print_line(self.sources.named(poses.source), entries, image_id=image_id)

    def _print_frame(self, source: str, frame: PeopleFrame) -> None:
        print_line(self.sources.named(source), frame.to_coco(), frame=frame.number, time=frame.time)


def _say_problems(problems: list[Problem], out: Path) -> None:
    broken = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        if problem.severity != "error":
            messages.print(f"[yellow]{problem.severity}[/yellow] {escape(str(problem))}", soft_wrap=True)
    for problem in broken[:_MOST_SAID]:
        messages.print(f"[yellow]set aside[/yellow] {escape(str(problem))}", soft_wrap=True)
    if len(broken) > _MOST_SAID:
        messages.print(f"{len(broken)} set aside in all: {out / 'problems.json'}", soft_wrap=True)


def say_pictures(written: Written, out: Path, as_json: bool) -> None:
    _say_problems(list(written.problems), out)
    if not written.boxes:
        messages.print("nobody was found: take a lower --min-score, or give --boxes or --whole-image")
    if written.unlimited:
        messages.print(
            f"every one of {written.boxes} detected boxes has a pose; thin them out by evaluation.nms=oks, "
            "evaluation.box_threshold=0.5 or --top"
        )
    if not as_json:
        console.print(f"{written.poses} poses in {written.overlays} images: {out}", soft_wrap=True)


def _say_video(written: WrittenVideo, as_json: bool) -> None:
    if written.interrupted:
        raise Interrupted(f"{written.source}: {written.frames} frames are done, and in {written.files[0]}")
    if not as_json:
        console.print(
            f"{written.people} people in {written.frames} frames: {escape(str(written.files[0]))}",
            soft_wrap=True,
        )
