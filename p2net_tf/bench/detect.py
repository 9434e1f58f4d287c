"""How fast detectors find people: `p2net bench detect`.

Ours, by any word of `open_detector`, and torchvision's Faster R-CNN and SSDLite: each gets the same pictures
one by one, decoded, and gives boxes in their pixels, scaling and suppression included. All take turns, round
after round in one process. torchvision's have random weights, since none can be fetched here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from p2net_tf.bench.timing import Circumstances, in_turns, quartiles, timed
from p2net_tf.bench.torchvision_detectors import TorchvisionMissingError, peer_functions
from p2net_tf.data.synthetic.render import SceneOptions, render_scene
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.opening import open_detector
from p2net_tf.export.calibration import picture_files
from p2net_tf.inference.pictures import load_pictures, to_levels
from p2net_tf.models.summary import count_parameters
from p2net_tf.utils.files import write_text


def bench_detect(
    detectors: Sequence[str],
    out: str | Path,
    pictures: str | Path | None = None,
    count: int = 8,
    rounds: int = 5,
    peers: bool = True,
    command: str = "",
) -> dict:
    """Measures pictures per second, writes the JSON, and returns the report.

    Args:
        detectors: as `open_detector` takes them.
        pictures: folder of pictures; None renders people, 640x480.
        count: pictures of a turn.
        rounds: in which everything takes turns, after one that does not count.
        peers: also torchvision's, where it is installed.
        command: the command line, for the report.

    Raises:
        UserError: a detector cannot be opened.
        DataError: the folder has no picture.
    """
    circumstances = Circumstances(command)
    seen = _pictures(pictures, count)
    opened = {str(word): open_detector(word) for word in detectors}
    functions: dict[str, Callable] = {name: detector.detect_in for name, detector in opened.items()}
    parameters = {
        name: count_parameters(detector.network)
        for name, detector in opened.items()
        if isinstance(detector, NetworkDetector)
    }
    facts = {}
    if peers:
        try:
            others, facts = peer_functions()
            functions |= others
            parameters |= facts.pop("parameters")
        except TorchvisionMissingError as error:
            facts = {"peers": str(error)}
    measures = {name: timed(_all_of(function, seen)) for name, function in functions.items()}
    seconds = in_turns(measures, rounds, warm_up=1)
    first = next(iter(seconds.values()))
    report = {
        "title": "detectors side by side",
        "pictures": {"count": len(seen), "from": str(pictures or "rendered"), "sizes": _sizes(seen)},
        "rounds": rounds,
        "pictures_per_second": {name: quartiles(len(seen) / taken) for name, taken in seconds.items()},
        "ratio": {name: quartiles(taken / first) for name, taken in seconds.items()},
        "parameters": parameters,
        **facts,
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def _pictures(folder: str | Path | None, count: int) -> list[np.ndarray]:
    """`[H, W, 3]` uint8 each."""
    if folder is None:
        options = SceneOptions(height=480, width=640)
        return [render_scene(0, index, options)[0] for index in range(count)]
    return [to_levels(picture) for picture in load_pictures(picture_files(folder, count))]


def _sizes(pictures: Sequence[np.ndarray]) -> list[str]:
    return sorted({f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures})


def _all_of(detect: Callable, pictures: Sequence[np.ndarray]) -> Callable[[], None]:
    def run() -> None:
        for picture in pictures:
            detect(picture)

    return run
