"""From a published checkpoint to a Keras file, and to the configuration that evaluates it as published."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from p2net_tf.config.cards import card_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.networks import build_network
from p2net_tf.convert.assign import assign_tensors
from p2net_tf.convert.checkpoint import Checkpoint, ConversionError, read_checkpoint
from p2net_tf.convert.names import STEM_KERNEL
from p2net_tf.convert.published import MODELS, READS_BGR, RECIPE, SETS, PublishedSet, keypoints_of, what_it_is
from p2net_tf.inference.keras_file import save_network
from p2net_tf.models.pose_network import IMAGENET_MEAN, IMAGENET_STD, PoseNetwork
from p2net_tf.models.summary import count_parameters
from p2net_tf.utils.console import progress
from p2net_tf.utils.files import write_text
from p2net_tf.utils.paths import as_path

Channels = Literal["rgb", "bgr"]

_SIZE_IN_NAME = re.compile(r"(?<!\d)(\d{3})x(\d{3})(?!\d)")


@dataclass(frozen=True)
class Conversion:
    """What was converted, into what, and from where it came.

    Attributes:
        sha256: of the checkpoint.
        origin: `official` or `mmpose`.
        channels: in which order the network was trained to read them; the Keras network takes RGB.
        tensors: of the checkpoint, all of which are in the network.
    """

    source: str
    sha256: str
    origin: str
    model: str
    data_set: str
    input_size: tuple[int, int]
    channels: str
    tensors: int
    parameters: int
    network_file: str
    config_file: str

    def to_dict(self) -> dict:
        return asdict(self)

    def rows(self) -> dict[str, str]:
        """For a table."""
        height, width = self.input_size
        return {
            "source": f"{self.source} ({self.origin})",
            "sha256": self.sha256,
            "model": f"{self.model}, {self.data_set}, {height}x{width}",
            "tensors": f"{self.tensors}, all of them",
            "parameters": f"{self.parameters / 1e6:.1f} M",
            "channels": f"{self.channels.upper()} as published, RGB now",
            "alignment": "pixel_index",
            "written": f"{self.network_file}, {self.config_file}",
        }


def convert_checkpoint(
    source: str | Path,
    model: str,
    out: str | Path,
    input_size: tuple[int, int] | None = None,
    channels: Channels | None = None,
    stride_in_1x1: bool = False,
    force: bool = False,
) -> Conversion:
    """Writes the network to `out` and `config.yaml` beside it.

    Args:
        source: a file that `read_checkpoint` reads.
        model: a key of `MODELS`.
        out: the `.keras` file.
        input_size: `(height, width)` of the crop. None takes what the name of `source` says, else 256x192 for
            COCO and 256x256 for MPII.
        channels: None takes what the published code read: BGR for official ResNets, else RGB.
        stride_in_1x1: a Caffe-style ResNet, whose bottlenecks stride in their first convolution.
        force: write over files that are there.

    Raises:
        ConversionError: the checkpoint cannot be read or is not of this model, or there is a file already.
    """
    source, out = as_path(source, "source"), as_path(out, "out")
    config_file = out.parent / "config.yaml"
    _check_options(source, model, stride_in_1x1)
    check_output(out, [config_file], force)
    with progress("converting, steps", total=4) as advance:
        checkpoint = read_checkpoint(source)
        advance()
        data_set = _data_set(checkpoint, source)
        input_size = input_size or _size_in(source.name) or data_set.input_size
        channels = channels or ("bgr" if _was_trained_on_bgr(checkpoint, model) else "rgb")
        config = _config(model, data_set, input_size)
        network = _network(config, data_set, channels, stride_in_1x1)
        advance()
        tensors = assign_tensors(
            network, _for_rgb(checkpoint.tensors, channels), what_it_is(checkpoint.tensors, model)
        )
        advance()
        save_network(network, out, card_of(ExperimentConfig(**config), network))
        advance()
    conversion = Conversion(
        source=source.name,
        sha256=digest_of(source),
        origin=checkpoint.origin,
        model=model,
        data_set=data_set.name,
        input_size=tuple(input_size),
        channels=channels,
        tensors=tensors,
        parameters=count_parameters(network),
        network_file=str(out),
        config_file=str(config_file),
    )
    write_text(config_file, _head(conversion) + yaml.safe_dump(config, sort_keys=False))
    return conversion


def digest_of(source: str | Path) -> str:
    """SHA-256 of a checkpoint."""
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_output(out: Path, others: Sequence[Path] = (), force: bool = False) -> None:
    """Raises:
    ConversionError: `out` is no `.keras`, or it or one of `others` is there already, without `force`.
    """
    if out.suffix != ".keras":
        raise ConversionError(f"{out}: networks are written as .keras; name such a file")
    there = [str(file) for file in (out, *others) if file.exists()]
    if there and not force:
        raise ConversionError(
            f"{' and '.join(there)}: there already; give every network a folder of its own, or force it to "
            "be written over"
        )


def _check_options(source: Path, model: str, stride_in_1x1: bool) -> None:
    if model not in MODELS:
        raise ConversionError(f"unknown model '{model}'; take one of {', '.join(MODELS)}")
    if stride_in_1x1 and MODELS[model]["name"] != "simple_baseline":
        raise ConversionError(f"{model}: only ResNets come in Caffe's style")
    if "udp" in source.name.lower():
        raise ConversionError(
            f"{source}: by its name it was trained with UDP, whose alignment is neither continuous nor "
            "pixel_index; take the checkpoint without it"
        )


def _data_set(checkpoint: Checkpoint, source: Path) -> PublishedSet:
    """That of the checkpoint; COCO where there is no head, which is told of later."""
    count = keypoints_of(checkpoint.tensors)
    if count is not None and count not in SETS:
        known = " and ".join(f"{number} ({data_set.name})" for number, data_set in SETS.items())
        raise ConversionError(f"{source}: gives {count} heatmaps; networks are published for {known}")
    return SETS[count or 17]


def _size_in(name: str) -> tuple[int, int] | None:
    """(height, width) in the name of a checkpoint, such as `pose_hrnet_w32_384x288.pth`."""
    found = _SIZE_IN_NAME.search(name)
    return None if found is None else (int(found[1]), int(found[2]))


def _was_trained_on_bgr(checkpoint: Checkpoint, model: str) -> bool:
    return checkpoint.origin == "official" and model in READS_BGR


def _config(model: str, data_set: PublishedSet, input_size: tuple[int, int]) -> dict:
    """The experiment, as the YAML file that evaluates it as it was published."""
    source = {"format": data_set.name, "root": f"${{P2NET_DATA:-data}}/{data_set.name}"}
    height, width = input_size
    return {
        "name": f"{model}_{data_set.name}_{height}x{width}_published",
        "data": {
            "skeleton": data_set.skeleton,
            "train": [{**source, "split": data_set.train}],
            "test": [{**source, "split": data_set.test}],
        },
        "model": {**MODELS[model], "input_size": [height, width], "alignment": "pixel_index"},
        "evaluation": {"metric": data_set.metric, **RECIPE},
    }


def _network(config: dict, data_set: PublishedSet, channels: Channels, stride_in_1x1: bool) -> PoseNetwork:
    order = slice(None, None, -1 if channels == "bgr" else 1)
    arguments = {"mean": IMAGENET_MEAN[order], "std": IMAGENET_STD[order]}
    if stride_in_1x1:
        arguments["stride_in_1x1"] = True
    keypoints = next(number for number, known in SETS.items() if known == data_set)
    return build_network(ExperimentConfig(**config).model, keypoints, **arguments)


def _for_rgb(tensors: dict[str, np.ndarray], channels: Channels) -> dict[str, np.ndarray]:
    """The tensors of a network that reads RGB, where they are of one that reads BGR."""
    if channels == "rgb" or STEM_KERNEL not in tensors:
        return tensors
    return {**tensors, STEM_KERNEL: tensors[STEM_KERNEL][:, ::-1]}


def _head(conversion: Conversion) -> str:
    lines = [
        f"Published weights of {conversion.model} ({conversion.data_set}), converted from a file of PyTorch.",
        f"Source: {conversion.source} ({conversion.origin}), sha256 {conversion.sha256}",
        f"Read {conversion.channels.upper()} there; the network takes RGB.",
        f"Run:    p2net evaluate {conversion.network_file}",
        "The published AP is that of detected boxes: data.test.0.detections=FILE.json"
        if conversion.data_set == "coco"
        else "The published PCKh needs annot/gt_valid.mat beside annot/valid.json.",
    ]
    return "".join(f"# {line}\n" for line in lines)
