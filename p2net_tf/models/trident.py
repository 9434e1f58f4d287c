"""Trident blocks (Li et al., ICCV 2019): one set of weights, three receptive fields."""

from __future__ import annotations

from dataclasses import asdict

import keras
from keras import ops

from p2net_tf.layers.sequence import call_in_sequence
from p2net_tf.models.backbones import ResidualBlock, ResNet, ResNetSpec, resnet_stage

DILATIONS = (1, 2, 3)
"""Of the branches for small, medium and large objects."""
MIDDLE = DILATIONS[1]


@keras.saving.register_keras_serializable("p2net_tf")
class TridentBlock(ResidualBlock):
    """Bottleneck whose 3x3 convolution runs at three dilations, with the same weights.

    Outside of training it is the middle branch alone, `[B, H, W, C] -> [B, H, W, C]`, a dilated residual
    block. `branches` takes and gives all three, one behind the other along the batch axis, so that batch
    normalization sees them together and its statistics are shared like the weights. It has exactly the
    weights of the `ResidualBlock` that it replaces.

    Raises:
        ValueError: it strides, or is no bottleneck.
    """

    dilation_rate = MIDDLE

    def __init__(self, width: int, **kwargs):
        if kwargs.get("strides", 1) != 1 or not kwargs.get("bottleneck", True):
            raise ValueError("a TridentBlock is a bottleneck of stride 1")
        super().__init__(width, **kwargs)

    def call(self, inputs, training=None, branches: bool = False):
        if not branches:
            return super().call(inputs, training=training)
        reduce, conv, expand = self.convs
        x = reduce(inputs, training=training)
        x = conv.at_dilations(x, DILATIONS, training=training)
        x = expand(x, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return keras.activations.relu(x + inputs)


@keras.saving.register_keras_serializable("p2net_tf")
class TridentResNet(keras.layers.Layer):
    """ResNet up to C4 whose last blocks are trident blocks. `[B, H, W, 3] -> [B, H / 16, W / 16, C]`.

    With `branches` the result is `[3 * B, ...]`: the branches of `DILATIONS`, one behind the other.

    Args:
        spec: a `ResNetSpec` or its dict.
        trident_blocks: how many blocks at the end of the third stage are trident blocks; 0: a plain ResNet.
        stride_in_1x1: see `ResidualBlock`.
        synchronized: batch statistics over all replicas.

    Raises:
        ValueError: more of them than the stage has behind its first block.
    """

    def __init__(
        self, spec, trident_blocks: int, stride_in_1x1: bool = False, synchronized: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.spec = spec if isinstance(spec, ResNetSpec) else ResNetSpec(**spec)
        self.trident_blocks = trident_blocks
        self.stride_in_1x1 = stride_in_1x1
        self.synchronized = synchronized
        if not 0 <= trident_blocks < self.spec.blocks[2]:
            raise ValueError(
                f"trident_blocks is {trident_blocks}; the third stage has {self.spec.blocks[2] - 1} blocks "
                "that keep their resolution"
            )
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self.resnet = ResNet(self.spec, stride_in_1x1, num_stages=2, name="resnet", **options)
        split = self.spec.blocks[2] - trident_blocks
        kinds = [ResidualBlock] * split + [TridentBlock] * trident_blocks
        blocks = resnet_stage(self.spec, 2, stride_in_1x1, kinds, **options)
        self.plain_blocks, self.branched_blocks = blocks[:split], blocks[split:]

    @property
    def stages(self) -> list[list[ResidualBlock]]:
        """The blocks of C2, C3 and C4."""
        return [*self.resnet.stages, [*self.plain_blocks, *self.branched_blocks]]

    @property
    def stem(self) -> list[keras.layers.Layer]:
        return self.resnet.stem

    def build(self, input_shape):
        self.resnet.build(input_shape)
        shape = self.resnet.compute_output_shape(input_shape)[-1]
        for block in [*self.plain_blocks, *self.branched_blocks]:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, training=None, branches: bool = False):
        x = self.resnet(inputs, training=training)[-1]
        x = call_in_sequence(self.plain_blocks, x, training)
        if not branches:
            return call_in_sequence(self.branched_blocks, x, training)
        x = ops.concatenate([x] * len(DILATIONS), axis=0)
        for block in self.branched_blocks:
            x = block(x, training=training, branches=True)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = self.resnet.compute_output_shape(input_shape)[-1]
        return (batch, height and height // 2, width and width // 2, self.spec.channels[2])

    def get_config(self):
        return {
            **super().get_config(),
            "spec": asdict(self.spec),
            "trident_blocks": self.trident_blocks,
            "stride_in_1x1": self.stride_in_1x1,
            "synchronized": self.synchronized,
        }
