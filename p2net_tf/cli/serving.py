"""`p2net serve` and `p2net query`: a model behind a network interface, and a client of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, print_json, start, writable_file
from p2net_tf.utils.console import console

app = typer.Typer()

ModelDir = Annotated[Path, typer.Argument(help="folder of versions, as `p2net export` writes it")]
Name = Annotated[str, typer.Option(help="of the model, in requests")]


@app.command(epilog="Example: `p2net serve exports/lsp --rest-port 8501`")
def serve(
    model_dir: ModelDir,
    name: Name = "p2net",
    host: Annotated[str, typer.Option(help="interface to listen on")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8500,
    rest_port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8501,
    max_queue: Annotated[int, typer.Option(help="requests that may wait; more are refused", min=1)] = 128,
    max_batch: Annotated[int, typer.Option(help="rows that the model runs at once", min=1)] = 16,
    batch_timeout_ms: Annotated[
        float,
        typer.Option(help="a request waits for others, where there are any, to share a batch with", min=0),
    ] = 2.0,
    threads: Annotated[int, typer.Option(help="batches that run at the same time", min=1)] = 2,
    max_rows: Annotated[int, typer.Option(help="people or images of one request", min=1)] = 128,
    poll_seconds: Annotated[float, typer.Option(help="between looks for new versions", min=0.05)] = 2.0,
    keep: Annotated[int, typer.Option(help="of the newest versions are served", min=1)] = 1,
    label: Annotated[
        list[str] | None, typer.Option(help="LABEL=VERSION, such as canary=3; repeatable", show_default=False)
    ] = None,
    drain_seconds: Annotated[float, typer.Option(help="for requests inside, at the end", min=0)] = 30.0,
):
    """Serve an exported model over gRPC and REST: a development server, for a laptop without containers."""
    start(as_json=False)
    from p2net_tf.serving.server import ServeSettings
    from p2net_tf.serving.server import serve as run

    settings = ServeSettings(
        model_dir=model_dir,
        name=name,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        max_queue=max_queue,
        max_batch=max_batch,
        batch_timeout_ms=batch_timeout_ms,
        threads=threads,
        max_rows=max_rows,
        poll_seconds=poll_seconds,
        keep=keep,
        labels=_labels(label or []),
        drain_seconds=drain_seconds,
    )
    if not run(settings):
        raise typer.Exit(1)


@app.command(epilog="Example: `p2net query localhost photo.jpg --boxes 40,30,120,260 --out overlay.jpg`")
def query(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT")],
    image: Annotated[Path, typer.Argument(help="a picture")],
    boxes: Annotated[
        str | None,
        typer.Option(
            help="x,y,w,h or a COCO JSON of boxes; without, the detector in the served model finds everybody",
            show_default=False,
        ),
    ] = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="the image is one box")] = False,
    rest: Annotated[bool, typer.Option("--rest", help="REST instead of gRPC")] = False,
    name: Name = "p2net",
    version: Annotated[int | None, typer.Option(help="by default the newest", show_default=False)] = None,
    signature: Annotated[
        str, typer.Option(help="for boxes: serving_default decodes the image once, batched once per box")
    ] = "serving_default",
    deadline: Annotated[float, typer.Option(help="seconds, over all attempts", min=0.001)] = 30.0,
    retries: Annotated[int, typer.Option(help="while the server is UNAVAILABLE", min=0)] = 5,
    skeleton: Annotated[
        str | None, typer.Option(help="card of the keypoints; by default found by their number")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="overlay, .jpg or .png", callback=writable_file, show_default=False)
    ] = None,
    as_json: AsJson = False,
):
    """Ask a model server (this one, or TensorFlow Serving) for the poses in a picture."""
    start(as_json)
    from p2net_tf.cli.answer_table import print_answer
    from p2net_tf.serving.client import GrpcClient, RestClient
    from p2net_tf.serving.query import answer_document, ask, ask_people, write_overlay

    if boxes is not None and whole_image:
        raise typer.BadParameter("give one of --boxes and --whole-image")
    client = (RestClient if rest else GrpcClient)(host, name, deadline, retries)
    if boxes is None and not whole_image:
        answer = ask_people(client, image, version)
    else:
        answer = ask(client, image, boxes, signature, version)
    if out is not None:
        write_overlay(answer, out, skeleton)
    if as_json:
        print_json(answer_document(answer))
        return
    print_answer(answer, console, skeleton)
    if out is not None:
        console.print(f"overlay: {out}", soft_wrap=True)


def _labels(pairs: list[str]) -> dict[str, int]:
    labels = {}
    for pair in pairs:
        label, equals, version = pair.partition("=")
        if not (label and equals and version.isascii() and version.isdecimal()):
            raise typer.BadParameter(f"--label '{pair}': give LABEL=VERSION, such as canary=3")
        labels[label] = int(version)
    return labels
