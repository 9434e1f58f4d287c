"""The run folder: what `p2net train` leaves behind, and what evaluate and predict read.

| file | content |
|---|---|
| `config.yaml` | the resolved configuration |
| `policy.yaml` | the augmentation policy, where `policy` names one |
| `problems.json` | everything broken or suspicious in the data, with remedies |
| `history.csv`, `tensorboard/` | logs per epoch |
| `checkpoints/` | what `--resume` needs |
| `best.keras`, `last.keras` | the network with the best validation, and after the last epoch |
| `curves.png`, `overlays.jpg` | loss and accuracy over the epochs; predictions on unseen people |
| `predictions.json` | the scored poses of the test part in COCO result form |
| `ground_truth.json` | what OKS compared them with, where that is not an annotation file as it lies |
| `problems_test.json` | what is broken or suspicious in the test part |
| `report.json`, `report.html` | scores, curves and overlays on one page |

Where a part has several sources, each is scored by itself, and its predictions and overlays lie in a folder
of its name.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
from rich.markup import escape

from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import AnyExperiment
from p2net_tf.config.model import describe_model
from p2net_tf.data.annotation_files import write_json
from p2net_tf.data.check import write_problems
from p2net_tf.data.crops import picture
from p2net_tf.data.image_files import decode_image
from p2net_tf.data.image_sources import image_readers
from p2net_tf.data.settings import DatasetConfig, name_sources
from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.error_analysis.analysis import ErrorAnalysis, analyze_errors
from p2net_tf.evaluation.error_analysis.report import write_errors
from p2net_tf.evaluation.error_analysis.sheet import pictures_of_samples
from p2net_tf.evaluation.evaluate import Evaluation, Scorer, demand_scorable, evaluate
from p2net_tf.evaluation.report import write_report
from p2net_tf.experiments.curves import CURVES, draw_curves
from p2net_tf.experiments.detector_report import report_detector
from p2net_tf.experiments.opened_run import Run, load_run
from p2net_tf.experiments.run_folder import RunError, place_of, problems_file
from p2net_tf.experiments.training import train
from p2net_tf.keypoints import geometry
from p2net_tf.models.summary import summarize
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.interruption import Interruption
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.locks import lock_folder
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.provenance import describe_environment
from p2net_tf.utils.tf_config import read_cluster

_SHEET_PEOPLE = 24
_TILE_HEIGHT = 256


def run_experiment(
    config: AnyExperiment,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    command: str = "",
) -> dict | None:
    """Trains, scores the test part where there is one, and writes the run folder; returns the report.

    Of several workers only the chief has a report; the others return None.

    Args:
        command: the command line, for the report.
    """
    folder = as_path(folder, "folder")
    if isinstance(config, ExperimentConfig):
        for source in config.data.test:  # before hours of training, not after them
            demand_scorable(source, config.evaluation, Skeleton.load(config.data.skeleton))
    worker = read_cluster()
    with ExitStack() as alone:
        if worker.count == 1:
            # Workers must not wait for a chief that was refused before they knew of each other.
            alone.enter_context(lock_folder(folder))
            # Before the training nothing is done, after it all is saved; it has an interruption of its own.
            stop = alone.enter_context(Interruption(f"saved in {folder}; resume it to go on"))
            stop.nothing_to_lose = True
        start = time.perf_counter()
        train(config, folder, resume=resume, strict=strict)
        if not worker.is_chief:  # who alone has a run folder
            return None
        with lock_folder(folder):
            return _report_training(config, folder, start, resume, strict, command)


def _report_training(
    config: AnyExperiment, folder: Path, start: float, resume: bool, strict: bool, command: str
) -> dict:
    minutes = round((time.perf_counter() - start) / 60, 2)
    facts = {"training_minutes_since_resume" if resume else "training_minutes": minutes}
    if isinstance(config, DetectorExperimentConfig):
        return report_detector(config, folder, facts, strict, command)
    draw_curves(folder, "accuracy")
    run = load_run(folder)
    return report_run(run, facts | _size_of(run.network), strict, command)


def report_run(run: Run, facts: dict, strict: bool = False, command: str = "") -> dict:
    """Scores `run` on its test part, if any, and writes predictions, overlays and the report."""
    report = {
        "title": run.config.name,
        "subtitle": _subtitle(run.config),
        "headline": {},
        "scores": {},
        "figures": [],
        "environment": describe_environment(seed=run.config.seed),
        "command": command,
    }
    if run.config.data.test:
        _add_scores(report, evaluate_run(run, "test", run.folder, strict))
    report["scores"]["Run"] = facts
    report["figures"] += _figures(run.folder)
    write_report(run.folder, report)
    return report


def _add_scores(report: dict, evaluations: Mapping[str, Evaluation]) -> None:
    report["headline"] = headline_scores(evaluations)
    results = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
    report["result"] = next(iter(results.values()))
    if len(results) > 1:
        report["results"] = results
    report["notes"] = []
    for name, evaluation in evaluations.items():
        of = _of(name, evaluations)
        report["scores"][f"{evaluation.result.name}{of}"] = _table(evaluation)
        notes = [evaluation.people.describe(), *getattr(evaluation.result, "diagnostics", ())]
        report["notes"] += [f"{name}: {note}" if of else note for note in notes if note]
        if evaluation.people.errors:
            report["headline"][f"people scored{of}"] = evaluation.people.scored
        overlays = place_of(Path(), name, evaluations) / "overlays.jpg"
        caption = f"Predictions on people the network never saw{of}"
        report["figures"].append({"file": overlays.as_posix(), "caption": caption})


def evaluate_run(
    run: Run, part: str = "test", out: Path | None = None, strict: bool = False, skip_missing: bool = False
) -> dict[str, Evaluation]:
    """Scores a run on every data source of one of its parts, each by itself.

    Args:
        part: `test`, `validation` or `train`.
        out: folder for `predictions.json`, `problems.json` and `overlays.jpg`, see `place_of`; None writes
            nothing. In the folder of the run, whose `problems.json` is that of the training, the problems of
            a part are in `problems_PART.json`.
        skip_missing: people whose picture is missing or broken do not count, instead of as missed.

    Returns:
        By the names of the sources.

    Raises:
        RunError: the configuration names no data for this part.
    """
    evaluations, sources = {}, sources_of(run, part)
    for name, source in sources.items():
        found = evaluate(run.network, run.card, source, run.config.evaluation, strict, skip_missing)
        evaluations[name] = found
        for said in filter(None, (*found.people.notes, found.people.describe())):
            messages.print(f"[yellow]{name}[/yellow] {escape(said)}", soft_wrap=True)
        if out is not None:
            place = make_folder(place_of(out, name, sources))
            save_predictions(place, found)
            write_problems(found.problems, place / problems_file(out, run.folder, part))
            write_overlays(place / "overlays.jpg", found, run.config)
    return evaluations


def analyze_run(
    run: Run,
    evaluations: Mapping[str, Evaluation],
    part: str = "test",
    out: Path | None = None,
    command: str = "",
) -> dict[str, ErrorAnalysis]:
    """The keypoint errors behind the evaluations of `part` by OKS AP.

    Args:
        out: folder for `errors.html`, `errors.json`, plots and the worst poses; None writes nothing.
        command: the command line, for the page.
    """
    analyses, sources = {}, sources_of(run, part)
    for name, found in evaluations.items():
        samples, settings = found.samples, run.config.evaluation
        inputs = Scorer(found.people, run.card, settings, sources[name]).oks_inputs(found.predictions)
        analyses[name] = analyze_errors(
            inputs.ground_truth, inputs.results, samples.skeleton, settings.max_people
        )
        if out is not None:
            title = f"Errors of {run.config.name}{_of(name, sources)}"
            pictures = pictures_of_samples(samples, inputs.offset)
            write_errors(place_of(out, name, sources), analyses[name], title, pictures, command)
    return analyses


def require_oks(config: ExperimentConfig) -> None:
    """Raises:
    RunError: the metric is another than OKS AP, of which alone the errors have a cost.
    """
    if config.evaluation.metric != "oks_ap":
        raise RunError(
            f"the errors are those of OKS AP, but evaluation.metric is {config.evaluation.metric}; add "
            "evaluation.metric=oks_ap, which every skeleton card has the sigmas for"
        )


def sources_of(run: Run, part: str) -> dict[str, DatasetConfig]:
    """The data sources of a part by their names, each person once.

    Raises:
        RunError: the configuration names no data for this part.
    """
    sources = getattr(run.config.data, part) if part in ("test", "validation", "train") else ()
    if not sources:
        raise RunError(f"{run.folder}: the configuration has no data.{part}; take test, validation or train")
    return {name: source.model_copy(update={"repeat": 1}) for name, source in name_sources(sources).items()}


def _of(name: str, names: Collection[str]) -> str:
    return f", {name}" if len(names) > 1 else ""


def headline_scores(evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """The scores that a report begins with, as fractions; the first one judges.

    With the names of the sources where there are several: `AP, coco_val2017`.
    """
    scores = {}
    for name, evaluation in evaluations.items():
        result = evaluation.result
        if isinstance(result, CocoResult):
            found = {label: result[label] for label in ("AP", "AP50", "AR")}
        else:
            found = {result.name: result.total / 100}
        scores |= {f"{label}{_of(name, evaluations)}": value for label, value in found.items()}
    return scores


def save_predictions(folder: Path, evaluation: Evaluation) -> None:
    """Writes exactly what was scored: `predictions.json`, and `ground_truth.json` where no file is it."""
    write_json(folder / "predictions.json", evaluation.scored.results)
    if evaluation.scored.ground_truth is not None:
        write_json(folder / "ground_truth.json", evaluation.scored.ground_truth)


def write_overlays(path: Path, evaluation: Evaluation, config: ExperimentConfig) -> None:
    """A sheet of people spread evenly over the evaluated set, each crop with its predicted skeleton."""
    samples = evaluation.samples
    rows = np.unique(np.linspace(0, len(samples) - 1, _SHEET_PEOPLE).astype(int))
    images = image_readers(samples, rows)
    tiles = [_overlay(evaluation, row, images[row](), config) for row in rows]
    captions = [f"score {evaluation.predictions.scores[row]:.2f}" for row in rows]
    drawing.write_image(path, drawing.contact_sheet(tiles, columns=8, captions=captions))


def _overlay(evaluation: Evaluation, row: int, contents, config: ExperimentConfig) -> np.ndarray:
    """The crop window of the network, at a height that people can see."""
    samples, (height, width) = evaluation.samples, config.model.input_size
    size = (_TILE_HEIGHT, round(_TILE_HEIGHT * width / height))
    image = decode_image(contents, samples.exif_orientation)
    crop, matrix = picture(image, samples.boxes[row], size, config.data.box_padding)
    keypoints = geometry.transform_points(evaluation.predictions.keypoints[row], matrix)
    scores = np.clip(evaluation.predictions.keypoint_scores[row], 0, 1)
    return drawing.draw_skeleton(crop, np.asarray(keypoints), samples.skeleton, scores=scores)


def _figures(folder: Path) -> list[dict]:
    if not (folder / CURVES).is_file():
        return []
    return [{"file": CURVES, "caption": "Loss, accuracy and learning rate over the epochs"}]


def _subtitle(config: ExperimentConfig) -> str:
    height, width = config.model.input_size
    return f"{describe_model(config.model)}, {height}x{width}"


def _table(evaluation: Evaluation) -> dict[str, float]:
    result = evaluation.result
    if isinstance(result, CocoResult):
        return dict(result.metrics)
    return {**result.per_group, "Total": result.total, "Mean": result.mean}


def _size_of(network: keras.Model) -> dict:
    summary = summarize(network)
    return {
        "parameters": summary["parameters"],
        "multiply_adds": summary["multiply_adds"],
    }
