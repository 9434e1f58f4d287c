"""What serving costs around the network: `p2net bench serving`.

A server process under load and the plain forward pass in this process take turns. The overhead is the ratio
of seconds per person. It holds everything that is not the network: the wire, the queue, decoding, cropping,
heatmaps to keypoints, and the clients, which have to live on the same machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf

from p2net_tf.bench.timing import Circumstances, in_turns, quartiles
from p2net_tf.data.coco import read_coco
from p2net_tf.data.synthetic.render import write_synthetic
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.serving.client import GrpcClient
from p2net_tf.serving.load import Case, LoadReport, make_cases, run_load
from p2net_tf.serving.model import Model
from p2net_tf.serving.process import ServerProcess
from p2net_tf.serving.versions import find_versions
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text

LIMIT = 1.25
"""Seconds per person of the server, in those of the plain forward pass, that are aimed at."""
NETWORK, CROPS = "network with flip pass", "signature crops"
_PICTURES = 16
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class LoadSettings:
    """The load, and the batches of server and forward pass."""

    clients: int = 32
    seconds: float = 10.0
    rounds: int = 6
    max_batch: int = 16


def bench_serving(
    model_dir: Path, out: Path, load: LoadSettings | None = None, run: Path | None = None, command: str = ""
) -> dict:
    """Measures the server and the plain forward pass in turns, writes the JSON and returns it.

    Args:
        load: `seconds` is how long the load of a round lasts.
        run: the run that was exported: its network and flip pass are the plain forward pass. Without it that
            is the signature `crops`, which also decodes the heatmaps.
        command: the command line, for the report.
    """
    load = load or LoadSettings()
    folder = newest_version(model_dir)
    model = Model(folder)
    cases = synthetic_cases(model)
    forward = {CROPS: _crops_pass(model, load.max_batch)}
    if run is not None:
        forward[NETWORK] = _network_pass(run, model, load.max_batch)
    plain = NETWORK if run is not None else CROPS
    circumstances = Circumstances(command)
    options = ("--max-batch", str(load.max_batch), "--poll-seconds", "3600")
    with ServerProcess(model_dir, *options) as server:
        seconds, total = _measure(server, cases, forward, load)
    report = {
        "title": f"{model_dir.name}, version {folder.name}",
        "limit": LIMIT,
        "plain": plain,
        "overhead": {name: quartiles(seconds["server"] / seconds[name]) for name in forward},
        "seconds_per_person": {name: quartiles(values) for name, values in seconds.items()},
        "server": total.to_dict(),
        "load": vars(load),
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def newest_version(model_dir: Path) -> Path:
    """Raises:
    UserError: there is none.
    """
    found = find_versions(model_dir)
    if not found:
        raise UserError(
            f"{model_dir}: holds no version such as {model_dir / '1'}; write one by `p2net export`"
        )
    return found[max(found)]


def synthetic_cases(model: Model) -> list[Case]:
    """Rendered people of different sizes, with the answers of `model`."""
    with TemporaryDirectory() as folder:
        write_synthetic(folder, _PICTURES, seed=4)
        people = read_coco(folder, "train")
        images = [Path(path).read_bytes() for path in people.image_paths]
    return make_cases(model, images, people.boxes)


def _measure(
    server: ServerProcess, cases: list[Case], forward: dict[str, Callable], load: LoadSettings
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """`(seconds per person in each round, all answers)`; what comes before the first round is not counted."""
    total = LoadReport()

    def connect() -> GrpcClient:
        return GrpcClient(server.grpc_address, retries=0)

    def serve() -> float:
        found = run_load(connect, cases, load.clients, load.seconds)
        total.add(found)
        if not found.people:
            raise UserError(f"the server gave no right answer: {found.to_dict()}")
        return found.seconds / found.people

    run_load(connect, cases, load.clients, _WARM_UP_SECONDS)
    for run in forward.values():
        _seconds_per_person(run, _WARM_UP_SECONDS)
    passes = {name: partial(_seconds_per_person, run, load.seconds) for name, run in forward.items()}
    return in_turns({"server": serve, **passes}, load.rounds, warm_up=0), total


def _seconds_per_person(run: Callable[[], int], seconds: float) -> float:
    start, people = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        people += run()
    return (time.perf_counter() - start) / people


def _crops_pass(model: Model, batch: int) -> Callable[[], int]:
    signature = model.signature("crops")
    crops = _noise((batch, *signature.inputs["crops"].shape[1:]))

    def run() -> int:
        model.run(signature, {"crops": crops})
        return batch

    return run


def _network_pass(path: Path, model: Model, batch: int) -> Callable[[], int]:
    """The network on the crops and on their mirror images, where the run's recipe flips."""
    trained = load_run(path)
    flips, network = trained.config.evaluation.flip_test, trained.network
    crops = (
        tf.constant(_noise((batch, *model.signature("crops").inputs["crops"].shape[1:])), tf.float32) / 255
    )

    @tf.function
    def forward(crops):
        maps = network(crops, training=False)[HEATMAPS_OUTPUT]
        return maps + network(tf.reverse(crops, [2]), training=False)[HEATMAPS_OUTPUT] if flips else maps

    def run() -> int:
        forward(crops).numpy()
        return batch

    return run


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    """No cost of the network depends on what is in a picture."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
