"""`p2net predict`: poses in one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from p2net_tf.cli.options import AsJson, Strict, is_override, start, writable_folder
from p2net_tf.utils.console import console, messages

app = typer.Typer()

_MOST_SAID = 10
"""Problems on the terminal; problems.json has all."""


@app.command(
    epilog="Example: `p2net predict photo.jpg`; with boxes of yours: `p2net predict photo.jpg --boxes "
    "40,20,120,300`"
)
def predict(
    images: Annotated[
        list[str], typer.Argument(help="pictures; and key=value changes, such as evaluation.nms=oks")
    ],
    model: Annotated[
        str, typer.Option(help="run folder, .keras file, or the name of a preset")
    ] = "p2net_small_lsp",
    boxes: Annotated[
        str | None, typer.Option(help="x,y,w,h in every image, or a JSON of boxes", show_default=False)
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="finds the people: run folder or .keras file of a detector, SavedModel, hub:PRESET; "
            "without --boxes the small detector that ships",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="boxes of the detector must score above it; by default as it says itself",
            min=0,
            max=1,
            show_default=False,
        ),
    ] = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="every image is one box")] = False,
    top: Annotated[
        int | None, typer.Option(help="keep so many poses of an image", min=1, show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="folder of overlays and predictions.json", callback=writable_folder)
    ] = Path("predictions"),
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Find poses in pictures: overlays with confidence, and JSON in COCO result form."""
    start(as_json)
    from p2net_tf.cli.prediction_files import predict_files
    from p2net_tf.detection.opening import WHOLE_IMAGE

    if sum([boxes is not None, whole_image, detector is not None]) > 1:
        raise typer.BadParameter("give one of --boxes, --detector and --whole-image")
    if min_score is not None and (boxes is not None or whole_image):
        raise typer.BadParameter(
            "--min-score is for boxes of a detector; of --boxes take evaluation.box_threshold"
        )
    overrides = [word for word in images if is_override(word)]
    pictures = [Path(word) for word in images if word not in overrides]
    if whole_image:
        detector = WHOLE_IMAGE
    written = predict_files(model, pictures, boxes, out, overrides, top, strict, detector, min_score)
    for problem in written.problems[:_MOST_SAID]:
        messages.print(f"[yellow]set aside[/yellow] {escape(str(problem))}", soft_wrap=True)
    if len(written.problems) > _MOST_SAID:
        messages.print(f"{len(written.problems)} set aside in all: {out / 'problems.json'}", soft_wrap=True)
    if written.unlimited:
        messages.print(
            f"every one of {written.boxes} detected boxes has a pose; thin them out by evaluation.nms=oks, "
            "evaluation.box_threshold=0.5 or --top"
        )
    if as_json:
        console.file.write((out / "predictions.json").read_text(encoding="utf-8"))
    else:
        console.print(f"{written.poses} poses in {written.overlays} images: {out}", soft_wrap=True)
