"""Frames per second from a video file to tracked poses, beside the bare networks: `p2net bench video`.

The bare networks get what they get in the video, canvas and crops, prepared beforehand: batch 1, one frame
after the other. End to end are reading, detection, poses, tracking and smoothing; all take turns.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.bench.timing import Circumstances, in_turns, quartiles, timed
from p2net_tf.data.crops import crop_people
from p2net_tf.data.synthetic.walks import WalkOptions, render_walk
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.video.people import VideoPoses
from p2net_tf.video.reading import VideoReader
from p2net_tf.video.writing import VideoWriter

NETWORKS, READING, EVERY_FRAME = "bare networks", "reading alone", "end to end"


def bench_video(
    model: str,
    out: str | Path,
    source: str | Path | None = None,
    detector: str | None = None,
    detect_every: int = 5,
    frames: int = 50,
    rounds: int = 3,
    command: str = "",
) -> dict:
    """Measures frames per second, writes the JSON, and returns the report.

    Args:
        model: as `PoseEstimator.load` takes it.
        source: a video; None renders people who walk, 1280x720.
        detector: as `PoseEstimator.predict` takes it; one of ours.
        detect_every: of the second way, where the detector looks at every such frame.
        frames: of the video that are looked at.
        rounds: in which everything takes turns, after one that does not count.
        command: the command line, for the report.

    Raises:
        UserError: something cannot be opened, or the detector is none of ours.
    """
    circumstances = Circumstances(command)
    pose = PoseEstimator.load(model)
    ways = {EVERY_FRAME: VideoPoses(pose, detector, smooth=True)}
    ways[f"detector every {detect_every} frames"] = VideoPoses(pose, detector, detect_every, smooth=True)
    if not isinstance(ways[EVERY_FRAME].detector, NetworkDetector):
        raise UserError("the bare network of a detector is measured, too; give one of this project")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source or _rendered(Path(folder) / "walk.mp4", frames))
        networks, facts = _bare(pose, ways[EVERY_FRAME].detector, path, frames)
        measures = {NETWORKS: networks, READING: _read(path, frames)}
        measures |= {name: _follow(people, path, frames) for name, people in ways.items()}
        seconds = in_turns({name: timed(function) for name, function in measures.items()}, rounds, warm_up=1)
    report = {
        "title": f"frames per second, {pose.card.name}",
        "video": {"from": str(source or "rendered"), **facts},
        "rounds": rounds,
        "frames_per_second": {name: quartiles(facts["frames"] / taken) for name, taken in seconds.items()},
        "of_the_networks": {name: quartiles(seconds[NETWORKS] / seconds[name]) for name in ways},
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def _rendered(path: Path, frames: int) -> Path:
    options = WalkOptions(height=720, width=1280, seconds=frames / 25)
    with VideoWriter(path, options.rate) as video:
        for frame in islice(render_walk(0, "walking", options), frames):
            video.write(frame.picture, frame.time)
    return path


def _read(path: Path, frames: int) -> Callable[[], None]:
    def run() -> None:
        with VideoReader(path) as video:
            for _ in islice(video, frames):
                pass

    return run


def _follow(people: VideoPoses, path: Path, frames: int) -> Callable[[], None]:
    def run() -> None:
        for _ in islice(people.predict(path), frames):
            pass

    return run


def _bare(
    pose: PoseEstimator, detector: NetworkDetector, path: Path, frames: int
) -> tuple[Callable[[], None], dict]:
    """`(both networks over what they see of every frame, facts about the video)`."""
    card, network = pose.card, detector.network
    inputs, people, shape = [], 0, None
    with VideoReader(path) as video:
        for frame in islice(video, frames):
            found = detector.likely(detector.detect_in(frame.picture))
            canvas, size, _ = detector.canvas(frame.picture)
            crops = np.zeros((0, *card.input_size, 3), np.float32)
            if len(found):
                window = card.input_size, card.box_padding, ALIGNMENTS[card.alignment]
                crops, _ = crop_people(tf.constant(frame.picture), found.windows, *window)
            if card.recipe.flip_test:
                crops = np.concatenate([crops, crops[:, :, ::-1]])
            inputs.append((canvas, size, tf.constant(crops)))
            people, shape = people + len(found), frame.picture.shape
    find = tf.function(lambda canvas, size: network(canvas, size, training=False), autograph=False)
    crop = tf.TensorSpec((None, *card.input_size, 3), tf.float32)
    locate = tf.function(lambda crops: pose.network(crops, training=False), [crop], autograph=False)

    def run() -> None:
        for canvas, size, crops in inputs:
            find(canvas, size)
            if len(crops):
                locate(crops)

    size = f"{shape[1]}x{shape[0]}"
    return run, {"size": size, "frames": len(inputs), "people_per_frame": people / len(inputs)}
