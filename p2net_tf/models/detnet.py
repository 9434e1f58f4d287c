"""DetNet (Li et al., ECCV 2018), the detector's backbone of section 3.1 of the paper."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import keras

from p2net_tf.layers import DilatedBottleneck
from p2net_tf.layers.sequence import call_in_sequence
from p2net_tf.models.backbones import ResNet, ResNetSpec


@dataclass(frozen=True)
class DetNetSpec:
    """What distinguishes one DetNet from another.

    Attributes:
        resnet: blocks and widths up to C4. Its fourth stage is not used.
        dilated_width: inner channels of the dilated bottlenecks.
        dilated_filters: channels of C5 and C6.
        dilated_blocks: bottlenecks of each, the first of kind B and the others of kind A.
    """

    resnet: ResNetSpec
    dilated_width: int = 256
    dilated_filters: int = 1024
    dilated_blocks: int = 3

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of C2 to C6."""
        return (*self.resnet.channels[:3], self.dilated_filters, self.dilated_filters)


DETNET_59 = DetNetSpec(ResNetSpec((3, 4, 6, 3)))
DETNET_STRIDES = (4, 8, 16, 16, 16)
"""Image pixels per pixel of C2 to C6."""


def small_detnet(width: int = 32, blocks: int = 2) -> DetNetSpec:
    """DetNet's idea on the `small` backbone: everything behind the third stage keeps its resolution."""
    widths = (width, 2 * width, 4 * width, 4 * width)
    resnet = ResNetSpec((blocks,) * 4, widths, bottleneck=False, stem="3x3")
    return DetNetSpec(resnet, dilated_width=2 * width, dilated_filters=4 * width, dilated_blocks=blocks)


@keras.saving.register_keras_serializable("p2net_tf")
class DetNet(keras.layers.Layer):
    """`[B, H, W, 3] ->` the list `[C2, C3, C4, C5, C6]` at strides 4, 8, 16, 16, 16.

    A ResNet up to C4, then two stages of dilated bottlenecks of kinds B, A, A that keep the resolution: large
    objects are seen with sharp borders, small ones do not vanish. ResNet stages stride in their first 1x1
    convolution: the reading that has the published 4.8 G multiply-adds at 224x224.

    Args:
        spec: a `DetNetSpec` or its dict.
        synchronized: batch statistics over all replicas.
    """

    def __init__(self, spec, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec if isinstance(spec, DetNetSpec) else _spec_of(spec)
        self.synchronized = synchronized
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self.resnet = ResNet(self.spec.resnet, stride_in_1x1=True, num_stages=3, name="resnet", **options)
        self.dilated_stages = [self._stage(number, options) for number in (5, 6)]
        # Nested lists are not searched for sub-layers; this one is.
        self._blocks = [block for stage in self.dilated_stages for block in stage]

    def _stage(self, number: int, options: dict) -> list[DilatedBottleneck]:
        return [
            DilatedBottleneck(
                self.spec.dilated_filters,
                width=self.spec.dilated_width,
                projects=block == 0,
                name=f"c{number}_block_{block + 1}",
                **options,
            )
            for block in range(self.spec.dilated_blocks)
        ]

    def build(self, input_shape):
        self.resnet.build(input_shape)
        shape = self.resnet.compute_output_shape(input_shape)[-1]
        for block in self._blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, training=None):
        features = self.resnet(inputs, training=training)
        for stage in self.dilated_stages:
            features = [*features, call_in_sequence(stage, features[-1], training)]
        return features

    def compute_output_shape(self, input_shape):
        features = self.resnet.compute_output_shape(input_shape)
        dilated = (*features[-1][:-1], self.spec.dilated_filters)
        return [*features, dilated, dilated]

    def get_config(self):
        return {**super().get_config(), "spec": asdict(self.spec), "synchronized": self.synchronized}


def _spec_of(plain: dict) -> DetNetSpec:
    return DetNetSpec(**{**plain, "resnet": ResNetSpec(**plain["resnet"])})
