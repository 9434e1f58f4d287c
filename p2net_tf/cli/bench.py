"""`p2net bench ...`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import (
    Annotations,
    AsJson,
    Card,
    DataFormat,
    Format,
    Overrides,
    Root,
    Split,
    command_line,
    print_json,
    read_samples,
    start,
    writable_file,
)
from p2net_tf.utils.console import console


class Walk(StrEnum):
    """Kinds of rendered scenes."""

    walking = "walking"
    crossing = "crossing"
    hiding = "hiding"
    leaving = "leaving"
    returning = "returning"
    overtaking = "overtaking"
    crowd = "crowd"


app = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)


@app.command("search", epilog="Example: `p2net bench search planted_search --mixture --json`")
def bench_search(
    config: Annotated[Path, typer.Argument(help="whose network and search are measured")] = Path(
        "planted_search"
    ),
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(help="rounds, in which all steps take turns", min=1)] = 30,
    mixture: Annotated[bool, typer.Option("--mixture", help="also a step of `mixture`")] = False,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_search.json"),
    as_json: AsJson = False,
):
    """A search step in plain training steps, and what its parts cost; needs no data."""
    start(as_json)
    from p2net_tf.bench.search import bench_search as measure
    from p2net_tf.cli.bench_tables import print_search
    from p2net_tf.config.loading import load_pose_config

    report = measure(load_pose_config(config, overrides or []), out, repeats, mixture, command_line())
    _show(report, print_search, out, as_json)


@app.command(
    "step", epilog="Example: `p2net bench step p2net_resnet50_coco_256x192 training.batch_size=8 --json`"
)
def bench_step(
    config: Annotated[Path, typer.Argument(help="whose training step is measured")] = Path(
        "p2net_resnet50_coco_256x192"
    ),
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(help="rounds, in which both steps take turns", min=1)] = 20,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_step.json"),
    as_json: AsJson = False,
):
    """A training step beside the bare network's forward and backward pass and update; needs no data."""
    start(as_json)
    from p2net_tf.bench.step import bench_step as measure
    from p2net_tf.cli.bench_tables import print_step
    from p2net_tf.config.loading import load_pose_config

    report = measure(load_pose_config(config, overrides or []), out, repeats, command_line())
    _show(report, print_step, out, as_json)


@app.command("scaling", epilog="Example: `p2net bench scaling p2net_small_lsp_128x128 --processes 2 --json`")
def bench_scaling(
    config: Annotated[Path, typer.Argument(help="whose training step is measured")] = Path(
        "p2net_small_lsp_128x128"
    ),
    overrides: Overrides = None,
    processes: Annotated[
        list[int] | None, typer.Option(help="on this machine; repeat", min=1, show_default="1, 2 and 4")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="persons of a step of each process", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="in which step and all-reduces take turns", min=1)] = 10,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_scaling.json"),
    as_json: AsJson = False,
):
    """A training step on several processes over loopback, and what of it is all-reduce; needs no data."""
    start(as_json)
    from p2net_tf.bench.scaling import bench_scaling as measure
    from p2net_tf.cli.bench_tables import print_scaling
    from p2net_tf.config.loading import load_pose_config

    experiment = load_pose_config(config, overrides or [])
    report = measure(experiment, out, processes or (1, 2, 4), batch_size, rounds, command_line())
    _show(report, print_scaling, out, as_json)


@app.command(
    "models",
    epilog="Examples: `p2net bench models`, `p2net bench models p2net_resnet50_coco_256x192 "
    "hrnet_w32_coco_256x192 --torch hrnet_w32_coco_256x192=hrnet.yaml --json`",
)
def bench_models(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(help="whose networks are measured; by default every network on COCO"),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="of the default networks: 256x192 or 384x288; repeat for both")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="persons of a forward pass or a step", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="in which everything takes turns", min=1)] = 5,
    training: Annotated[bool, typer.Option(help="also a training step")] = True,
    lite: Annotated[bool, typer.Option(help="also in LiteRT")] = True,
    torch: Annotated[
        list[str] | None,
        typer.Option(
            help="CONFIG=FILE: the PyTorch original, as TorchScript, CODE.py:FACTORY, or a YAML of module, "
            "factory, arguments and state_dict; its code is run; repeat"
        ),
    ] = None,
    roofline: Annotated[bool, typer.Option(help="also plain convolutions, as the limit")] = True,
    out: Annotated[
        Path, typer.Option(help="JSON; the plot is written beside it", callback=writable_file)
    ] = Path("bench_models.json"),
    as_json: AsJson = False,
):
    """Parameters, multiply-adds and persons per second of networks, side by side; needs no data."""
    start(as_json)
    from p2net_tf.bench.models import SIZE, ModelSettings, default_configs
    from p2net_tf.bench.models import bench_models as measure
    from p2net_tf.cli.bench_tables import print_models
    from p2net_tf.config.loading import load_pose_config

    experiments = [load_pose_config(name) for name in configs or default_configs(size or [SIZE])]
    settings = ModelSettings(batch_size, rounds, training, lite, roofline)
    report = measure(experiments, out, settings, _pairs(torch or []), command_line())
    _show(report, print_models, out, as_json)
    if not as_json:
        console.print(f"plot: {out.with_suffix('.png')}", soft_wrap=True)


@app.command("pipeline", epilog="Example: `p2net bench pipeline $P2NET_DATA/lspet --rounds 20`")
def bench_pipeline(
    root: Root,
    data_format: Format = DataFormat.lspet,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "lsp14",
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=32)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=32)] = 192,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    workers: Annotated[
        int | None, typer.Option(help="of the peer at most, threads of ours; else the cores", min=1)
    ] = None,
    rounds: Annotated[int, typer.Option(help="in which the loaders take turns", min=1)] = 10,
    batches: Annotated[int, typer.Option(help="of a turn", min=1)] = 48,
    people: Annotated[int, typer.Option(help="at most, that are loaded", min=1)] = 2000,
    megapixels: Annotated[
        float | None, typer.Option(help="enlarge the pictures to this size, such as 12", min=0.01)
    ] = None,
    step: Annotated[
        Path | None,
        typer.Option(help="configuration: also train its network, and tell how long it waits for data"),
    ] = None,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_pipeline.json"),
    as_json: AsJson = False,
):
    """Images per second of the input pipeline, beside OpenCV and numpy heatmaps in worker processes."""
    start(as_json)
    from p2net_tf.bench.pipeline import PipelineSettings
    from p2net_tf.bench.pipeline import bench_pipeline as measure
    from p2net_tf.cli.bench_tables import print_pipeline
    from p2net_tf.config.loading import load_pose_config

    samples = read_samples(root, data_format, split, annotations, skeleton)
    settings = PipelineSettings((height, width), batch_size, workers, batches, rounds, people, megapixels)
    config = None if step is None else load_pose_config(step, [f"training.batch_size={batch_size}"])
    report = measure(samples, out, settings, command=command_line(), config=config)
    _show(report, print_pipeline, out, as_json)


@app.command("detect", epilog="Example: `p2net bench detect runs/detector --pictures photos --json`")
def bench_detect(
    detectors: Annotated[
        list[str], typer.Argument(help="run folder or .keras file of a detector, SavedModel, hub:PRESET")
    ],
    pictures: Annotated[
        Path | None, typer.Option(help="folder of pictures; by default people are rendered")
    ] = None,
    count: Annotated[int, typer.Option(help="pictures of a turn", min=1)] = 8,
    rounds: Annotated[int, typer.Option(help="in which all detectors take turns", min=1)] = 5,
    peers: Annotated[bool, typer.Option(help="also torchvision's Faster R-CNN and SSDLite")] = True,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_detect.json"),
    as_json: AsJson = False,
):
    """Pictures per second of detectors, beside torchvision's, decoded pictures to boxes."""
    start(as_json)
    from p2net_tf.bench.detect import bench_detect as measure
    from p2net_tf.cli.bench_tables import print_detect

    report = measure(detectors, out, pictures, count, rounds, peers, command_line())
    _show(report, print_detect, out, as_json)


@app.command("video", epilog="Example: `p2net bench video --source street.mp4 --detect-every 5`")
def bench_video(
    model: Annotated[
        str, typer.Option(help="run folder, .keras file, or the name of a preset")
    ] = "p2net_small_lsp",
    source: Annotated[str | None, typer.Option(help="a video; by default people are rendered")] = None,
    detector: Annotated[
        str | None, typer.Option(help="one of ours; by default the small one that ships")
    ] = None,
    detect_every: Annotated[int, typer.Option(help="of the second way, beside every frame", min=2)] = 5,
    frames: Annotated[int, typer.Option(help="of the video that are looked at", min=1)] = 50,
    rounds: Annotated[int, typer.Option(help="in which all take turns", min=1)] = 3,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_video.json"),
    as_json: AsJson = False,
):
    """Frames per second from a video file to tracked poses, beside the bare networks."""
    start(as_json)
    from p2net_tf.bench.video import bench_video as measure
    from p2net_tf.cli.bench_tables import print_video

    report = measure(model, out, source, detector, detect_every, frames, rounds, command_line())
    _show(report, print_video, out, as_json)


@app.command("evaluation", epilog="Example: `p2net bench evaluation $P2NET_DATA/lspet --json`")
def bench_evaluation(
    root: Root,
    data_format: Format = DataFormat.lspet,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "lsp14",
    model: Annotated[str, typer.Option(help="run folder, .keras file, or the name of a preset")] = (
        "p2net_small_lsp"
    ),
    boxes: Annotated[
        list[int] | None, typer.Option(help="how many; repeat for others [default: 2000, 4000, 8000]", min=1)
    ] = None,
    per_picture: Annotated[int, typer.Option(help="boxes of a picture", min=1)] = 32,
    rounds: Annotated[int, typer.Option(help="in which the numbers of boxes take turns", min=1)] = 3,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_evaluation.json"),
    as_json: AsJson = False,
):
    """How time and memory of an evaluation grow with the boxes of a detector."""
    start(as_json)
    from p2net_tf.bench.evaluation import BOXES
    from p2net_tf.bench.evaluation import bench_evaluation as measure
    from p2net_tf.cli.bench_tables import print_evaluation

    samples = read_samples(root, data_format, split, annotations, skeleton)
    report = measure(model, samples, out, boxes or BOXES, per_picture, rounds, command_line())
    _show(report, print_evaluation, out, as_json)


@app.command("tracks", epilog="Example: `p2net bench tracks --model runs/demo --scene crossing --json`")
def bench_tracks(
    model: Annotated[
        str, typer.Option(help="run folder or .keras file of a network that knows rendered people")
    ],
    detector: Annotated[
        str | None,
        typer.Option(help="what finds people; by default the true boxes, with noise, losses and false ones"),
    ] = None,
    detect_every: Annotated[int, typer.Option(help="of the second way, beside every frame", min=2)] = 5,
    scenes: Annotated[int, typer.Option(help="of each kind", min=1)] = 10,
    scene: Annotated[list[Walk] | None, typer.Option(help="kinds; by default all")] = None,
    seed: Annotated[int, typer.Option(help="of the first scene of each kind", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_tracks.json"),
    as_json: AsJson = False,
):
    """MOTA, IDF1, AP, jitter and lag on rendered people who walk, cross, hide and leave; needs no data."""
    start(as_json)
    from p2net_tf.bench.tracks import bench_tracks as measure
    from p2net_tf.cli.bench_tables import print_tracks

    kinds = [kind.value for kind in scene or Walk]
    report = measure(model, out, detector, detect_every, scenes, kinds, seed, command=command_line())
    _show(report, print_tracks, out, as_json)


@app.command("all", epilog="Example: `P2NET_DATA=../shared/data p2net bench all --json > bench.json`")
def bench_all(
    quick: Annotated[bool, typer.Option("--quick", help="few rounds: whether it works")] = False,
    photographs: Annotated[
        Path | None, typer.Option(help="folder of LSPET; by default lspet in P2NET_DATA")
    ] = None,
    model_dir: Annotated[
        Path | None, typer.Option(help="exported model to serve; by default one is exported for it")
    ] = None,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench.json"),
    as_json: AsJson = False,
):
    """Everything that can be measured here, one after the other, with its limits, in one file."""
    start(as_json)
    from p2net_tf.bench.everything import Selection
    from p2net_tf.bench.everything import bench_all as measure
    from p2net_tf.cli.bench_tables import print_everything

    selection = Selection(photographs=photographs, model_dir=model_dir)
    report = measure(out, selection.quick() if quick else selection, command_line())
    _show(report, print_everything, out, as_json)


ModelDir = Annotated[Path, typer.Argument(help="folder of versions, as `p2net export` writes it")]
Clients = Annotated[int, typer.Option(help="that ask at the same time", min=1)]


@app.command(
    "serving", epilog="Example: `p2net bench serving exports/lsp --run weights/p2net_small_lsp_128x128`"
)
def bench_serving(
    model_dir: ModelDir,
    run: Annotated[
        Path | None, typer.Option(help="the exported run: its network alone is what is compared with")
    ] = None,
    clients: Clients = 32,
    seconds: Annotated[float, typer.Option(help="of load in a round", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="in which server and forward pass take turns", min=1)] = 6,
    max_batch: Annotated[int, typer.Option(help="rows that the model runs at once", min=1)] = 16,
    out: Annotated[Path, typer.Option(help="JSON", callback=writable_file)] = Path("bench_serving.json"),
    as_json: AsJson = False,
):
    """The development server under load, and what it costs beside the plain forward pass; needs no data."""
    start(as_json)
    from p2net_tf.bench.serving import LoadSettings
    from p2net_tf.bench.serving import bench_serving as measure
    from p2net_tf.cli.bench_tables import print_serving

    load = LoadSettings(clients, seconds, rounds, max_batch)
    report = measure(model_dir, out, load, run, command_line())
    _show(report, print_serving, out, as_json)
    _exit_unless_all_right(report["server"])


@app.command("load", epilog="Example: `p2net bench load localhost exports/lsp --seconds 60`")
def bench_load(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of a running server")],
    model_dir: ModelDir,
    clients: Clients = 32,
    seconds: Annotated[float, typer.Option(help="of load", min=0.1)] = 60.0,
    rest: Annotated[bool, typer.Option("--rest", help="REST instead of gRPC")] = False,
    name: Annotated[str, typer.Option(help="of the model, in requests")] = "p2net",
    as_json: AsJson = False,
):
    """Load a running server, and hold each answer against that of the newest version in MODEL_DIR."""
    start(as_json)
    from p2net_tf.bench.serving import newest_version, synthetic_cases
    from p2net_tf.cli.bench_tables import print_load
    from p2net_tf.serving.client import GrpcClient, RestClient
    from p2net_tf.serving.load import run_load
    from p2net_tf.serving.model import Model

    client = RestClient if rest else GrpcClient
    cases = synthetic_cases(Model(newest_version(model_dir)))
    report = run_load(lambda: client(host, name, retries=0), cases, clients, seconds).to_dict()
    if as_json:
        print_json(report)
    else:
        print_load(report, console)
    _exit_unless_all_right(report)


def _pairs(values: list[str]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise typer.BadParameter(f"'{name}': write CONFIG=FILE", param_hint="--torch")
    return {name: path for name, _, path in pairs}


def _show(report: dict, print_table: Callable, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        print_table(report, console)
        console.print(f"results: {out}", soft_wrap=True)


def _exit_unless_all_right(load: dict) -> None:
    """A script that loads a server wants to know; being refused under load is how it should be."""
    if load["wrong"] or load["failed"] or not load["answered"]:
        raise typer.Exit(1)
