"""Rendered people whose poses and numbers are known, followed by the whole chain: `p2net bench tracks`.

For every kind of scene: MOTA, IDF1, OKS AP, jitter and lag, with and without smoothing, with the detector on
every frame and on a few.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from p2net_tf.bench.scene_detectors import Disturbance, DisturbedTruth, SceneDetector
from p2net_tf.bench.timing import Circumstances
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import SCENES, Scene, WalkFrame, WalkOptions, render_walk, walk_truth
from p2net_tf.detection.opening import open_detector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.tracks.numbers import import_motmetrics
from p2net_tf.evaluation.tracks.score import TrackResult, score_tracks
from p2net_tf.utils.console import track
from p2net_tf.utils.files import write_text
from p2net_tf.video.people import PeopleFrame, VideoPoses, smoothed

ALL = "all"
_APART = 1000
"""Frames and numbers from one scene to the next, which are scored as one video: nothing leads from one to the
other."""
_OF_POSES = ("AP", "jitter", "lag")
"""What smoothing changes: it moves no box, and changes no number."""

Scored = tuple[dict, list[dict], list[dict]]
"""Truth of a scene, what was found, and the same smoothed."""


def bench_tracks(
    model: str,
    out: str | Path,
    detector: str | None = None,
    detect_every: int = 5,
    scenes: int = 10,
    kinds: Sequence[Scene] = SCENES,
    seed: int = 0,
    options: WalkOptions | None = None,
    command: str = "",
) -> dict:
    """Renders and follows, writes the JSON, and returns the report.

    The file is written after every kind of scene, so that an hour that is broken off is not lost.

    Args:
        model: as `PoseEstimator.load` takes it; of people of COCO's 17 keypoints.
        detector: as `PoseEstimator.predict` takes it; None takes the true boxes, with the errors of a
            `Disturbance`.
        detect_every: of the second way, where the detector looks at every such frame.
        scenes: of each kind.
        seed: of the first scene of each kind; the others follow.
        command: the command line, for the report.

    Raises:
        TrackScorerError: motmetrics, the extra `tracks`, is missing.
        UserError: something cannot be opened, or the network finds other keypoints.
    """
    import_motmetrics()  # before the minutes that rendering takes
    circumstances, options = Circumstances(command), options or WalkOptions()
    pose, make = PoseEstimator.load(model), _maker(detector)
    if pose.skeleton.keypoints != SKELETON.keypoints:
        raise DataError(
            f"{model}: finds the keypoints of '{pose.skeleton.name}', rendered people have those of "
            f"'{SKELETON.name}'; take a network of these, such as runs/demo after `p2net demo`"
        )
    ways = {"every frame": 1, f"every {detect_every} frames": detect_every}
    scored: dict[str, dict[str, list[Scored]]] = {way: {} for way in ways}
    eyes: dict[str, list[SceneDetector]] = {way: [] for way in ways}
    seeds = range(seed, seed + scenes)
    for kind, number in track([(kind, number) for kind in kinds for number in seeds], "scenes"):
        frames = list(render_walk(number, kind, options))
        for way, every in ways.items():
            eyes[way].append(make(number))
            seen = _follow(pose, eyes[way][-1], frames, every, options.rate)
            scored[way].setdefault(kind, []).append(seen)
        if number == seeds[-1]:
            head = {"title": f"people over time, {pose.card.name}", "video": _video(options)}
            head |= {"scenes": scenes, "seed": seed, "detector": _detector(detector, eyes)}
            results = {way: _results(by_kind, pose.skeleton) for way, by_kind in scored.items()}
            report = {**head, "results": results, **circumstances.to_dict()}
            write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def _video(options: WalkOptions) -> dict:
    return {
        "size": f"{options.width}x{options.height}",
        "rate": options.rate,
        "frames": options.frames,
    }


def _detector(detector: str | None, eyes: dict[str, list[SceneDetector]]) -> dict:
    return {
        "is": detector or "the truth, disturbed",
        **({} if detector else asdict(Disturbance())),
        "looks": {way: _quality(seen) for way, seen in eyes.items()},
    }


def _maker(detector: str | None) -> Callable[[int], SceneDetector]:
    """What makes the detector of a scene, from its seed."""
    if detector is None:
        return lambda seed: SceneDetector(DisturbedTruth(seed))
    opened = open_detector(detector)
    return lambda seed: SceneDetector(lambda frame: opened.detect_in(frame.picture), opened.likely_score)


def _follow(
    pose: PoseEstimator, eye: SceneDetector, frames: list[WalkFrame], every: int, rate: float
) -> Scored:
    found = list(VideoPoses(pose, eye, every).predict(eye.watch(frames), rate))
    return walk_truth(frames), _entries(found), _entries(smoothed(found))


def _entries(frames: Iterable[PeopleFrame]) -> list[dict]:
    return [entry for frame in frames for entry in frame.to_coco()]


def _quality(eyes: Sequence[SceneDetector]) -> dict:
    """Of all looks of a detector."""
    there, found, invented = (
        sum(getattr(eye, name) for eye in eyes) for name in ("there", "found", "invented")
    )
    return {"people": there, "found": found / max(there, 1), "invented": invented}


def _results(by_kind: dict[str, list[Scored]], skeleton) -> dict[str, dict]:
    kept = {kind: sum(_is_kept(scene, skeleton) for scene in scenes) for kind, scenes in by_kind.items()}
    together = by_kind | {ALL: [scene for scenes in by_kind.values() for scene in scenes]}
    kept[ALL] = sum(kept.values())
    return {
        kind: {"scenes": len(scenes), "kept": kept[kind], **_score(scenes, skeleton)}
        for kind, scenes in together.items()
    }


def _is_kept(scene: Scored, skeleton) -> bool:
    """Whether everybody of a scene has one number, which nobody else has."""
    result = score_tracks(scene[0], scene[1], skeleton)
    return result.numbers.kept == result.people


def _score(scenes: Sequence[Scored], skeleton) -> dict:
    truth, found, calm = _in_a_row(scenes)
    plain, smooth = (score_tracks(truth, entries, skeleton) for entries in (found, calm))
    return _plain(plain) | {"smooth": {name: _plain(smooth)[name] for name in _OF_POSES}}


def _plain(result: TrackResult) -> dict:
    return {name: value for name, value in result.to_dict().items() if name != "diagnostics"}


def _in_a_row(scenes: Sequence[Scored]) -> Scored:
    """One video of all scenes, `_APART` from each other."""
    truth: dict = {"images": [], "annotations": [], "categories": scenes[0][0]["categories"]}
    found, calm = [], []
    for number, (own, entries, smooth) in enumerate(scenes):
        shift = number * _APART
        truth["images"] += [image | {"id": image["id"] + shift} for image in own["images"]]
        for all_entries, more in (
            (truth["annotations"], own["annotations"]),
            (found, entries),
            (calm, smooth),
        ):
            all_entries += [
                entry | {"image_id": entry["image_id"] + shift, "track_id": entry["track_id"] + shift}
                for entry in more
            ]
    return truth, found, calm
