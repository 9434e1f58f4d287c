"""`p2net <verb>`: thin; every verb calls one function of the package and prints what it returns.

TensorFlow takes seconds to import, so verbs import what they need when they run.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.console import be_quiet, console, messages
from p2net_tf.quiet import import_tensorflow

# TensorFlow reads it when it is imported; people can still ask for its chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

app = typer.Typer(
    help="P2Net: top-down human pose estimation for Keras. Start with `p2net demo`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check, look at and convert data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Config = Annotated[Path, typer.Argument(help="configs/*.yaml, or the name of one")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value changes, such as training.epochs=3", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document and nothing else")]
Strict = Annotated[bool, typer.Option("--strict", help="stop at the first broken item, set nothing aside")]


class DataFormat(StrEnum):
    coco = "coco"
    mpii = "mpii"
    lsp = "lsp"
    lspet = "lspet"
    records = "records"


class ScoredSet(StrEnum):
    coco = "coco"
    mpii = "mpii"
    lsp = "lsp"


@app.command(epilog="Example: `p2net demo`")
def demo(
    out: Annotated[Path, typer.Option(help="run folder, made anew")] = Path("runs/demo"),
    as_json: AsJson = False,
):
    """Render people, train a small P2Net on them, score it on unseen ones: the whole path in six minutes."""
    _start(as_json)
    from p2net_tf.demo import run_demo

    _finish(run_demo(out), out, as_json)


@app.command(epilog="Example: `p2net train configs/p2net_small_lsp_128x128.yaml training.epochs=10 --resume`")
def train(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run folder; by default runs/NAME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Train as CONFIG says, score the test part, and write a run folder."""
    _start(as_json)
    from p2net_tf.config import load_config
    from p2net_tf.runs import run_experiment

    experiment = load_config(config, overrides or [])
    folder = out or Path("runs") / experiment.name
    report = run_experiment(experiment, folder, resume=resume, strict=strict, command=_command_line())
    _finish(report, folder, as_json)


@app.command(epilog="Example: `p2net search planted_search search.plant.operation=Rotate --out runs/found`")
def search(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="folder; by default runs/NAME_search")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Learn an augmentation policy by gradient (Auto-Pose); then `p2net train CONFIG policy=OUT`."""
    _start(as_json)
    from p2net_tf.config import load_config
    from p2net_tf.search.live import print_found
    from p2net_tf.search.run import run_search

    experiment = load_config(config, overrides or [])
    folder = out or Path("runs") / f"{experiment.name}_search"
    report = run_search(experiment, folder, resume=resume, strict=strict, command=_command_line())
    if as_json:
        _print_json(report)
    else:
        print_found(report, console)
        console.print(f"results: {folder / 'policy.yaml'}", soft_wrap=True)


@app.command(epilog="Example: `p2net tune p2net_small_lsp_128x128 tuner.algorithm=bayesian --out runs/tuned`")
def tune(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="folder; by default runs/NAME_tuned")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on; finished trials stay")] = False,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Search an augmentation policy with keras-tuner, the black-box rival of `p2net search`."""
    _start(as_json)
    from p2net_tf.config import load_config
    from p2net_tf.search.tuner import run_tuning

    experiment = load_config(config, overrides or [])
    folder = out or Path("runs") / f"{experiment.name}_tuned"
    report = run_tuning(experiment, folder, resume=resume, strict=strict, command=_command_line())
    _finish(report, folder, as_json)


@app.command(epilog="Example: `p2net evaluate runs/p2net_small_lsp_128x128 evaluation.decode=dark`")
def evaluate(
    run: Annotated[Path, typer.Argument(help="run folder, or a .keras file beside its config.yaml")],
    overrides: Overrides = None,
    config: Annotated[Path | None, typer.Option(help="configuration instead of the run's own")] = None,
    part: Annotated[str, typer.Option(help="test, validation or train")] = "test",
    out: Annotated[Path | None, typer.Option(help="write predictions.json and overlays.jpg here")] = None,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Score a trained network by the test recipe of its configuration."""
    _start(as_json)
    from p2net_tf.evaluation.tables import print_result
    from p2net_tf.runs import evaluate_run, load_run

    evaluation = evaluate_run(load_run(run, overrides or [], config), part, out, strict)
    if as_json:
        _print_json(evaluation.result.to_dict())
    else:
        print_result(evaluation.result, console)


@app.command(epilog="Example: `p2net score lsp --ground-truth joints.mat --predictions mine.mat --json`")
def score(
    data_set: Annotated[ScoredSet, typer.Argument(help="whose rules to score by")],
    ground_truth: Annotated[Path, typer.Option(help=".json, .mat, .h5 or .npz")],
    predictions: Annotated[Path, typer.Option(help=".json, .mat, .h5 or .npz")],
    threshold: Annotated[
        float | None, typer.Option(help="of PCK or PCKh; by default 0.2 for lsp, 0.5 for mpii")
    ] = None,
    as_json: AsJson = False,
):
    """Score stored predictions alone: OKS AP (coco), PCKh (mpii), PCK (lsp)."""
    _start(as_json, tensorflow=False)
    from p2net_tf.evaluation import stored
    from p2net_tf.evaluation.tables import print_result

    scorer = {"coco": stored.score_coco, "mpii": stored.score_mpii, "lsp": stored.score_lsp}[data_set.value]
    if threshold is not None and data_set is ScoredSet.coco:
        raise typer.BadParameter("OKS AP averages over its own thresholds; leave --threshold out")
    options = {} if threshold is None else {"threshold": threshold}
    result = scorer(ground_truth, predictions, **options)
    if as_json:
        _print_json(result.to_dict())
    else:
        print_result(result, console)


@app.command(epilog="Example: `p2net predict photo.jpg --model runs/demo --whole-image`")
def predict(
    images: Annotated[list[Path], typer.Argument(help="pictures")],
    model: Annotated[Path, typer.Option(help="run folder, or a .keras file beside its config.yaml")],
    boxes: Annotated[
        str | None, typer.Option(help="x,y,w,h in every image, or a COCO JSON of boxes", show_default=False)
    ] = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="every image is one box")] = False,
    out: Annotated[Path, typer.Option(help="folder of overlays and predictions.json")] = Path("predictions"),
    as_json: AsJson = False,
):
    """Find poses in pictures: overlays with confidence, and JSON in COCO result form."""
    _start(as_json)
    from p2net_tf.predicting import predict_images, write_poses
    from p2net_tf.runs import load_run

    if (boxes is None) == (not whole_image):
        raise typer.BadParameter("give either --boxes or --whole-image")
    poses = predict_images(load_run(model), images, boxes)
    overlays = write_poses(poses, out)
    for name, reason in poses.unreadable.items():
        messages.print(f"[yellow]set aside[/yellow] {name}: {reason}", soft_wrap=True)
    if as_json:
        console.file.write((out / "predictions.json").read_text(encoding="utf-8"))
    else:
        found = len(poses.predictions.scores)
        console.print(f"{found} poses in {len(overlays)} images: {out}", soft_wrap=True)


@app.command(epilog="Example: `p2net info configs/p2net_resnet101_coco_384x288.yaml --json`")
def info(config: Config, overrides: Overrides = None, as_json: AsJson = False):
    """Output shapes, parameters and multiply-adds of a network, in total and per sub-network."""
    _start(as_json)
    from p2net_tf.config import load_config
    from p2net_tf.models import build_network
    from p2net_tf.models.summary import print_summary, summarize
    from p2net_tf.skeletons import load_skeleton

    experiment = load_config(config, overrides or [])
    keypoints = load_skeleton(experiment.data.skeleton).num_keypoints
    summary = summarize(build_network(experiment.model, keypoints, download=False))
    if as_json:
        _print_json(summary)
    else:
        print_summary(summary, console)


Root = Annotated[Path, typer.Argument(help="folder of the data set")]
Format = Annotated[DataFormat, typer.Option("--format", help="how it is laid out")]
Split = Annotated[str, typer.Option(help="e.g. train2017 (coco), test (lsp), valid (mpii)")]
Annotations = Annotated[Path | None, typer.Option(help="annotation file, where it lies elsewhere")]
Card = Annotated[str, typer.Option(help="skeleton card of a COCO-form set: a name or a YAML")]


@data_app.command("check", epilog="Example: `p2net data check data/coco --split val2017`")
def data_check(
    root: Root,
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    out: Annotated[Path, typer.Option(help="JSON list of what was found")] = Path("problems.json"),
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 where broken")] = False,
    as_json: AsJson = False,
):
    """List every broken or suspicious item, with file, id and remedy."""
    _start(as_json)
    from p2net_tf.data.check import check_samples, print_problems, problem_report, write_problems

    samples = _read(root, data_format, split, annotations, skeleton)
    problems = check_samples(samples)
    write_problems(problems, out)
    if as_json:
        _print_json(problem_report(problems))
    else:
        print_problems(problems, console)
        console.print(f"{len(samples)} people read; the whole list: {out}", soft_wrap=True)
    if strict and any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


@data_app.command("browse", epilog="Example: `p2net data browse data/lsp --format lsp --skeleton lsp14`")
def data_browse(
    root: Root,
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    count: Annotated[int, typer.Option(help="people on the sheet", min=1)] = 24,
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 192,
    augmented: Annotated[bool, typer.Option("--augmented", help="as training augments them")] = False,
    seed: Annotated[int, typer.Option(help="of the choice")] = 0,
    out: Annotated[Path, typer.Option(help="PNG or JPEG")] = Path("sheet.png"),
):
    """Write a contact sheet of crops with their skeletons and heatmaps."""
    _start(as_json=False)
    from p2net_tf.config import AugmentConfig
    from p2net_tf.data.browse import browse

    samples = _read(root, data_format, split, annotations, skeleton)
    augment = AugmentConfig() if augmented else None
    shown = browse(samples, out, count=count, crop_size=(height, width), seed=seed, augment=augment)
    console.print(f"{len(shown)} of {len(samples)} people: {out}", soft_wrap=True)


@data_app.command("convert", epilog="Example: `p2net data convert data/coco --split train2017 --out shards`")
def data_convert(
    root: Root,
    out: Annotated[Path, typer.Option(help="folder of the shards")],
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    shards: Annotated[int | None, typer.Option(help="number of files", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace shards that are there")] = False,
):
    """Write TFRecord shards, which a configuration reads as `format: records`."""
    _start(as_json=False)
    from p2net_tf.data.records import write_records

    samples = _read(root, data_format, split, annotations, skeleton)
    left_out = write_records(samples, out, shards=shards, overwrite=overwrite)
    for problem in left_out:
        messages.print(f"[yellow]left out[/yellow] {problem}", soft_wrap=True)
    console.print(f"{len(samples)} people of {root} in {out}", soft_wrap=True)


@data_app.command("render", epilog="Example: `p2net data render data/synthetic --images 500 --split train`")
def data_render(
    root: Root,
    images: Annotated[int, typer.Option(help="how many", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="same seed, same pictures")] = 0,
    split: Annotated[str, typer.Option(help="name of the part")] = "train",
):
    """Render synthetic people with COCO annotations."""
    from p2net_tf.data.synthetic import write_synthetic

    write_synthetic(root, images, seed, split)
    console.print(f"{images} images: {root / split}", soft_wrap=True)


policy_app = typer.Typer(help="List augmentation policies, and see one at work.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")


@policy_app.command("list", epilog="Example: `p2net policy list --json`")
def policy_list(as_json: AsJson = False):
    """The built-in policies, and the operations that policies are made of."""
    _start(as_json)
    from p2net_tf.augment.listing import listing, print_listing

    if as_json:
        _print_json(listing())
    else:
        print_listing(console)


@policy_app.command("show", epilog="Example: `p2net policy show paper --root data/coco --split val2017`")
def policy_show(
    policy: Annotated[str, typer.Argument(help="YAML file, folder of a search, or a built-in name")],
    root: Annotated[Path, typer.Option(help="folder of the data set")],
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    columns: Annotated[int, typer.Option(help="tiles per row, the plain crop included", min=2)] = 6,
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 192,
    seed: Annotated[int, typer.Option(help="of people and draws")] = 0,
    out: Annotated[Path, typer.Option(help="PNG or JPEG")] = Path("policy.png"),
):
    """Write a sheet of every sub-policy at work on real crops with their skeletons."""
    _start(as_json=False)
    from p2net_tf.augment.policy import Policy
    from p2net_tf.augment.sheet import show_policy

    chosen = Policy.load(policy)
    samples = _read(root, data_format, split, annotations, skeleton)
    shown = show_policy(chosen, samples, out, (height, width), seed, columns)
    console.print(f"{len(shown)} of {len(chosen.sub_policies)} sub-policies: {out}", soft_wrap=True)


@app.command(
    epilog="Example: `p2net compare configs/p2net_small_lsp_128x128.yaml --budget 3000 --seeds 3 "
    "--arms none,hand_crafted,learned,runs/mine/policy.yaml`"
)
def compare(
    config: Config,
    budget: Annotated[int, typer.Option(help="gradient steps of every arm, its search included")],
    overrides: Overrides = None,
    arms: Annotated[
        str, typer.Option(help="with commas; also built-in policies, and files or folders of policies")
    ] = "none,hand_crafted,random,tuner,learned",
    seeds: Annotated[str, typer.Option(help="how many, or which: 3 is 0,1,2")] = "3",
    out: Annotated[
        Path | None, typer.Option(help="goes on where it stopped there; by default runs/compare_NAME")
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Compare augmentation policies under one budget; exit with 1 where an arm failed."""
    _start(as_json)
    from p2net_tf.config import load_config
    from p2net_tf.search import compare as comparison
    from p2net_tf.search.compare_table import print_comparison

    experiment = load_config(config, overrides or [])
    folder = out or Path("runs") / f"compare_{experiment.name}"
    names = [name.strip() for name in arms.split(",") if name.strip()]
    report = comparison.compare(
        experiment,
        folder,
        names,
        comparison.parse_seeds(seeds),
        budget=budget,
        strict=strict,
        command=_command_line(),
    )
    if as_json:
        _print_json(report)
    else:
        print_comparison(report, console)
        console.print(f"results: {folder / 'compare.md'}", soft_wrap=True)
    if any(arm["failed"] for arm in report["arms"].values()):
        raise typer.Exit(1)


bench_app = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


@bench_app.command("search", epilog="Example: `p2net bench search planted_search --mixture --json`")
def bench_search(
    config: Annotated[Path, typer.Argument(help="whose network and search are measured")] = Path(
        "planted_search"
    ),
    overrides: Overrides = None,
    repeats: Annotated[int, typer.Option(help="rounds, in which all steps take turns", min=1)] = 30,
    mixture: Annotated[bool, typer.Option("--mixture", help="also a step of `mixture`")] = False,
    out: Annotated[Path, typer.Option(help="JSON")] = Path("bench_search.json"),
    as_json: AsJson = False,
):
    """A search step in plain training steps, and what its parts cost; needs no data."""
    _start(as_json)
    from p2net_tf.bench.search import bench_search as measure
    from p2net_tf.bench.search import print_bench
    from p2net_tf.config import load_config

    report = measure(load_config(config, overrides or []), out, repeats, mixture, _command_line())
    if as_json:
        _print_json(report)
    else:
        print_bench(report, console)
        console.print(f"results: {out}", soft_wrap=True)


def main() -> None:
    """Entry point: errors that a user can mend are one line, without a traceback."""
    from p2net_tf.errors import UserError

    try:
        app()
    except UserError as error:
        messages.quiet = False
        messages.print(f"[bold red]error[/bold red] {error}", soft_wrap=True, markup=True)
        sys.exit(2)


def _read(root: Path, data_format: DataFormat, split: str, annotations: Path | None, skeleton: str):
    from p2net_tf.config import DatasetConfig
    from p2net_tf.data.datasets import read_dataset

    source = DatasetConfig(
        format=data_format.value,
        root=str(root),
        split=split,
        annotations=str(annotations) if annotations else None,
    )
    return read_dataset(source, skeleton)


def _start(as_json: bool, tensorflow: bool = True) -> None:
    if as_json:
        be_quiet()
    if tensorflow:
        import_tensorflow()


def _finish(report: dict, folder: Path, as_json: bool) -> None:
    if as_json:
        _print_json(report)
        return
    for name, value in report["headline"].items():
        console.print(f"[bold]{name}[/bold] {value:.4f}")
    for note in report.get("notes", []):
        console.print(f"! {note}", markup=False)
    console.print(f"results: {folder / 'report.html'}", soft_wrap=True)


def _print_json(document) -> None:
    console.file.write(json.dumps(document, indent=2, default=float) + "\n")


def _command_line() -> str:
    return " ".join(["p2net", *sys.argv[1:]])


if __name__ == "__main__":
    main()
