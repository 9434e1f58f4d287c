"""Detectors are evaluated: a `.keras` file, or a run folder, whose card is for the task `detect`.

| file | content |
|---|---|
| `predictions.json` | the boxes that were scored, as COCO results |
| `ground_truth.json` | what they were compared with |
| `problems.json` | everything broken or suspicious in the data, with remedies |
| `errors.html`, `errors.json`, `errors_*` | what goes wrong, and the worst of each kind |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from p2net_tf.data.annotation_files import write_json
from p2net_tf.data.boxes.datasets import read_scenes
from p2net_tf.data.boxes.recognise import recognise_boxes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.check import write_problems
from p2net_tf.data.settings import name_sources
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.evaluation.boxes.error_report import write_box_errors
from p2net_tf.evaluation.boxes.error_types import BoxAnalysis, analyze_case
from p2net_tf.evaluation.boxes.evaluate import BoxEvaluation, evaluate_detector
from p2net_tf.evaluation.boxes.scored_scenes import image_ids_of
from p2net_tf.evaluation.error_analysis.sheet import Pictures, pictures_at
from p2net_tf.experiments.run_folder import RunError, place_of, problems_file
from p2net_tf.inference.run_folder import network_file
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import make_folder
from p2net_tf.utils.yaml_files import ConfigError, Document, validate


def sources_in_folder(root: str | Path, overrides: Sequence[str] = ()) -> dict[str, BoxDatasetConfig]:
    """The one source in a folder, by its name, in whatever format its files are.

    Args:
        overrides: `key=value` of the source, such as `split=val` or `format=voc`.

    Raises:
        ConfigError: a key or value that no source of boxes has.
        DataError: no such folder.
    """
    document = Document.of_tree({"root": str(root)}, "the command line")
    for word in overrides:
        document.override(word)
    split = str(document.tree.get("split", "train"))
    document.tree.setdefault("format", recognise_boxes(document.tree["root"], split) or "coco")
    return name_sources([validate(BoxDatasetConfig, document)])


def sources_of_run(
    path: str | Path, part: str = "test", overrides: Sequence[str] = (), config: str | Path | None = None
) -> dict[str, BoxDatasetConfig]:
    """The sources of a part of the configuration beside a detector, by their names.

    Args:
        part: `test`, `validation` or `train`.
        overrides: `key=value` on the section `data` of the configuration; how the network is asked says its
            card.
        config: configuration instead of the `config.yaml` beside the network.

    Raises:
        RunError: there is no configuration, or it names no data for this part.
        ConfigError: a source that is none of boxes, or an override of another section.
    """
    strange = next((word for word in overrides if not word.startswith("data.")), None)
    if strange is not None:
        raise ConfigError(f"override '{strange}': a detector is asked as its card says; change data.* alone")
    file = Path(config) if config else network_file(path).parent / "config.yaml"
    if not file.is_file():
        raise RunError(f"{path}: no {file.name} beside it says which data it is for; name the data set")
    document = Document.read(file)
    for word in overrides:
        document.override(word)
    document.expand_variables()
    data = document.tree.get("data")
    entries = data.get(part) if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise RunError(f"{file}: has no data.{part}; take test, validation or train, or name the data set")
    sources = [_source(entry, f"{file}: data.{part}.{place}") for place, entry in enumerate(entries)]
    return {name: source.model_copy(update={"repeat": 1}) for name, source in name_sources(sources).items()}


def _source(entry, where: str) -> BoxDatasetConfig:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: a source is a mapping of keys, such as format and root")
    return validate(BoxDatasetConfig, Document.of_tree(entry, where))


def evaluate_sources(
    path: str | Path,
    sources: Mapping[str, BoxDatasetConfig],
    part: str = "test",
    out: Path | None = None,
    score_limit: float | None = None,
    strict: bool = False,
    skip_missing: bool = False,
) -> dict[str, BoxEvaluation]:
    """Scores a detector on every source, each by itself; further arguments as for `evaluate_detector`.

    Args:
        path: of a `.keras` file or a run folder.
        part: of the data, that `sources` are; for the names of files.
        out: folder for the files of the first rows of the table above, in a folder of its name for each
            source where there are several; None writes nothing.
    """
    file = network_file(path)
    detector, evaluations = NetworkDetector.load(file), {}
    for name, source in sources.items():
        found = evaluate_detector(detector, read_scenes(source), score_limit, strict, skip_missing)
        evaluations[name] = found
        for said in filter(None, (*found.pictures.notes, found.pictures.describe())):
            messages.print(f"[yellow]{name}[/yellow] {escape(said)}", soft_wrap=True)
        if out is not None:
            place = make_folder(place_of(out, name, sources))
            save_evaluation(place, found, problems_file(out, file.parent, part))
    return evaluations


def save_evaluation(folder: Path, found: BoxEvaluation, problems_name: str = "problems.json") -> None:
    """Writes exactly what was scored, and what was wrong with the data."""
    write_json(folder / "predictions.json", found.results)
    write_json(folder / "ground_truth.json", found.ground_truth)
    write_problems(found.problems, folder / problems_name)


def analyze_sources(
    path: str | Path, evaluations: Mapping[str, BoxEvaluation], out: Path | None = None, command: str = ""
) -> dict[str, BoxAnalysis]:
    """The errors behind evaluations; arguments as for `evaluate_sources`."""
    analyses = {}
    for name, found in evaluations.items():
        analyses[name] = analyze_case(found.case, found.result.at_limit.limit)
        if out is not None:
            title = f"Errors of {Path(path).stem}" + (f", {name}" if len(evaluations) > 1 else "")
            place = place_of(out, name, evaluations)
            write_box_errors(place, analyses[name], title, _pictures(found), command)
    return analyses


def _pictures(found: BoxEvaluation) -> Pictures:
    scenes = found.pictures.everything
    path_of = dict(zip(image_ids_of(scenes), scenes.image_paths.tolist(), strict=True))
    return pictures_at(path_of, exif_orientation=scenes.exif_orientation)
