"""Faster R-CNN's state dicts of detectron2 and mmdetection, brought to torchvision's names.

The network is the same but for what `Origin` says. What has no weights stays torchvision's: RoIAlign takes
two samples along each axis of a cell, where theirs takes more in large proposals, so boxes differ a little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from p2net_tf.models.pose_network import IMAGENET_MEAN, IMAGENET_STD

Tensors = Mapping[str, np.ndarray]

_LOGITS, _DELTAS = "roi_heads.box_predictor.cls_score.{}", "roi_heads.box_predictor.bbox_pred.{}"
_STEM_KERNEL = "backbone.body.conv1.weight"


@dataclass(frozen=True)
class Origin:
    """Whose code a state dict is of, and how its network differs from torchvision's.

    Attributes:
        arguments: of `FasterRCNN`.
        bgr: its pictures were BGR.
        antialias: its pictures were filtered before they were made smaller.
    """

    name: str
    arguments: Mapping = field(default_factory=dict)
    bgr: bool = False
    antialias: bool = False


TORCHVISION = Origin("torchvision", {"anchor_offset": 0.0, "rounded_anchors": True, "aligned": False})
MMDETECTION = Origin(
    "mmdetection", {"anchor_offset": 0.0, "aligned": True, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
)
DETECTRON2 = Origin(
    "detectron2",
    {
        "anchor_offset": 0.0,
        "aligned": True,
        "stride_in_1x1": True,
        # In grey levels, not divided by deviations; given for RGB.
        "mean": tuple(level / 255 for level in (123.675, 116.28, 103.53)),
        "std": (1 / 255,) * 3,
    },
    bgr=True,
    antialias=True,
)

_MMDETECTION = (
    (r"^backbone\.", "backbone.body."),
    (r"^neck\.lateral_convs\.(\d)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"^neck\.fpn_convs\.(\d)\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"^rpn_head\.rpn_conv\.", "rpn.head.conv.0.0."),
    (r"^rpn_head\.rpn_cls\.", "rpn.head.cls_logits."),
    (r"^rpn_head\.rpn_reg\.", "rpn.head.bbox_pred."),
    (r"^roi_head\.bbox_head\.shared_fcs\.0\.", "roi_heads.box_head.fc6."),
    (r"^roi_head\.bbox_head\.shared_fcs\.1\.", "roi_heads.box_head.fc7."),
    (r"^roi_head\.bbox_head\.fc_cls\.", _LOGITS.format("")),
    (r"^roi_head\.bbox_head\.fc_reg\.", _DELTAS.format("")),
)
_DETECTRON2 = (
    (r"^backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.body.bn1."),
    (r"^backbone\.bottom_up\.stem\.", "backbone.body."),
    (r"^backbone\.bottom_up\.res(\d)\.", lambda found: f"backbone.body.layer{int(found[1]) - 1}."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"^backbone\.fpn_lateral(\d)\.", lambda found: f"backbone.fpn.inner_blocks.{int(found[1]) - 2}.0."),
    (r"^backbone\.fpn_output(\d)\.", lambda found: f"backbone.fpn.layer_blocks.{int(found[1]) - 2}.0."),
    (r"^proposal_generator\.rpn_head\.conv\.", "rpn.head.conv.0.0."),
    (r"^proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
    (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
    (r"^roi_heads\.box_head\.fc1\.", "roi_heads.box_head.fc6."),
    (r"^roi_heads\.box_head\.fc2\.", "roi_heads.box_head.fc7."),
)
_TORCHVISION = (
    (r"(fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
)
"""Names before torchvision 0.13, which the published file has, and what they are now."""
_NO_WEIGHTS = re.compile(r"cell_anchors|^pixel_(mean|std)$|num_batches_tracked$")


def as_torchvision(tensors: Tensors) -> tuple[dict[str, np.ndarray], Origin]:
    """The tensors by torchvision's names and in its order of classes, and whose they were.

    Names that nobody of the three has stay as they are, for an error to name.
    """
    if any(name.startswith("backbone.bottom_up.") for name in tensors):
        origin, rules = DETECTRON2, _DETECTRON2
    elif any(name.startswith("neck.") for name in tensors):
        origin, rules = MMDETECTION, _MMDETECTION
    else:
        origin, rules = TORCHVISION, _TORCHVISION
    found = {_renamed(name, rules): x for name, x in tensors.items() if not _NO_WEIGHTS.search(name)}
    if origin is not TORCHVISION:
        found |= {name: _background_first(found[name]) for name in _both(_LOGITS) if name in found}
        found |= {name: _background_in_front(found[name]) for name in _both(_DELTAS) if name in found}
    if origin.bgr and _STEM_KERNEL in found:
        found[_STEM_KERNEL] = found[_STEM_KERNEL][:, ::-1]
    return found, origin


def _renamed(name: str, rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _both(template: str) -> tuple[str, str]:
    return template.format("weight"), template.format("bias")


def _background_first(logits: np.ndarray) -> np.ndarray:
    """Their background is the last class, torchvision's the first."""
    return np.roll(logits, 1, axis=0)


def _background_in_front(deltas: np.ndarray) -> np.ndarray:
    """They have no deltas of the background, which nobody looks at."""
    return np.concatenate([np.zeros_like(deltas[:4]), deltas])
