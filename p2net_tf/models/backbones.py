"""ResNet feature pyramids C2-C5 (He et al., CVPR 2016), written of the project's own layers.

`keras.applications` has the same networks, but with a batch normalization that is wrong at second order
and biases in front of it. Its ImageNet weights load into these (`p2net_tf.models.pretrained`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import keras

from p2net_tf.layers import ConvNorm
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.sequence import call_in_sequence

STRIDES = (4, 8, 16, 32)
"""Image pixels per pixel of C2, C3, C4, C5."""


@dataclass(frozen=True)
class ResNetSpec:
    """What distinguishes one ResNet from another.

    Attributes:
        blocks: residual blocks of the stages C2, C3, C4, C5.
        widths: inner channels of each stage; a bottleneck gives out four times as many.
        bottleneck: 1x1-3x3-1x1 blocks (ResNet-50 and deeper) instead of two 3x3.
        stem: `7x7`, as published, or `3x3`, two strided 3x3 convolutions for small crops.
    """

    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    bottleneck: bool = True
    stem: Literal["7x7", "3x3"] = "7x7"

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of C2, C3, C4, C5."""
        return tuple(width * (4 if self.bottleneck else 1) for width in self.widths)


RESNETS = {
    "resnet18": ResNetSpec((2, 2, 2, 2), bottleneck=False),
    "resnet50": ResNetSpec((3, 4, 6, 3)),
    "resnet101": ResNetSpec((3, 4, 23, 3)),
    "resnet152": ResNetSpec((3, 8, 36, 3)),
}


def backbone_spec(name: str, small_width: int = 32, small_blocks: int = 2) -> ResNetSpec:
    """The spec of `resnet18`, `resnet50`, `resnet101`, `resnet152`, or of `small`, for demos and phones.

    Raises:
        ValueError: unknown name.
    """
    if name == "small":
        width = small_width
        widths = (width, 2 * width, 4 * width, 4 * width)
        return ResNetSpec((small_blocks,) * 4, widths, bottleneck=False, stem="3x3")
    if name not in RESNETS:
        raise ValueError(f"unknown backbone '{name}'; take one of {', '.join(RESNETS)} or small")
    return RESNETS[name]


@keras.saving.register_keras_serializable("p2net_tf")
class ResidualBlock(FreezableLayer):
    """Basic or bottleneck residual block. `[B, H, W, C] -> [B, H / strides, W / strides, C']`.

    Args:
        width: inner channels; the output has `4 * width` for a bottleneck, `width` for a basic block.
        strides: 2 in the first block of a stage.
        bottleneck: 1x1-3x3-1x1 instead of 3x3-3x3.
        project: whether the shortcut is a 1x1 convolution (the first block of a stage).
        stride_in_1x1: bottleneck strides in its first 1x1 (He et al., keras.applications) rather than in its
            3x3 (torchvision, keras-hub).
        synchronized: batch statistics over all replicas.

    Attributes:
        dilation_rate: of a bottleneck's 3x3; sub-classes have others.
    """

    dilation_rate = 1

    def __init__(
        self,
        width: int,
        strides: int = 1,
        bottleneck: bool = True,
        project: bool = False,
        stride_in_1x1: bool = False,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width = width
        self.strides = strides
        self.bottleneck = bottleneck
        self.stride_in_1x1 = stride_in_1x1
        self.synchronized = synchronized
        self.filters = width * (4 if bottleneck else 1)
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        if bottleneck:
            first, second = (strides, 1) if stride_in_1x1 else (1, strides)
            self.convs = [
                ConvNorm(width, 1, first, name="reduce", **options),
                ConvNorm(width, 3, second, self.dilation_rate, name="conv", **options),
                ConvNorm(self.filters, 1, activation=None, name="expand", **options),
            ]
        else:
            self.convs = [
                ConvNorm(width, 3, strides, name="conv_1", **options),
                ConvNorm(width, 3, activation=None, name="conv_2", **options),
            ]
        self.shortcut = (
            ConvNorm(self.filters, 1, strides, activation=None, name="shortcut", **options)
            if project
            else None
        )

    def build(self, input_shape):
        shape = input_shape
        for conv in self.convs:
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        x = inputs
        for conv in self.convs:
            x = conv(x, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return keras.activations.relu(x + inputs)

    def compute_output_shape(self, input_shape):
        for conv in self.convs:
            input_shape = conv.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "strides": self.strides,
            "bottleneck": self.bottleneck,
            "project": self.shortcut is not None,
            "stride_in_1x1": self.stride_in_1x1,
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable("p2net_tf")
class ResNet(FreezableLayer):
    """`[B, H, W, 3] ->` the list `[C2, C3, C4, C5]` at strides 4, 8, 16, 32.

    Args:
        spec: a `ResNetSpec` or its dict.
        stride_in_1x1: see `ResidualBlock`.
        synchronized: batch statistics over all replicas.
        num_stages: how many of the four stages there are; detectors go on in their own way behind C4.
    """

    def __init__(
        self,
        spec,
        stride_in_1x1: bool = False,
        synchronized: bool = False,
        num_stages: int = len(STRIDES),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.spec = spec if isinstance(spec, ResNetSpec) else ResNetSpec(**spec)
        self.stride_in_1x1 = stride_in_1x1
        self.synchronized = synchronized
        self.num_stages = num_stages
        self.stem = self._stem()
        self.stages = [self._stage(index) for index in range(num_stages)]
        # Nested lists are not searched for sub-layers; this one is.
        self._blocks = [block for stage in self.stages for block in stage]

    def _stem(self):
        options = {"synchronized": self.synchronized, "dtype": self.dtype_policy}
        width = self.spec.widths[0]
        if self.spec.stem == "3x3":
            return [
                ConvNorm(width, 3, 2, name="stem_1", **options),
                ConvNorm(width, 3, 2, name="stem_2", **options),
            ]
        return [
            ConvNorm(width, 7, 2, name="stem", **options),
            # Behind a ReLU, zeros are as good a border as minus infinity.
            keras.layers.ZeroPadding2D(1, dtype=self.dtype_policy, name="pool_border"),
            keras.layers.MaxPooling2D(3, 2, dtype=self.dtype_policy, name="pool"),
        ]

    def _stage(self, index: int) -> list[ResidualBlock]:
        return resnet_stage(
            self.spec,
            index,
            self.stride_in_1x1,
            synchronized=self.synchronized,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        shape = input_shape
        for layer in [*self.stem, *self._blocks]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, training=None):
        x = call_in_sequence(self.stem, inputs, training)
        features = []
        for stage in self.stages:
            x = call_in_sequence(stage, x, training)
            features.append(x)
        return features

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = input_shape
        return [
            (batch, *(side and side // stride for side in sides), channels)
            for stride, channels in zip(STRIDES, self.spec.channels[: self.num_stages], strict=False)
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "spec": asdict(self.spec),
            "stride_in_1x1": self.stride_in_1x1,
            "synchronized": self.synchronized,
            "num_stages": self.num_stages,
        }


def resnet_stage(
    spec: ResNetSpec, index: int, stride_in_1x1: bool = False, kinds: Sequence[type] | None = None, **options
) -> list[ResidualBlock]:
    """The residual blocks of one stage.

    Args:
        index: 0 for C2 to 3 for C5.
        kinds: class of each block, `ResidualBlock` or a sub-class; None: all the first.
        options: `synchronized`, `dtype`.
    """
    return [
        kind(
            spec.widths[index],
            strides=2 if number == 0 and index > 0 else 1,
            bottleneck=spec.bottleneck,
            project=number == 0 and (index > 0 or spec.bottleneck),
            stride_in_1x1=stride_in_1x1,
            name=f"c{index + 2}_block_{number + 1}",
            **options,
        )
        for number, kind in enumerate(kinds or [ResidualBlock] * spec.blocks[index])
    ]
