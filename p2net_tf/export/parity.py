"""Is what is served what was evaluated? All runtimes on the same people, in one table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from p2net_tf.data.image_sources import image_readers
from p2net_tf.data.samples import Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation.evaluate import headline, score
from p2net_tf.evaluation.people import open_people
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.export.requests import MAX_PEOPLE
from p2net_tf.export.runtimes import PoseFunction, Runtime, folder_size, open_runtimes
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions, predict
from p2net_tf.utils.console import progress

EVALUATION = "Python evaluation"
SURE = 0.3
"""Keypoints with a higher score than this are those that a user would draw."""

_WARM_UP = 3
_THREADED_REQUESTS = 64


def verify(
    network: keras.Model,
    card: InferenceCard,
    source: DatasetConfig,
    settings: EvaluationConfig,
    exif_orientation: bool,
    saved_model: Path | None = None,
    tflite: Path | None = None,
    others: Mapping[str, PoseFunction] | None = None,
) -> dict:
    """Compares every runtime with Python's evaluation of `source`.

    Args:
        exif_orientation: of the exported model; the evaluation sees the pictures the same way.
        saved_model, tflite: version folders.
        others: name -> a further runtime to the SavedModel, such as a server that holds it.

    Returns:
        `{"data", "people", "metric", "runtimes": {name: figures}}`. Differences are in image pixels.
    """
    people = open_people(source, card)
    samples = replace(people.samples, exif_orientation=exif_orientation)
    people = replace(
        people, samples=samples, missed=replace(people.missed, exif_orientation=exif_orientation)
    )
    start = time.perf_counter()
    evaluated = predict(network, samples, card)
    seconds = time.perf_counter() - start
    scored = score(people, evaluated, card, settings, source)
    first = {"score": headline(scored), "size": None, "latency_ms": None}
    first["people_per_s"] = len(samples) / seconds
    report = {
        "data": samples.source,
        "people": len(samples),
        "metric": scored.name,
        "cores": os.cpu_count(),
        "runtimes": {EVALUATION: first},
    }
    requests = _requests(samples)
    with open_runtimes(network, card, exif_orientation, saved_model, tflite) as runtimes:
        size = folder_size(saved_model) if saved_model else None
        runtimes |= {name: Runtime(pose, size) for name, pose in (others or {}).items()}
        found = {None: evaluated}
        with progress("comparing runtimes, requests", total=len(runtimes) * len(requests)) as advance:
            for name, runtime in runtimes.items():
                advance.describe(name)
                found[name], clock = _ask(runtime, samples, requests, advance)
                report["runtimes"][name] = {
                    **_differences(found[name], found[runtime.reference]),
                    "score": headline(score(people, found[name], card, settings, source)),
                    "size": runtime.size,
                    "compared_with": runtime.reference or EVALUATION,
                    **clock,
                }
    return report


def _requests(samples: Samples) -> list[tuple[Callable[[], bytes], np.ndarray]]:
    """(reader of a picture, rows of the people in it) of every picture; large groups are split."""
    _, first, owner = np.unique(samples.image_ids, return_index=True, return_inverse=True)
    readers = image_readers(samples, first)
    requests = []
    for number in np.argsort(first):
        rows = np.flatnonzero(owner == number)
        read = readers[int(first[number])]
        requests += [(read, rows[i : i + MAX_PEOPLE]) for i in range(0, len(rows), MAX_PEOPLE)]
    return requests


def _ask(runtime: Runtime, samples: Samples, requests: list, advance: Callable) -> tuple[Predictions, dict]:
    """The poses of all people, and how long they took."""
    count = len(samples), samples.skeleton.num_keypoints
    keypoints, scores = np.zeros((*count, 2), np.float32), np.zeros(count, np.float32)
    pose = np.zeros(count[0], np.float32)
    for read, rows in requests[:_WARM_UP]:
        runtime.pose(read().numpy(), samples.boxes[rows])
    seconds = []
    for read, rows in requests:
        contents = read().numpy()
        start = time.perf_counter()
        keypoints[rows], scores[rows], pose[rows] = runtime.pose(contents, samples.boxes[rows])
        seconds.append(time.perf_counter() - start)
        advance()
    clock = {
        "latency_ms": 1000 * float(np.median(seconds)),
        "people_per_s": _throughput(runtime, samples, requests[:_THREADED_REQUESTS]),
    }
    return Predictions(keypoints, scores, samples.scores * pose), clock


def _throughput(runtime: Runtime, samples: Samples, requests: list) -> float:
    contents = [(read().numpy(), samples.boxes[rows]) for read, rows in requests]
    start = time.perf_counter()
    with ThreadPoolExecutor(runtime.threads) as pool:
        people = sum(len(found[2]) for found in pool.map(lambda request: runtime.pose(*request), contents))
    return people / (time.perf_counter() - start)


def _differences(found: Predictions, reference: Predictions) -> dict:
    distance = np.linalg.norm(found.keypoints - reference.keypoints, axis=-1)
    sure = distance[reference.keypoint_scores > SURE]
    return {
        "median_px": float(np.median(distance)),
        "max_px": float(distance.max()),
        "sure_99_px": float(np.quantile(sure, 0.99)) if len(sure) else None,
        "max_score_difference": float(np.abs(found.scores - reference.scores).max()),
    }
