"""Backbones of detectors by name: ResNets and DetNets of `p2net_tf.models`."""

from __future__ import annotations

import keras

from p2net_tf.models.backbones import RESNETS, STRIDES, ResNet, backbone_spec
from p2net_tf.models.detnet import DETNET_59, DETNET_STRIDES, DetNet, small_detnet

NAMES = (*RESNETS, "small", "detnet59", "small_detnet")


def build_backbone(
    name: str, small_width: int = 32, small_blocks: int = 2, stride_in_1x1: bool = False, **options
) -> tuple[keras.layers.Layer, tuple[int, ...], tuple[int, ...]]:
    """`(layer, strides, channels)` of the maps that it gives.

    Args:
        name: one of `NAMES`.
        small_width: channels at stride 4 of `small` and `small_detnet`.
        small_blocks: their blocks of each stage.
        stride_in_1x1: see `ResidualBlock`; of ResNets, a DetNet's stride is always there.
        options: `synchronized`, `dtype`.

    Raises:
        ValueError: unknown name.
    """
    if name in ("detnet59", "small_detnet"):
        spec = DETNET_59 if name == "detnet59" else small_detnet(small_width, small_blocks)
        return DetNet(spec, name=name, **options), DETNET_STRIDES, spec.channels
    if name not in NAMES:
        raise ValueError(f"unknown backbone '{name}'; take one of {', '.join(NAMES)}")
    spec = backbone_spec(name, small_width, small_blocks)
    return ResNet(spec, stride_in_1x1, name=name, **options), STRIDES, spec.channels
