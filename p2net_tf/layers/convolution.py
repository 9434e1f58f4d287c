"""Convolution, batch normalization, activation: the brick that every sub-network is built of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from p2net_tf.layers.compat import unlocked
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.normalization import BatchNormalization


class NormalizedConvolution(FreezableLayer):
    """What layers of a convolution without bias, batch normalization and activation share.

    Sub-classes make `conv` and call the three in a row.

    Args:
        activation: name of a Keras activation, or None.
        synchronized: batch statistics over all replicas.
    """

    def __init__(self, activation: str | None, synchronized: bool, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation
        self.synchronized = synchronized
        self.norm = BatchNormalization(synchronized=synchronized, dtype=self.dtype_policy, name="norm")
        self.activate = keras.activations.get(activation)

    def fold(self):
        """Merges the normalization into the convolution, whose outputs stay the same. For inference alone.

        A folded layer cannot be saved as `.keras`: its configuration still describes the unfolded one.
        """
        folded = _merged(self.conv, self.norm)
        with unlocked(self):
            self.conv, self.norm = folded, keras.layers.Identity(dtype=self.dtype_policy)


@keras.saving.register_keras_serializable("p2net_tf")
class ConvNorm(NormalizedConvolution):
    """Convolution without bias, batch normalization, optional activation.

    `[B, H, W, C] -> [B, H', W', filters]`.

    A strided convolution pads both sides alike, as the published ResNets do. (TensorFlow's `same` pads
    bottom and right only on even inputs; weights of other houses would be off by a pixel.)

    Args:
        filters: output channels.
        kernel_size: odd side length of the kernel.
        strides: 1, or 2 to halve the resolution.
        dilation_rate: spacing of the kernel taps.
        activation: name of a Keras activation, or None.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation_rate: int = 1,
        activation: str | None = "relu",
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(activation, synchronized, **kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            dilation_rate=dilation_rate,
            padding="same" if strides == 1 else "valid",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape):
        self.conv.build(self._padded_shape(input_shape))
        self.norm.build(self.conv.compute_output_shape(self._padded_shape(input_shape)))
        self.built = True

    @property
    def _border(self) -> int:
        return 0 if self.strides == 1 else self.dilation_rate * (self.kernel_size - 1) // 2

    def _padded_shape(self, shape):
        grown = [None if n is None else n + 2 * self._border for n in shape[1:3]]
        return (shape[0], *grown, shape[3])

    def call(self, inputs, training=None):
        x = inputs
        if self._border:
            border = (self._border, self._border)
            x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        return self.activate(self.norm(self.conv(x), training=training))

    def at_dilations(self, inputs, dilation_rates, training=None):
        """The same weights at several dilations, each on its part of the batch; for a layer without stride.

        Args:
            inputs: `[n * B, H, W, C]`, the n parts one behind the other.
            dilation_rates: n spacings of the kernel taps.

        Returns:
            `[n * B, H, W, filters]`, normalized by the statistics of all parts together.
        """
        parts = ops.split(inputs, len(dilation_rates), axis=0)
        maps = [
            ops.conv(part, self.conv.kernel, padding="same", dilation_rate=rate)
            for part, rate in zip(parts, dilation_rates, strict=True)
        ]
        return self.activate(self.norm(ops.concatenate(maps, axis=0), training=training))

    def of_upsampled(self, inputs: Sequence, upsamplings: Sequence[Callable], training=None):
        """What `call` gives of `[upsample(x) for ...]`, concatenated; for a 1x1 convolution without stride.

        It distributes over the channels of a concatenation and commutes with an upsampling, so each part is
        convolved at its own resolution: fewer multiply-adds by the square of the factor.

        Args:
            inputs: maps `[B, H / f, W / f, C_f]`, whose channels add up to those that the layer was
                built for.
            upsamplings: one for each, from there to `[B, H, W, ...]`, linear, and of every channel alike,
                in which the weights of a pixel add up to one.

        Returns:
            `[B, H, W, filters]`.

        Raises:
            ValueError: the convolution is not 1x1, or has a stride: these do not commute.
        """
        if (self.kernel_size, self.strides) != (1, 1):
            raise ValueError(f"'{self.name}' is no 1x1 convolution of stride 1, which alone can be split")
        ends = np.cumsum([x.shape[-1] for x in inputs])
        with keras.name_scope(self.name):
            kernels = ops.split(ops.convert_to_tensor(self.conv.kernel), ends[:-1].tolist(), axis=2)
            maps = [ops.conv(x, kernel, padding="same") for x, kernel in zip(inputs, kernels, strict=True)]
            if self.conv.use_bias:  # of a folded normalization
                maps[0] = maps[0] + self.conv.bias
            grown = [upsample(x) for upsample, x in zip(upsamplings, maps, strict=True)]
            return self.activate(self.norm(sum(grown[1:], start=grown[0]), training=training))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(self._padded_shape(input_shape))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "activation": self.activation,
            "synchronized": self.synchronized,
        }


def _merged(conv, norm):
    """A convolution with bias that does what `conv` and then `norm` do in inference mode."""
    kernel = ops.convert_to_numpy(conv.kernel)
    scale = ops.convert_to_numpy(norm.gamma) / np.sqrt(
        ops.convert_to_numpy(norm.moving_variance).astype("float64") + norm.epsilon
    )
    bias = ops.convert_to_numpy(norm.beta) - ops.convert_to_numpy(norm.moving_mean) * scale
    transposed = isinstance(conv, keras.layers.Conv2DTranspose)  # whose kernels are [h, w, out, in]
    merged = type(conv).from_config({**conv.get_config(), "use_bias": True})
    merged.build(conv.get_build_config()["input_shape"])
    merged.kernel.assign(kernel * (scale[:, None] if transposed else scale))
    merged.bias.assign(bias)
    return merged
