"""`--axis detector=V1,V2,...`: one estimator behind several detectors, the form of the paper's Table 4.

The estimator does not depend on who finds the boxes: it is trained once per seed, and its test pictures are
asked again with the boxes of each detector.

| value | boxes |
|---|---|
| `truth` | the people's own |
| a file `*.json` | COCO detections |
| a detector: a run folder, a `.keras` file, a SavedModel, `hub:PRESET`, `whole_image` | found, and kept |
| a configuration of a detector, or a part of its name such as `faster_rcnn` | of a detector trained here |

| file | content |
|---|---|
| `ablation.*` | as of every ablation, with the box AP of each detector |
| `cells/estimator/seed_S/` | run folders of the estimator |
| `detectors/VALUE/` | `cell.json`: box AP, and where the boxes lie; the run folder, where it was trained |
| `scores/VALUE/seed_S/` | `cell.json`: the scores of the keypoints |
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2net_tf.config.catalog import find_config, list_configs
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_config
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.experiments.ablation.axes import Axis, Value
from p2net_tf.experiments.ablation.grid import scored_part
from p2net_tf.experiments.cells import Cell, CellFiles, ExperimentError, note_other_sources
from p2net_tf.experiments.pool import WORKER, run_cells
from p2net_tf.experiments.statistics import SPREAD_NOTE, noise_notes
from p2net_tf.experiments.tables import column, make_row, metric_of
from p2net_tf.utils.yaml_files import ConfigError, did_you_mean

AXIS = "detector"
_NAMELESS = ("best", "last", "saved_model", "detections")
_OF_DETECTIONS = ("detections", "detection_boxes", "detection_coordinates")
TRUTH = "truth"
"""The value that stands for the people's own boxes."""
BOX_SCORES = ("AP", "AP50", "AP(S)", "AP(M)", "AP(L)")
"""The columns of Table 4."""


@dataclass(frozen=True)
class Source(Value):
    """Who finds the boxes; nothing that is trained depends on it.

    Attributes:
        detections: for `DatasetConfig.detections`; None where there is no detector yet, or none is needed.
        config: the detector's configuration, where it is trained here.
    """

    overrides: tuple[str, ...] = ()
    detections: str | None = None
    config: Path | None = None

    @classmethod
    def of(cls, word: str) -> Source:
        """Raises:
        ExperimentError: `word` names neither boxes nor a detector nor a configuration.
        """
        from p2net_tf.detection.opening import names_detector

        if word == TRUTH:
            return cls(word)
        if Path(word).suffix == ".json" or names_detector(word):
            if Path(word).suffix in (".json", ".keras") and not Path(word).is_file():
                raise ExperimentError(f"no file '{word}'")
            return cls(_label(word), detections=str(Path(word).resolve()) if Path(word).exists() else word)
        return cls(_label(word), config=_detector_config(word))


def is_detector_axis(axes: Sequence[Axis]) -> bool:
    return any(axis.name == AXIS for axis in axes)


def compare_detectors(
    config: ExperimentConfig,
    axes: Sequence[Axis],
    seeds: Sequence[int],
    folder: Path,
    jobs: int | None = None,
    worker: Sequence[str] = WORKER,
) -> dict:
    """Trains and scores what is not there yet; returns the content of `ablation.json`.

    Args:
        axes: one, whose values are `Source`s.
        jobs, worker: see `pool.run_cells`.

    Raises:
        ExperimentError: another axis beside this one, or test data that no detector can be asked about.
        Interrupted: SIGTERM or Ctrl-C came; the trainings are saved.
    """
    part, judging = _judging(config, axes)
    cells = {
        seed: Cell(
            f"estimator, seed {seed}",
            folder / "cells/estimator" / f"seed_{seed}",
            config.model_copy(update={"seed": seed}),
        )
        for seed in seeds
    }
    threads = run_cells(list(cells.values()), folder, jobs, worker)
    boxes = {source.label: _boxes(source, judging, config, folder) for source in axes[0].values}
    rows = {
        label: [_keypoints(label, found, cells[seed], part, judging, folder) for seed in seeds]
        for label, found in boxes.items()
    }
    return _report(config, part, seeds, rows, boxes, threads)


def _judging(config: ExperimentConfig, axes: Sequence[Axis]) -> tuple[str, DatasetConfig]:
    """The part that is scored, and the first of its sources."""
    from p2net_tf.evaluation.evaluate import demand_scorable
    from p2net_tf.skeletons.skeleton import Skeleton

    if len(axes) > 1:
        others = ", ".join(axis.name for axis in axes if axis.name != AXIS)
        raise ExperimentError(
            f"axis {AXIS}: is asked of one trained estimator, so it stands alone; set {others} as KEY=VALUE"
        )
    part = scored_part(config)
    if part is None:
        raise ExperimentError("neither data.test nor data.validation names a part to score")
    source = getattr(config.data, part)[0]
    asked = source.model_copy(update={"detections": "of a detector"})
    demand_scorable(asked, config.evaluation, Skeleton.load(config.data.skeleton))
    return part, source.model_copy(update={"detections": None})


def _boxes(source: Source, judging: DatasetConfig, config: ExperimentConfig, folder: Path) -> dict:
    """`{metric, value, scores, source}`; `{}` for the people's own boxes, `{failed: reason}` without any.

    `source` is what changes in `judging` with these boxes.
    """
    if source.label == TRUTH:
        return {}
    files = CellFiles(folder / "detectors" / source.label)
    if source.config is None:
        return files.attempt(lambda: _found_boxes(source.detections, judging, config))
    request = load_config(source.config).model_dump(mode="json")
    files.refuse_another_request(request)
    files.note_request(request)
    return files.attempt(lambda: _found_boxes(_trained(source.config, files.folder), judging, config))


def _trained(config: Path, folder: Path) -> str:
    """The run folder of a detector, which is trained unless it was."""
    from p2net_tf.experiments.runs import run_experiment
    from p2net_tf.training.checkpoints import Checkpoints

    if not (folder / "report.json").is_file():
        begun = Checkpoints(folder / "checkpoints").exist()
        run_experiment(load_config(config), folder, resume=begun, command="a detector of an ablation")
    return str(folder)


def _found_boxes(detections: str, judging: DatasetConfig, config: ExperimentConfig) -> dict:
    from p2net_tf.data.datasets import coco_truth, pictures_of_rows, read_dataset
    from p2net_tf.evaluation.boxes.average_precision import evaluate_boxes
    from p2net_tf.evaluation.detected_boxes import with_boxes_of_detector
    from p2net_tf.evaluation.evaluate import truth_of_pictures
    from p2net_tf.skeletons.skeleton import Skeleton

    skeleton = Skeleton.load(config.data.skeleton)
    asked = with_boxes_of_detector(judging.model_copy(update={"detections": detections}), skeleton)
    truth, _ = coco_truth(asked, skeleton)
    truth = truth_of_pictures(truth, pictures_of_rows(asked, skeleton))
    found = read_dataset(asked, skeleton)
    columns = (found.given_image_ids, found.boxes.tolist(), found.scores.tolist())
    results = [
        {"image_id": image, "category_id": found.category_id, "bbox": box, "score": score}
        for image, box, score in zip(*columns, strict=True)
    ]
    scores = evaluate_boxes(truth, results).metrics
    source = {name: getattr(asked, name) for name in _OF_DETECTIONS}
    return {"metric": "box AP", "value": scores["AP"], "scores": scores, "source": source}


def _keypoints(label: str, boxes: dict, cell: Cell, part: str, judging: DatasetConfig, folder: Path) -> dict:
    """The scores of one estimator on the boxes of one detector, in the form of a cell."""
    estimator = cell.outcome()
    failed = estimator.get("failed") or boxes.get("failed")
    if failed:
        return {"failed": failed}
    source = judging.model_copy(update=boxes.get("source", {})).model_dump(mode="json")
    request = {"source": source, "boxes": _digest(source["detections"]), "estimator": estimator}
    files = CellFiles(folder / "scores" / label / cell.folder.name)
    if files.request() == request and files.found() is not None:
        return files.found()
    files.forget_result()
    files.note_request(request)

    def score() -> dict:
        from p2net_tf.experiments.opened_run import load_run
        from p2net_tf.experiments.runs import evaluate_run, headline_scores

        run = load_run(cell.folder, [f"data.{part}={json.dumps([source])}"])
        scores = headline_scores(evaluate_run(run, part))
        metric, value = next(iter(scores.items()))
        return {"metric": metric, "value": value, "scores": scores}

    return files.attempt(score)


def _report(
    config: ExperimentConfig,
    part: str,
    seeds: Sequence[int],
    rows: dict[str, list[dict]],
    boxes: dict[str, dict],
    threads: int,
) -> dict:
    """The content of `ablation.json`, in the form of `summary.summarize`."""
    baseline = next(iter(rows))
    reference = column(rows[baseline], "value")
    settings = [
        {
            "name": f"{AXIS}={label}",
            "labels": {AXIS: label},
            "folder": f"scores/{label}",
            "boxes": boxes[label].get("scores"),
            **make_row(seeds, cells, None if label == baseline else reference),
        }
        for label, cells in rows.items()
    ]
    notes = [
        "One estimator per seed, asked with the boxes of every detector; box AP is of the same pictures.",
        *note_other_sources(config, part),
        SPREAD_NOTE,
        f"Threads of TensorFlow in every training: {threads}, whatever runs beside it.",
    ]
    return {
        "title": config.name,
        "metric": metric_of([cell for cells in rows.values() for cell in cells]),
        "part": part,
        "seeds": list(seeds),
        "axes": {AXIS: list(rows)},
        "baseline": f"{AXIS}={baseline}",
        "settings": settings,
        "effects": [],
        "columns": [_column(name, boxes.values(), len(seeds)) for name in BOX_SCORES],
        "notes": [*notes, *noise_notes([entry["difference"] for entry in settings], "the baseline")],
        "circumstances": {},
    }


def _column(name: str, boxes: Iterable[dict], seeds: int) -> dict:
    """One of the box scores of all rows, the same for every seed."""
    values = [found.get("scores", {}).get(name) for found in boxes]
    texts = [["-" if value is None or value < 0 else f"{value:.4f}"] * seeds for value in values]
    return {"heading": f"box {name}", "texts": texts}


def _digest(file: str | None) -> str | None:
    return file and hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _label(word: str) -> str:
    """Of a file its name, and that of its folder where the name says nothing."""
    path = Path(word)
    name = path.parent.name if path.stem in _NAMELESS and path.parent.name else path.stem
    return re.sub(r"[^\w.+-]", "_", name or word)


def _detector_config(word: str) -> Path:
    """The configuration that `word` names, whole or in part.

    Raises:
        ExperimentError: none, or several.
    """
    known = [entry.name for entry in list_configs() if entry.name.startswith("detector_")]
    fitting = [name for name in known if word in name.removeprefix("detector_").split("_coco")[0]]
    if len(fitting) > 1 and word not in fitting:
        raise ExperimentError(f"'{word}' may be {' or '.join(fitting)}; name one of them")
    try:
        file = find_config(fitting[0] if len(fitting) == 1 else word)
    except ConfigError:
        raise ExperimentError(
            f"'{word}' is no detector: give {TRUTH}, a file of detections, a run folder, a .keras file, a "
            f"SavedModel, or a configuration of a detector{did_you_mean(word, known)}"
        ) from None
    if isinstance(load_config(file), ExperimentConfig):
        raise ExperimentError(f"{file}: is a configuration of poses, not of a detector (task: detect)")
    return file
