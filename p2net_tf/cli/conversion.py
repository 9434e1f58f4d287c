"""`p2net import-weights`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, print_json, start, writable_file
from p2net_tf.utils.console import console

app = typer.Typer()


class PublishedModel(StrEnum):
    simple_baseline_resnet50 = "simple_baseline_resnet50"
    simple_baseline_resnet101 = "simple_baseline_resnet101"
    simple_baseline_resnet152 = "simple_baseline_resnet152"
    hrnet_w32 = "hrnet_w32"
    hrnet_w48 = "hrnet_w48"
    fasterrcnn_resnet50_fpn = "fasterrcnn_resnet50_fpn"


class Channels(StrEnum):
    rgb = "rgb"
    bgr = "bgr"


@app.command(
    epilog="Example: `p2net import-weights pose_hrnet_w32_256x192.pth --model hrnet_w32 --out w32/pose.keras`"
)
def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="state dict: .pth, .pt, .tar or .safetensors")],
    model: Annotated[PublishedModel, typer.Option(help="whose weights it holds")],
    out: Annotated[
        Path,
        typer.Option(
            help=".keras file; of a network for poses config.yaml is written beside it",
            callback=writable_file,
        ),
    ],
    input_size: Annotated[
        str | None,
        typer.Option(help="height,width of the crop; else that in the file's name", show_default=False),
    ] = None,
    channels: Annotated[
        Channels | None,
        typer.Option(help="order the network reads; else as published", show_default=False),
    ] = None,
    caffe: Annotated[
        bool, typer.Option("--caffe", help="a Caffe-style ResNet, which strides in its 1x1 convolutions")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="write over files that are there")] = False,
    as_json: AsJson = False,
):
    """Make a Keras network of a published PyTorch checkpoint, evaluated as it was published."""
    is_detector = model is PublishedModel.fasterrcnn_resnet50_fpn
    if is_detector and (input_size is not None or channels is not None or caffe):
        raise typer.BadParameter(
            f"{model}: --input-size, --channels and --caffe belong to networks for poses"
        )
    start(as_json)
    from p2net_tf.cli.conversion_table import print_conversion
    from p2net_tf.convert.convert import convert_checkpoint
    from p2net_tf.convert.detectors import convert_detector

    if is_detector:
        conversion = convert_detector(checkpoint, out, force)
        following = f"p2net predict PICTURE --detector {out}"
    else:
        size = None if input_size is None else _size(input_size)
        order = None if channels is None else channels.value
        conversion = convert_checkpoint(checkpoint, model.value, out, size, order, caffe, force)
        following = f"p2net evaluate {out}"
    if as_json:
        print_json(conversion.to_dict())
    else:
        print_conversion(conversion, console, following)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--input-size '{text}': give height,width, e.g. 256,192") from None
    return height, width
