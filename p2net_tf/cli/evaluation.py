"""`p2net evaluate`, `score` and `info`: what a network is and what it is worth."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2net_tf.cli.options import (
    AsJson,
    Config,
    Overrides,
    RunPath,
    RunPrecision,
    Strict,
    command_line,
    print_json,
    start,
    writable_folder,
)
from p2net_tf.utils.console import console

if TYPE_CHECKING:
    from p2net_tf.inference.precision import PrecisionChoice

app = typer.Typer()


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value}: give a finite number, such as 0.5")
    return value


Errors = Annotated[
    bool,
    typer.Option("--errors", help="split the errors of keypoints or boxes by type, with the AP each costs"),
]
ScoreLimit = Annotated[
    float | None,
    typer.Option(
        help="boxes: score from which on doubles and errors are counted; by default that of the best F1",
        show_default=False,
        callback=_finite,
    ),
]


class ScoredSet(StrEnum):
    coco = "coco"
    mpii = "mpii"
    lsp = "lsp"
    pck = "pck"
    boxes = "boxes"
    tracks = "tracks"


@app.command(epilog="Example: `p2net evaluate runs/p2net_small_lsp_128x128 evaluation.decode=dark`")
def evaluate(
    run: RunPath,
    overrides: Overrides = None,
    config: Annotated[Path | None, typer.Option(help="configuration instead of the run's own")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="detectors: folder of boxes instead of the run's data; changes are then of it"),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="of the configuration: test, validation or train", show_default="test"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="write predictions.json, overlays.jpg and the errors' page here", callback=writable_folder
        ),
    ] = None,
    errors: Errors = False,
    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing", help="people in missing or broken pictures do not count, not as missed"
        ),
    ] = False,
    score_limit: ScoreLimit = None,
    precision: RunPrecision = None,
    strict: Strict = False,
    as_json: AsJson = False,
):
    """Score a trained network by the test recipe of its configuration, and say what goes wrong.

    A detector is scored by COCO's box AP: `p2net evaluate detector.keras --data people split=val`.
    """
    if data is not None and part is not None:
        raise typer.BadParameter(f"--part is of a configuration; of the folder of --data take split={part}")
    if data is not None and config is not None:
        raise typer.BadParameter("give one of --data and --config")
    part = part or "test"
    start(as_json)
    from p2net_tf.detection.card import is_detector
    from p2net_tf.experiments import detector_runs as detectors
    from p2net_tf.experiments.opened_run import load_run, run_in
    from p2net_tf.experiments.runs import analyze_run, evaluate_run, require_oks
    from p2net_tf.inference.run_folder import network_file

    if is_detector(run):
        if precision is not None:
            raise typer.BadParameter("--precision belongs to networks of poses; this is a detector")
        words = overrides or []
        if data is None:
            sources = detectors.sources_of_run(run, part, words, config)
        else:
            sources = detectors.sources_in_folder(data, words)
        found = detectors.evaluate_sources(run, sources, part, out, score_limit, strict, skip_missing)
        analyses = detectors.analyze_sources(run, found, out, command_line()) if errors else {}
        _show({name: (evaluation, analyses.get(name)) for name, evaluation in found.items()}, as_json)
        return
    if data is not None or score_limit is not None:
        network_file(run)  # which says where there is no network at all
        raise typer.BadParameter("--data and --score-limit belong to detectors; this is a network of poses")
    loaded = load_run(run, overrides or [], config)
    if errors:
        require_oks(loaded.config)
    choice = None
    if precision is not None:
        loaded, choice = run_in(loaded, precision)
    evaluations = evaluate_run(loaded, part, out, strict, skip_missing)
    analyses = analyze_run(loaded, evaluations, part, out, command_line()) if errors else {}
    _show({name: (found, analyses.get(name)) for name, found in evaluations.items()}, as_json, choice)


@app.command(epilog="Example: `p2net score lsp --ground-truth joints.mat --predictions mine.mat --json`")
def score(
    data_set: Annotated[ScoredSet, typer.Argument(help="whose rules to score by")],
    ground_truth: Annotated[Path, typer.Option(help=".json, .mat, .h5 or .npz")],
    predictions: Annotated[Path, typer.Option(help=".json, .mat, .h5 or .npz")],
    threshold: Annotated[
        float | None, typer.Option(help="of PCK or PCKh; by default 0.2, for mpii 0.5")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="pck: the two keypoints whose distance is the unit; by default the card's, else "
            "left_shoulder,right_hip",
            show_default=False,
        ),
    ] = None,
    errors: Errors = False,
    skeleton: Annotated[str, typer.Option(help="card of a COCO-form set: a name or a YAML")] = "coco17",
    max_people: Annotated[
        int | None, typer.Option(help="coco: poses of a picture that count; by default COCO's 20", min=1)
    ] = None,
    score_limit: ScoreLimit = None,
    images: Annotated[Path | None, typer.Option(help="folder of the pictures, for the worst errors")] = None,
    out: Annotated[
        Path | None, typer.Option(help="write the errors' page here", callback=writable_folder)
    ] = None,
    as_json: AsJson = False,
):
    """Score stored predictions alone: OKS AP (coco), PCKh (mpii), PCK (lsp; pck for sets in COCO's form), box
    AP (boxes), MOTA, IDF1, jitter and lag of videos (tracks)."""
    _check_score_options(
        data_set, threshold, errors, skeleton, images, out, reference, max_people, score_limit
    )
    start(as_json, tensorflow=images is not None)
    if data_set is ScoredSet.boxes:
        from p2net_tf.evaluation.boxes.average_precision import evaluate_boxes
        from p2net_tf.evaluation.boxes.stored import analyze_stored_boxes

        files = ground_truth, predictions, score_limit
        analysis = analyze_stored_boxes(*files, out, images, command_line()) if errors else None
        result = analysis.result if analysis else evaluate_boxes(*files)
        _show({data_set.value: (result, analysis)}, as_json)
        return
    if data_set is ScoredSet.tracks:
        from p2net_tf.evaluation.tracks.score import score_tracks

        _show({data_set.value: (score_tracks(ground_truth, predictions, skeleton), None)}, as_json)
        return
    from p2net_tf.evaluation import stored
    from p2net_tf.evaluation.settings import COCO_PEOPLE

    scorer = getattr(stored, f"score_{data_set.value}")
    options = {} if threshold is None else {"threshold": threshold}
    if data_set in (ScoredSet.coco, ScoredSet.pck):
        options |= {"skeleton": skeleton}
    if max_people is not None:
        options |= {"max_people": max_people}
    if reference is not None:
        options |= {"reference": [name.strip() for name in reference.split(",")]}
    result = scorer(ground_truth, predictions, **options)
    analysis = None
    if errors:
        analysis = stored.analyze_coco(
            ground_truth, predictions, skeleton, out, images, command_line(), max_people or COCO_PEOPLE
        )
    _show({data_set.value: (result, analysis)}, as_json)


def _check_score_options(
    data_set, threshold, errors, skeleton, images, out, reference, max_people, score_limit
) -> None:
    is_coco, is_boxes = data_set is ScoredSet.coco, data_set is ScoredSet.boxes
    is_tracks = data_set is ScoredSet.tracks
    if threshold is not None and not 0 < threshold < math.inf:
        raise typer.BadParameter(f"--threshold {threshold:g}: give a number above 0, such as 0.2")
    if threshold is not None and is_tracks:
        raise typer.BadParameter("--threshold belongs to PCK and PCKh; boxes of a track overlap by IoU 0.5")
    if threshold is not None and (is_coco or is_boxes):
        raise typer.BadParameter("AP averages over its own thresholds; leave --threshold out")
    if errors and not (is_coco or is_boxes):
        raise typer.BadParameter("--errors belongs to OKS AP; give files in COCO's form as coco")
    if skeleton != "coco17" and data_set not in (ScoredSet.coco, ScoredSet.pck, ScoredSet.tracks):
        raise typer.BadParameter(
            "--skeleton belongs to coco, pck and tracks; the others have keypoints of their own"
        )
    if max_people is not None and not is_coco:
        raise typer.BadParameter("--max-people belongs to coco; the others compare poses with their people")
    if reference is not None and data_set is not ScoredSet.pck:
        raise typer.BadParameter("--reference belongs to pck; the others have lengths of their own")
    if score_limit is not None and not is_boxes:
        raise typer.BadParameter("--score-limit belongs to boxes")
    if (out is not None and not errors) or (images is not None and out is None):
        raise typer.BadParameter("--images goes with --out, and --out with --errors")


def _show(found: dict, as_json: bool, choice: PrecisionChoice | None = None) -> None:
    """Prints scores and, where there are any, the analyses of their errors.

    Args:
        found: name of the data -> `(result or evaluation, analysis or None)`; a single one is printed without
            its name.
        choice: the precision, where it was asked for.
    """
    from p2net_tf.cli.score_tables import print_errors, print_result

    if as_json:
        of_all = {"precision": choice.to_dict()} if choice else {}
        documents = {
            name: result.to_dict() | ({"errors": analysis.to_dict()} if analysis else {}) | of_all
            for name, (result, analysis) in found.items()
        }
        print_json(documents if len(found) > 1 else next(iter(documents.values())))
        return
    for name, (result, analysis) in found.items():
        if len(found) > 1:
            console.print(f"{name}:")
        if hasattr(result, "scope"):
            console.print(f"{result.scope} scored")
            result = result.result
        print_result(result, console)
        if analysis:
            print_errors(analysis, console)


@app.command(epilog="Example: `p2net info configs/p2net_resnet101_coco_384x288.yaml --json`")
def info(config: Config, overrides: Overrides = None, as_json: AsJson = False):
    """Output shapes, parameters and multiply-adds of a network, in total and per sub-network."""
    start(as_json)
    from p2net_tf.cli.summary_table import print_summary
    from p2net_tf.config.loading import load_pose_config
    from p2net_tf.config.networks import build_network
    from p2net_tf.models.summary import summarize
    from p2net_tf.skeletons.skeleton import Skeleton

    experiment = load_pose_config(config, overrides or [])
    keypoints = Skeleton.load(experiment.data.skeleton).num_keypoints
    summary = summarize(build_network(experiment.model, keypoints, download=False))
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, console)
