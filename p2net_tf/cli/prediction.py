"""`p2net predict`: poses in one's own pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from p2net_tf.cli.options import AsJson, Detector, MinScore, Strict, is_override, start, writable_folder
from p2net_tf.utils.console import console, messages
from p2net_tf.utils.exceptions import Interrupted, UserError

if TYPE_CHECKING:
    from p2net_tf.cli.prediction_files import Written
    from p2net_tf.cli.video_files import WrittenVideo
    from p2net_tf.data.samples import Problem

app = typer.Typer()


class Table(StrEnum):
    """Suffixes of a table of keypoints."""

    csv = "csv"
    parquet = "parquet"


_MOST_SAID = 10
"""Problems on the terminal; problems.json has all."""


@app.command(
    epilog="Example: `p2net predict photo.jpg`; with boxes of yours: `p2net predict photo.jpg --boxes "
    "40,20,120,300`; of a video: `p2net predict street.mp4 --detect-every 5 --smooth`"
)
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="pictures, videos, folders or patterns of them, http addresses, rtsp streams, camera:0; and "
            "key=value changes, such as evaluation.nms=oks"
        ),
    ],
    model: Annotated[
        str, typer.Option(help="run folder, .keras file, or the name of a preset")
    ] = "p2net_small_lsp",
    boxes: Annotated[
        str | None, typer.Option(help="x,y,w,h in every image, or a JSON of boxes", show_default=False)
    ] = None,
    detector: Detector = None,
    min_score: MinScore = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="every image is one box")] = False,
    top: Annotated[
        int | None, typer.Option(help="keep so many poses of an image", min=1, show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="folder of overlays and predictions.json", callback=writable_folder)
    ] = Path("predictions"),
    detect_every: Annotated[
        int, typer.Option(help="of a video: the detector looks at every such frame", min=1)
    ] = 1,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="of a video: calm the joints; they lag by a part of a frame")
    ] = False,
    table: Annotated[
        Table, typer.Option(help="of keypoints; parquet needs pyarrow: pip install 'p2net_tf\\[parquet]'")
    ] = Table.csv,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Find poses in pictures and videos.

    Of pictures: overlays with confidence, JSON in COCO result form, and a table of keypoints. Of a video:
    people who keep their number, as an annotated video, JSON and a table; `--json` prints a line for every
    frame.
    """
    if sum([boxes is not None, whole_image, detector is not None]) > 1:
        raise typer.BadParameter("give one of --boxes, --detector and --whole-image")
    if min_score is not None and (boxes is not None or whole_image):
        raise typer.BadParameter(
            "--min-score is for boxes of a detector; of --boxes take evaluation.box_threshold"
        )
    start(as_json)
    from p2net_tf.detection.opening import WHOLE_IMAGE
    from p2net_tf.inference.run_folder import is_network
    from p2net_tf.inference.sources import find_sources

    for word in sources:
        if is_network(word):  # other verbs take it first
            raise typer.BadParameter(f"{word} is a network, not a picture: give it as --model {word}")
    overrides = [word for word in sources if is_override(word)]
    found = find_sources([word for word in sources if word not in overrides], out)
    if boxes is not None and found.videos:
        raise typer.BadParameter(f"--boxes are of pictures; in {found.videos[0]} a detector looks for people")
    if top is not None and found.videos:
        raise typer.BadParameter(f"--top is of pictures; in {found.videos[0]} raise --min-score")
    if whole_image:
        detector = WHOLE_IMAGE
    done, faults = 0, []
    if found.pictures or not found.videos:
        from p2net_tf.cli.prediction_files import NothingReadable, predict_files

        pictures = [Path(path) for path in found.pictures]
        try:
            written = predict_files(
                model, pictures, boxes, out, overrides, top, strict, detector, min_score, table.value
            )
        except NothingReadable as error:
            faults.append(error)
            if found.videos:
                _say_set_aside(error)
        else:
            _say_pictures(written, out, as_json)
            done += 1
    if found.videos:
        from p2net_tf.cli.video_files import predict_videos

        settings = {"detector": detector, "min_score": min_score}
        settings |= {"detect_every": detect_every, "smooth": smooth, "table": table.value, "strict": strict}
        for written in predict_videos(model, found.videos, out, overrides, as_json, **settings):
            if isinstance(written, UserError):
                faults.append(written)
                if done or len(found.videos) > 1:
                    _say_set_aside(written)
            else:
                _say_video(written, as_json)
                done += 1
    if not done:
        raise faults[0]


def _say_set_aside(problem: Problem | UserError) -> None:
    messages.print(f"[yellow]set aside[/yellow] {escape(str(problem))}", soft_wrap=True)


def _say_pictures(written: Written, out: Path, as_json: bool) -> None:
    broken = [problem for problem in written.problems if problem.severity == "error"]
    for problem in written.problems:
        if problem.severity != "error":
            messages.print(f"[yellow]{problem.severity}[/yellow] {escape(str(problem))}", soft_wrap=True)
    for problem in broken[:_MOST_SAID]:
        _say_set_aside(problem)
    if len(broken) > _MOST_SAID:
        messages.print(f"{len(broken)} set aside in all: {out / 'problems.json'}", soft_wrap=True)
    if not written.boxes:
        messages.print("nobody was found: take a lower --min-score, or give --boxes or --whole-image")
    if written.unlimited:
        messages.print(
            f"every one of {written.boxes} detected boxes has a pose; thin them out by evaluation.nms=oks, "
            "evaluation.box_threshold=0.5 or --top"
        )
    if as_json:
        console.file.write((out / "predictions.json").read_text(encoding="utf-8"))
    else:
        console.print(f"{written.poses} poses in {written.overlays} images: {out}", soft_wrap=True)


def _say_video(written: WrittenVideo, as_json: bool) -> None:
    if written.broken:
        messages.print(
            f"[yellow]passed over[/yellow] {escape(written.source)}: {written.broken} frames that cannot be "
            "decoded",
            soft_wrap=True,
        )
    if written.resized:
        messages.print(
            f"[yellow]scaled[/yellow] {escape(written.source)}: {written.resized} frames of another size "
            "than the first, in the annotated video; in the other files they have their own pixels",
            soft_wrap=True,
        )
    if written.interrupted:
        raise Interrupted(f"{written.source}: {written.frames} frames are done, and in {written.files[0]}")
    if not as_json:
        console.print(
            f"{written.people} people in {written.frames} frames: {escape(str(written.files[0]))}",
            soft_wrap=True,
        )
