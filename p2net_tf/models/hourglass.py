"""Stacked Hourglass: down to a few pixels and up again, several times (Newell et al., ECCV 2016)."""

from __future__ import annotations

import keras

from p2net_tf.layers import ConvNorm, NearestUpsampling, PreActivationBottleneck
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT, NetworkInput, PoseNetwork


@keras.saving.register_keras_serializable("p2net_tf")
class Hourglass(FreezableLayer):
    """Features at half the resolution, upsampled, plus those at this one. `[B, H, W, C] -> [B, H, W, C]`.

    Half the resolution is an hourglass of its own, `depth` times over. Of an odd number of rows the half is
    rounded up, and the row too many that comes back is cut off.

    Args:
        width: channels, C.
        depth: how often the resolution is halved.
        synchronized: batch statistics over all replicas.
    """

    def __init__(self, width: int, depth: int = 4, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.depth = depth
        self.synchronized = synchronized
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self.stay = PreActivationBottleneck(width, name="stay", **options)
        self.halve = keras.layers.MaxPooling2D(2, padding="same", dtype=self.dtype_policy, name="halve")
        self.before = PreActivationBottleneck(width, name="before", **options)
        if depth > 1:
            self.inner = Hourglass(width, depth - 1, name="inner", **options)
        else:
            self.inner = PreActivationBottleneck(width, name="inner", **options)
        self.after = PreActivationBottleneck(width, name="after", **options)
        self.double = NearestUpsampling(2, dtype=self.dtype_policy, name="double")

    def build(self, input_shape):
        self.stay.build(input_shape)
        halved = self.halve.compute_output_shape(input_shape)
        for layer in (self.before, self.inner, self.after):
            layer.build(halved)
        self.built = True

    def call(self, inputs, training=None):
        x = self.halve(inputs)
        for layer in (self.before, self.inner, self.after):
            x = layer(x, training=training)
        height, width = inputs.shape[1:3]
        return self.stay(inputs, training=training) + self.double(x)[:, :height, :width]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "depth": self.depth,
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable("p2net_tf")
class StackedHourglass(PoseNetwork):
    """`[B, H, W, 3] -> {"stack_1", ..., "stack_<stacks - 1>", "heatmaps"}`, each `[B, H / 4, W / 4, K]`.

    As in the authors' pose-hg-train (`hg.lua` and `Residual.lua`, with the residual behind each hourglass
    that its first version lacked). Each stack is supervised, and what it found goes into the next one;
    `heatmaps` is the last.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        stacks: hourglasses in a row; 2 and 8 are published.
        width: channels of the hourglasses, a multiple of 4; 256 as published.
        depth: how often an hourglass halves the resolution; 4 as published.
        common: further arguments of `NetworkInput`.

    Raises:
        ValueError: `input_size` is not a multiple of 32.
    """

    def __init__(
        self,
        num_keypoints: int,
        input_size=(256, 192),
        stacks: int = 8,
        width: int = 256,
        depth: int = 4,
        name: str = "hourglass",
        **common,
    ):
        given = NetworkInput(num_keypoints, input_size, name, **common)
        x = _stem(given, width)
        outputs = {}
        for number in range(1, stacks):
            features = _stack(x, width, depth, number, given.layer_options)
            maps = outputs[f"stack_{number}"] = given.heatmaps(features, f"stack_{number}")
            x = _reinject(x, features, maps, number, given)
        features = _stack(x, width, depth, stacks, given.layer_options)
        outputs[HEATMAPS_OUTPUT] = given.heatmaps(features, HEATMAPS_OUTPUT)
        super().__init__(given, outputs, stacks=stacks, width=width, depth=depth)


def _stem(given: NetworkInput, width: int):
    """`[B, H / 4, W / 4, width]`, at widths of a quarter and a half on the way."""
    options = given.layer_options
    x = ConvNorm(width // 4, 7, 2, name="stem", **options)(given.normalized)
    x = PreActivationBottleneck(width // 2, name="stem_residual_1", **options)(x)
    x = keras.layers.MaxPooling2D(2, dtype=options["dtype"], name="stem_pool")(x)
    x = PreActivationBottleneck(width // 2, name="stem_residual_2", **options)(x)
    return PreActivationBottleneck(width, name="stem_residual_3", **options)(x)


def _stack(x, width: int, depth: int, number: int, options: dict):
    x = Hourglass(width, depth, name=f"hourglass_{number}", **options)(x)
    x = PreActivationBottleneck(width, name=f"residual_{number}", **options)(x)
    return ConvNorm(width, 1, name=f"features_{number}", **options)(x)


def _reinject(x, features, maps, number: int, given: NetworkInput):
    """What the next stack begins with: what this one began with, its features and its heatmaps."""
    dtype = given.layer_options["dtype"]
    merged = [
        keras.layers.Conv2D(x.shape[-1], 1, dtype=dtype, name=f"merge_{what}_{number}")(found)
        for what, found in (("features", features), ("heatmaps", maps))
    ]
    return keras.layers.Add(dtype=dtype, name=f"merge_{number}")([x, *merged])
