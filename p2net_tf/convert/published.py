"""The networks whose weights are published, and how they were trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from p2net_tf.models.backbones import RESNETS

_RESNET_PREFIX, _HRNET_PREFIX = "simple_baseline_", "hrnet_w"

MODELS = {
    **{
        f"{_RESNET_PREFIX}{name}": {"name": "simple_baseline", "backbone": name}
        for name in ("resnet50", "resnet101", "resnet152")
    },
    **{f"{_HRNET_PREFIX}{width}": {"name": "hrnet", "width": width} for width in (32, 48)},
}
"""`model` sections by the names that `p2net import-weights --model` takes."""

READS_BGR = {name for name in MODELS if name.startswith(_RESNET_PREFIX)}
"""Official networks that got their pictures as OpenCV reads them. mmpose's read RGB."""

RECIPE = {
    "flip_test": True,
    "filter_sigma": 0.0,
    "decode": "sign_inside",
    "nms": "oks",
    "nms_threshold": 0.9,
    "keypoint_threshold": 0.2,
}
"""The `evaluation` section of the published figures."""


@dataclass(frozen=True)
class PublishedSet:
    """A data set that weights were published for."""

    name: str
    skeleton: str
    input_size: tuple[int, int]
    train: str
    test: str
    metric: str


SETS = {
    17: PublishedSet("coco", "coco17", (256, 192), "train2017", "val2017", "oks_ap"),
    16: PublishedSet("mpii", "mpii16", (256, 256), "train", "valid", "pckh"),
}
"""By their number of keypoints."""


def keypoints_of(tensors: Mapping[str, np.ndarray]) -> int | None:
    """How many heatmaps the tensors give; None where they have no head."""
    head = tensors.get("final_layer.weight")
    return None if head is None else len(head)


def what_it_is(tensors: Mapping[str, np.ndarray], model: str) -> str:
    """A sentence about tensors that do not fit `model`: which model they do fit, if names and shapes tell."""
    found = _recognized(tensors)
    if keypoints_of(tensors) is None:
        of_it = f" of {found}" if found else ""
        return f"There is no head in it: a backbone{of_it} alone finds no keypoints."
    if found is not None and found != model:
        return f"By its shapes it is the model {found}."
    return ""


def _recognized(tensors: Mapping[str, np.ndarray]) -> str | None:
    branch = tensors.get("stage2.0.branches.0.0.conv1.weight")
    if branch is not None:
        name = f"{_HRNET_PREFIX}{len(branch)}"
    else:
        depths = tuple(_blocks(tensors, stage) for stage in (1, 2, 3, 4))
        name = next((_RESNET_PREFIX + name for name, spec in RESNETS.items() if spec.blocks == depths), "")
    return name if name in MODELS else None


def _blocks(tensors: Mapping[str, np.ndarray], stage: int) -> int:
    return len([name for name in tensors if _is_block(name.split("."), stage)])


def _is_block(parts: list[str], stage: int) -> bool:
    return len(parts) == 4 and parts[0] == f"layer{stage}" and parts[2:] == ["conv1", "weight"]
