"""`p2net predict`: poses in one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, start
from p2net_tf.utils.console import console, messages

app = typer.Typer()


@app.command(epilog="Example: `p2net predict photo.jpg --boxes 40,20,120,300`")
def predict(
    images: Annotated[list[Path], typer.Argument(help="pictures")],
    model: Annotated[
        str, typer.Option(help="run folder, .keras file, or the name of a preset")
    ] = "p2net_small_lsp",
    boxes: Annotated[
        str | None, typer.Option(help="x,y,w,h in every image, or a COCO JSON of boxes", show_default=False)
    ] = None,
    whole_image: Annotated[
        bool, typer.Option("--whole-image", help="every image is one box, as without --boxes")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder of overlays and predictions.json")] = Path("predictions"),
    as_json: AsJson = False,
):
    """Find poses in pictures: overlays with confidence, and JSON in COCO result form."""
    start(as_json)
    from p2net_tf.cli.prediction_files import predict_files

    if boxes is not None and whole_image:
        raise typer.BadParameter("give either --boxes or --whole-image")
    written = predict_files(model, images, boxes, out)
    for name, reason in written.unreadable.items():
        messages.print(f"[yellow]set aside[/yellow] {name}: {reason}", soft_wrap=True)
    if as_json:
        console.file.write((out / "predictions.json").read_text(encoding="utf-8"))
    else:
        console.print(f"{written.poses} poses in {written.overlays} images: {out}", soft_wrap=True)
