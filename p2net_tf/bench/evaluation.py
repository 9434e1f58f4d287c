"""How evaluation grows with the boxes of a detector: `p2net bench evaluation`.

COCO's usual detections are some 30 boxes a picture, most of them of nobody. Here every picture has as many,
around the person that it shows, and evaluation takes more and more of them: the crops alone, the poses in
them, and their score. Time should grow as the boxes do, and memory not at all but for the poses themselves.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from p2net_tf.bench.timing import Circumstances, in_turns, quartiles
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.coco import coco_ground_truth, coco_results, evaluate_coco
from p2net_tf.evaluation.evaluate import keep_poses
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.test_recipe import Predictions, predict
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.utils.files import write_text

BOXES = (2000, 4000, 8000)
BOXES_PER_PICTURE = 32
"""17,000 boxes of a detector in 538 pictures of COCO."""
CROPS, POSES, SCORE = "crops", "poses", "score"
_SHIFT, _GROWTH = 0.1, 1.25
"""By so much of its size a box is shifted, and by up to this factor larger or smaller."""
_LOOK_SECONDS = 0.02


def bench_evaluation(
    model: str,
    samples: Samples,
    out: str | Path,
    boxes: Sequence[int] = BOXES,
    boxes_per_picture: int = BOXES_PER_PICTURE,
    rounds: int = 3,
    command: str = "",
) -> dict:
    """Measures every number of boxes in turns, writes the JSON and returns it.

    Args:
        model: as `PoseEstimator.load` takes it.
        samples: people; where their keypoints are those of the model, the poses are scored as well.
        boxes: at least two numbers of boxes.
        command: the command line, for the report.

    Raises:
        DataError: there is nobody, or only one number of boxes.
        UserError: the model cannot be opened.
    """
    numbers = sorted(set(boxes))
    if len(numbers) < 2 or numbers[0] < 1:
        raise DataError(f"boxes: {', '.join(map(str, numbers))}; give two numbers or more, to compare them")
    circumstances, pose = Circumstances(command), PoseEstimator.load(model)
    crowds = {number: crowded(samples, number, boxes_per_picture) for number in numbers}
    stages = _stages(pose, samples)
    measures = {
        (name, number): _measure(stage, pose, crowd, boxes_per_picture)
        for number, crowd in crowds.items()
        for name, stage in stages.items()
    }
    # Before anything is measured again: what was allocated once for many boxes is there for few, too.
    memory = {number: _most_megabytes([measures[name, number] for name in stages]) for number in numbers}
    measured = in_turns(measures, rounds, warm_up=0)
    report = {
        "title": samples.source,
        "model": pose.card.name,
        "boxes": numbers,
        "pictures": {number: len(np.unique(crowd.image_ids)) for number, crowd in crowds.items()},
        "most_megabytes": memory,
        "stages": {name: _growth({n: measured[name, n] for n in numbers}) for name in stages},
        "rounds": rounds,
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def crowded(samples: Samples, boxes: int, boxes_per_picture: int = BOXES_PER_PICTURE) -> Samples:
    """So many boxes, picture by picture as a detector gives them, around the first person of each picture.

    Where there are too few pictures they come again under other numbers, and are decoded again. The first box
    of a picture is that of the person.

    Raises:
        DataError: there is nobody.
    """
    if not len(samples):
        raise DataError(f"{samples.source}: nobody is in it, so there is nothing to measure")
    _, people = np.unique(samples.image_paths, return_index=True)
    people = np.sort(people)
    pictures = np.arange(boxes) // boxes_per_picture
    crowd, random = samples.take(people[pictures % len(people)]), np.random.default_rng(0)
    jitter = (np.arange(boxes) % boxes_per_picture > 0)[:, None]
    grown = crowd.boxes[:, 2:] * np.where(jitter, _GROWTH ** random.uniform(-1, 1, (boxes, 2)), 1)
    shifts = crowd.boxes[:, 2:] * np.where(jitter, random.uniform(-_SHIFT, _SHIFT, (boxes, 2)), 0)
    corners = crowd.boxes[:, :2] + (crowd.boxes[:, 2:] - grown) / 2 + shifts
    return replace(
        crowd,
        boxes=np.concatenate([corners, grown], axis=1),
        scores=np.where(jitter[:, 0], random.uniform(0, 1, boxes), 1.0),
        ids=np.arange(1, boxes + 1),
        image_ids=pictures + 1,
        image_names={},
    )


def _stages(pose: PoseEstimator, samples: Samples) -> dict[str, Callable]:
    scored = samples.skeleton.keypoints == pose.skeleton.keypoints
    return {CROPS: _make_crops, POSES: _find_poses} | ({SCORE: _score} if scored else {})


def _make_crops(pose: PoseEstimator, crowd: Samples, boxes_per_picture: int) -> None:
    card = pose.card
    batches = evaluation_dataset(
        crowd, card.input_size, card.recipe.batch_size, card.box_padding, ALIGNMENTS[card.alignment]
    )
    for _ in batches:
        pass


def _find_poses(pose: PoseEstimator, crowd: Samples, boxes_per_picture: int) -> None:
    predict(pose.network, crowd, pose.card)


def _score(pose: PoseEstimator, crowd: Samples, boxes_per_picture: int) -> None:
    """OKS AP of poses that are as far from the truth as their boxes are, with OKS-NMS."""
    moved = crowd.boxes[:, :2] + crowd.boxes[:, 2:] / 2
    first = np.arange(len(crowd)) // boxes_per_picture * boxes_per_picture
    keypoints = crowd.keypoints[..., :2] + (moved - moved[first])[:, None]
    found = Predictions(keypoints, np.ones(keypoints.shape[:2], np.float32), crowd.scores)
    rows, scores = keep_poses(crowd, found, pose.card, EvaluationConfig(nms="oks"))
    results = coco_results(crowd.image_ids[rows], keypoints[rows], scores)
    truth = coco_ground_truth(crowd.take(np.unique(first)))
    evaluate_coco(truth, results, crowd.skeleton.sigmas)


def _measure(stage: Callable, pose: PoseEstimator, crowd: Samples, boxes_per_picture: int) -> Callable:
    """A measure of seconds and core seconds."""

    def measure() -> tuple[float, float]:
        cores, start = time.process_time(), time.perf_counter()
        stage(pose, crowd, boxes_per_picture)
        return time.perf_counter() - start, time.process_time() - cores

    return measure


def _most_megabytes(measures: Sequence[Callable]) -> float:
    """That this process held while it did these."""
    process, done = psutil.Process(), threading.Event()
    held = [process.memory_info().rss]

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            held.append(process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        for measure in measures:
            measure()
    finally:
        done.set()
        watcher.join()
    return max(held) / 2**20


def _growth(measured: dict[int, np.ndarray]) -> dict:
    """Of a stage: what each number of boxes costs, and by which power of the boxes the core seconds grow."""
    core_seconds = {number: np.median(values[:, 1]) for number, values in measured.items()}
    power, _ = np.polyfit(np.log(list(core_seconds)), np.log(list(core_seconds.values())), 1)
    return {
        "seconds": {number: quartiles(values[:, 0]) for number, values in measured.items()},
        "core_seconds": {number: quartiles(values[:, 1]) for number, values in measured.items()},
        "core_milliseconds_per_box": {number: 1000 * s / number for number, s in core_seconds.items()},
        "power": float(power),
    }
