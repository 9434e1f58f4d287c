"""What the published code calls the weights of our networks.

The names are those of `lib/models/pose_resnet.py` and `lib/models/pose_hrnet.py` of
deep-high-resolution-net.pytorch, which human-pose-estimation.pytorch and mmpose share; those
of Faster R-CNN are torchvision's.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras

from p2net_tf.detection.networks import FasterRCNN
from p2net_tf.layers import ExchangeUnit, NormalizedConvolution
from p2net_tf.models import HRNet, SimpleBaseline
from p2net_tf.models.backbones import ResidualBlock, ResNet
from p2net_tf.models.hrnet import STEM_BLOCKS, HRModule
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT, PoseNetwork

STEM_KERNEL = "conv1.weight"
"""The weights that meet the channels of the picture."""

Named = Iterator[tuple[str, keras.Variable]]


def published_weights(network: PoseNetwork | FasterRCNN) -> dict[str, keras.Variable]:
    """Every weight of a `SimpleBaseline`, `HRNet` or `FasterRCNN` by its published name."""
    if isinstance(network, FasterRCNN):
        return dict(_faster_rcnn(network))
    parts = {SimpleBaseline: _simple_baseline, HRNet: _hrnet}[type(network)](network)
    return dict([*parts, *_convolution("final_layer", network.get_layer(f"{HEATMAPS_OUTPUT}_head"))])


def _simple_baseline(network: SimpleBaseline) -> Named:
    yield from _resnet(network.backbone)
    for number in range(3):
        place = 3 * number  # convolution, normalization, ReLU
        deconv = network.get_layer(f"deconv_{number + 1}")
        yield from _normalized(f"deconv_layers.{place}", f"deconv_layers.{place + 1}", deconv)


def _faster_rcnn(network: FasterRCNN) -> Named:
    yield from _resnet(network.backbone, "backbone.body.")
    pyramid, rpn, head = network.pyramid, network.rpn, network.head
    for level, (lateral, output) in enumerate(zip(pyramid.laterals, pyramid.outputs, strict=True)):
        yield from _convolution(f"backbone.fpn.inner_blocks.{level}.0", lateral)
        yield from _convolution(f"backbone.fpn.layer_blocks.{level}.0", output)
    yield from _convolution("rpn.head.conv.0.0", rpn.conv)
    yield from _convolution("rpn.head.cls_logits", rpn.objectness)
    yield from _convolution("rpn.head.bbox_pred", rpn.deltas)
    for name, dense in zip(("fc6", "fc7"), head.hidden, strict=True):
        yield from _convolution(f"roi_heads.box_head.{name}", dense)
    yield from _convolution("roi_heads.box_predictor.cls_score", head.logits)
    yield from _convolution("roi_heads.box_predictor.bbox_pred", head.deltas)


def _resnet(backbone: ResNet, prefix: str = "") -> Named:
    yield from _normalized(f"{prefix}conv1", f"{prefix}bn1", backbone.stem[0])
    for stage, blocks in enumerate(backbone.stages, start=1):
        yield from _blocks(f"{prefix}layer{stage}", blocks)


def _hrnet(network: HRNet) -> Named:
    for number in (1, 2):
        yield from _normalized(f"conv{number}", f"bn{number}", network.get_layer(f"stem_{number}"))
    yield from _blocks("layer1", [network.get_layer(f"layer_1_block_{n}") for n in range(1, STEM_BLOCKS + 1)])
    layers = {layer.name: layer for layer in network.layers}
    for stage, modules in enumerate(network.get_config()["modules"], start=2):
        for level in range(stage):
            transition = layers.get(f"transition_{stage - 1}_to_{level}")
            if transition is not None:
                # A new branch is a sequence of convolutions, of which there is one.
                name = f"transition{stage - 1}.{level}" + (".0" if level == stage - 1 else "")
                yield from _normalized(f"{name}.0", f"{name}.1", transition)
        for number in range(modules):
            yield from _module(f"stage{stage}.{number}", layers[f"stage_{stage}_module_{number + 1}"])


def _module(name: str, module: HRModule) -> Named:
    for level, blocks in enumerate(module.branches):
        yield from _blocks(f"{name}.branches.{level}", blocks)
    yield from _exchange(f"{name}.fuse_layers", module.exchange)


def _exchange(name: str, exchange: ExchangeUnit) -> Named:
    for (source, target), path in exchange.paths.items():
        convolutions = [layer for layer in path if isinstance(layer, NormalizedConvolution)]
        for step, convolution in enumerate(convolutions):
            place = f"{name}.{target}.{source}" + (f".{step}" if source < target else "")
            yield from _normalized(f"{place}.0", f"{place}.1", convolution)


def _blocks(name: str, blocks: list[ResidualBlock]) -> Named:
    for number, block in enumerate(blocks):
        for index, convolution in enumerate(block.convs, start=1):
            yield from _normalized(f"{name}.{number}.conv{index}", f"{name}.{number}.bn{index}", convolution)
        if block.shortcut is not None:
            shortcut = f"{name}.{number}.downsample"
            yield from _normalized(f"{shortcut}.0", f"{shortcut}.1", block.shortcut)


def _normalized(convolution: str, norm: str, layer: NormalizedConvolution) -> Named:
    yield from _convolution(convolution, layer.conv)
    yield f"{norm}.weight", layer.norm.gamma
    yield f"{norm}.bias", layer.norm.beta
    yield f"{norm}.running_mean", layer.norm.moving_mean
    yield f"{norm}.running_var", layer.norm.moving_variance


def _convolution(name: str, layer) -> Named:
    yield f"{name}.weight", layer.kernel
    if layer.use_bias:
        yield f"{name}.bias", layer.bias
