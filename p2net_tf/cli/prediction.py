"""`p2net predict`: poses in one's own pictures."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2net_tf.cli.options import Detector, MinScore, Strict, is_override, start, writable_folder

if TYPE_CHECKING:
    from p2net_tf.inference.sources import Sources

app = typer.Typer()


class Table(StrEnum):
    """Suffixes of a table of keypoints."""

    csv = "csv"
    parquet = "parquet"


@app.command(
    epilog="Example: `p2net predict photo.jpg`; with boxes of yours: `p2net predict photo.jpg --boxes "
    "40,20,120,300`; of a video: `p2net predict street.mp4 --detect-every 5 --smooth`"
)
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="pictures, videos, folders or patterns of them, http addresses (fetched for as long as they "
            "are looked at, and not kept), rtsp streams, camera:0; and key=value changes, such as "
            "evaluation.nms=oks"
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
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="print JSON and nothing else: of pictures predictions.json, with videos a line for every "
            "picture and frame",
        ),
    ] = False,
):
    """Find poses in pictures and videos.

    Of pictures: overlays with confidence, JSON in COCO result form, and a table of keypoints. Of a video:
    people who keep their number, as an annotated video, JSON and a table. What cannot be read is set aside,
    and in problems.json.
    """
    if sum([boxes is not None, whole_image, detector is not None]) > 1:
        raise typer.BadParameter("give one of --boxes, --detector and --whole-image")
    if min_score is not None and (boxes is not None or whole_image):
        raise typer.BadParameter(
            "--min-score is for boxes of a detector; of --boxes take evaluation.box_threshold"
        )
    start(as_json)
    from p2net_tf.cli.prediction_run import Prediction
    from p2net_tf.detection.opening import WHOLE_IMAGE
    from p2net_tf.inference.run_folder import is_network
    from p2net_tf.inference.sources import find_sources

    for word in sources:
        if is_network(word):  # other verbs take it first
            raise typer.BadParameter(f"{word} is a network, not a picture: give it as --model {word}")
    overrides = [word for word in sources if is_override(word)]
    with tempfile.TemporaryDirectory(prefix="p2net_") as downloads:
        found = find_sources([word for word in sources if word not in overrides], downloads)
        _demand_fit(found, boxes, top, detect_every, smooth)
        settings = {"detector": WHOLE_IMAGE if whole_image else detector, "min_score": min_score}
        prediction = Prediction(model, found, overrides, out, strict, as_json, table.value, settings)
        prediction.run({"boxes": boxes, "top": top}, {"detect_every": detect_every, "smooth": smooth})


def _demand_fit(found: Sources, boxes: str | None, top: int | None, detect_every: int, smooth: bool) -> None:
    """No option is without effect."""
    if found.videos:
        video = found.named(found.videos[0])
        if boxes is not None:
            raise typer.BadParameter(f"--boxes are of pictures; in {video} a detector looks for people")
        if top is not None:
            raise typer.BadParameter(f"--top is of pictures; in {video} raise --min-score")
    elif not found.problems:
        for name, given in (("--detect-every", detect_every > 1), ("--smooth", smooth)):
            if given:
                raise typer.BadParameter(f"{name} is of videos, and there is none")
