"""`p2net app`: a local page to try a network on one's own photos."""

from __future__ import annotations

from typing import Annotated

import typer

from p2net_tf.cli.options import Detector, MinScore, start

app = typer.Typer()


@app.command(
    "app",
    epilog="Example: `p2net app`; of a run, in another detector's boxes: `p2net app runs/first --detector "
    "faster.keras`",
)
def open_page(
    model: Annotated[
        str, typer.Argument(help="run folder, .keras file, or the name of a preset")
    ] = "p2net_small_lsp",
    detector: Detector = None,
    min_score: MinScore = None,
    host: Annotated[str, typer.Option(help="interface to listen on; 0.0.0.0 is all of them")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8502,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="open the page in the browser of this machine")
    ] = True,
):
    """Open a local page: drop a photo or use the camera, see poses, heatmaps and attention gates.

    Everything stays on this machine. Nothing that is looked at is kept.
    """
    start(as_json=False)
    from p2net_tf.cli.prediction_files import open_estimator
    from p2net_tf.detection.opening import chosen_detector
    from p2net_tf.serving.webapp.answers import PhotoAnswers
    from p2net_tf.serving.webapp.server import serve_page

    pose, settings = open_estimator(model, ())
    finder = chosen_detector(detector, pose.skeleton)
    title = model if detector is None else f"{model}, people by {detector}"
    serve_page(PhotoAnswers(pose, settings, finder, min_score, title), host, port, browser)
