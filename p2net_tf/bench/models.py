"""How fast every network is beside its peers: `p2net bench models`.

Of each configuration: parameters, multiply-adds, and persons per second of

- the forward pass, crops to heatmaps;
- forward pass and decoding, crops to keypoints (without the mirrored pass, which costs another forward pass);
- the training step,

as a TensorFlow graph, in LiteRT, and in PyTorch where the original is given (`torch_peers`). What a runtime
cannot do is left out. Beside them, what a plain convolution reaches in each runtime (`roofline`). All of it
takes turns, round after round in one process, on noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.bench.models_plot import write_plot
from p2net_tf.bench.roofline import limits_of, plain_functions, share_of_limit
from p2net_tf.bench.runtimes import FORWARD, lite_measures
from p2net_tf.bench.step import build_step_model, training_step
from p2net_tf.bench.subjects import describe_network, noise_people
from p2net_tf.bench.timing import Circumstances, graph_of, in_turns, quartiles, timed
from p2net_tf.bench.torch_peers import Peer
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.keypoints.alignment import alignment_of
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import progress
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.quiet import without_warnings

NETWORKS = (
    "p2net_resnet50", "p2net_resnet101", "simple_baseline_resnet50", "simple_baseline_resnet101",
    "simple_baseline_resnet152", "hrnet_w32", "hrnet_w48", "cpn_resnet50", "cpn_resnet101",
    "hourglass_2stack", "hourglass_8stack",
)  # fmt: skip
SIZE = "256x192"
DECODED, TRAINING = "forward + decode", "training step"


@dataclass(frozen=True)
class ModelSettings:
    """How long it is measured.

    Attributes:
        batch: persons of a forward pass and of a training step of the graphs; LiteRT takes one at a time.
        rounds: in which everything takes turns, after one that does not count.
        training, lite, roofline: whether these are measured.
    """

    batch: int = 2
    rounds: int = 5
    training: bool = True
    lite: bool = True
    roofline: bool = True


def default_configs(sizes: Sequence[str] = (SIZE,)) -> list[str]:
    """The names of the configurations of all networks on COCO, e.g. for `256x192`."""
    return [f"{network}_coco_{size}" for size in sizes for network in NETWORKS]


def bench_models(
    configs: Sequence[ExperimentConfig],
    out: str | Path,
    settings: ModelSettings | None = None,
    torch_peers: Mapping[str, str | Path] | None = None,
    command: str = "",
) -> dict:
    """Measures the networks of `configs`, writes the JSON and a plot beside it, and returns the report.

    Args:
        torch_peers: PyTorch originals `[B, 3, H, W] -> [B, K, h, w]` by the names of configurations, as
            `torch_peers.Peer` takes them.
        command: the command line, for the report.

    Raises:
        UserError: two configurations of one name, an original of a name that is not measured, or one that
            cannot be built.
    """
    settings, torch_peers = settings or ModelSettings(), torch_peers or {}
    _check_names([config.name for config in configs], torch_peers)
    circumstances = Circumstances(command, seed=0)
    measures, models = {}, []
    # First: whatever is wrong with others' code is told before our networks are built.
    peers = {
        config.name: Peer(torch_peers[config.name], _crops_of(config, settings.batch))
        for config in configs
        if config.name in torch_peers
    }
    with progress("building networks", len(configs)) as advance:
        for config in configs:
            advance.describe(f"building {config.name}")
            found, facts = _measures_of(config, settings, peers.get(config.name))
            measures |= {(config.name, *key): measure for key, measure in found.items()}
            models.append({"name": config.name, **facts})
            advance()
    plain = _plain_measures(configs, measures, settings) if settings.roofline else {}
    with without_warnings():
        seconds = in_turns(measures | plain, settings.rounds, warm_up=1)
    found = {key: seconds[key] for key in measures}
    for model in models:
        model["persons_per_second"] = _speeds(model["name"], found, settings.batch)
    report = {
        "title": "networks side by side",
        "models": models,
        **_roofline(configs, models, found, {key: seconds[key] for key in plain}, settings.batch),
        "batch": settings.batch,
        "rounds": settings.rounds,
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    write_plot(report, Path(out).with_suffix(".png"))
    return report


def _check_names(names: Sequence[str], torch_peers: Mapping[str, str | Path]) -> None:
    twins = {name for name in names if names.count(name) > 1}
    if twins:
        raise UserError(f"two configurations are named {', '.join(sorted(twins))}; names tell results apart")
    strangers = set(torch_peers) - set(names)
    if strangers:
        raise UserError(
            f"PyTorch originals of {', '.join(sorted(strangers))}: not measured; known: {', '.join(names)}"
        )


def _measures_of(config: ExperimentConfig, settings: ModelSettings, peer: Peer | None):
    """`({(runtime, task): measure}, facts)` of one network; a measure takes the seconds of one batch."""
    skeleton = Skeleton.load(config.data.skeleton)
    model = build_step_model(config, skeleton)
    people = noise_people(settings.batch, skeleton.num_keypoints, config.model.input_size)
    network, recipe = model.network, config.evaluation

    @tf.function(autograph=False)
    def forward(crops):
        return network(crops, training=False)[HEATMAPS_OUTPUT]

    def decode(maps):
        return alignment_of(network).decode(maps, recipe.decode, recipe.filter_sigma)

    functions: dict[tuple[str, str], Callable] = {
        ("keras", FORWARD): graph_of(forward, people[0]),
        ("keras", DECODED): graph_of(lambda crops: decode(forward(crops)), people[0]),
    }
    if settings.training:
        functions["keras", TRAINING] = training_step(model, *people)
    if settings.lite:
        functions |= lite_measures(forward, decode, people[0].numpy(), DECODED)
    size = describe_network(config, network)
    facts = {
        "parameters": size.pop("parameters"),
        "multiply_adds": size.pop("multiply_adds"),
        "network": size,
    }
    if peer is not None:
        functions |= peer.measures(TRAINING if settings.training else None)
        facts["torch"] = peer.to_dict()
    return {key: timed(function) for key, function in functions.items()}, facts


def _crops_of(config: ExperimentConfig, batch: int) -> np.ndarray:
    """`[B, 3, H, W]`, the same as ours get."""
    crops, _ = noise_people(batch, 1, config.model.input_size)
    return np.ascontiguousarray(crops.numpy().transpose(0, 3, 1, 2))


def _plain_measures(configs: Sequence[ExperimentConfig], measures: Mapping, settings: ModelSettings) -> dict:
    """`{(size of the crop, runtime, shape): measure}` of all runtimes that something is measured in."""
    found = {}
    for size in dict.fromkeys(tuple(config.model.input_size) for config in configs):
        names = {config.name for config in configs if tuple(config.model.input_size) == size}
        runtimes = {runtime for owner, runtime, task in measures if owner in names and task == FORWARD}
        functions = plain_functions(size, settings.batch, sorted(runtimes))
        found |= {(size, *key): timed(function) for key, function in functions.items()}
    return found


def _roofline(
    configs: Sequence[ExperimentConfig], models: Sequence[dict], seconds: Mapping, plain: Mapping, batch: int
) -> dict:
    """`{"plain_convolution": {size: {runtime: ...}}}`; every model gets its own `roofline` by runtime.

    The multiply-adds of a PyTorch original are taken to be those of the network it stands beside.
    """
    if not plain:
        return {}
    told: dict[str, dict] = {}
    for size in dict.fromkeys(key[0] for key in plain):
        of_size = {key[1:]: taken for key, taken in plain.items() if key[0] == size}
        found = limits_of(size, batch, of_size)
        for config, model in zip(configs, models, strict=True):
            if tuple(config.model.input_size) == size:
                rates = {
                    runtime: batch * model["multiply_adds"] / 1e9 / seconds[key]
                    for runtime in found
                    if (key := (config.name, runtime, FORWARD)) in seconds
                }
                model["roofline"] = {
                    runtime: share_of_limit(rate, found[runtime].giga_per_second)
                    for runtime, rate in rates.items()
                }
        told["x".join(map(str, size))] = {runtime: limit.to_dict() for runtime, limit in found.items()}
    return {"plain_convolution": told}


def _speeds(name: str, seconds: Mapping, batch: int) -> dict:
    """`{runtime: {task: persons per second, median and quartiles}}` of one network."""
    found: dict[str, dict] = {}
    for (owner, runtime, task), taken in seconds.items():
        if owner == name:
            found.setdefault(runtime, {})[task] = quartiles(batch / taken)
    return found
