"""Dilated bottleneck (section 3.3, figure 4b of the paper; DetNet, Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
from keras import ops

from p2net_tf.layers.convolution import ConvNorm
from p2net_tf.layers.freezing import FreezableLayer


@keras.saving.register_keras_serializable("p2net_tf")
class DilatedBottleneck(FreezableLayer):
    """Residual bottleneck whose 3x3 convolution is dilated. `[B, H, W, C] -> [B, H, W, filters]`.

    It widens the receptive field at constant resolution: 1x1 to `width`, 3x3 with dilation, 1x1 back to
    `filters`, plus the input (DetNet's block A) - through a 1x1 projection in its block B, and wherever the
    channels differ.

    >>> tuple(DilatedBottleneck(16, dilation_rate=2)(keras.ops.ones((1, 8, 8, 4))).shape)
    (1, 8, 8, 16)

    Args:
        filters: output channels, even.
        dilation_rate: spacing of the taps of the 3x3 convolution.
        width: inner channels; None: `filters / 2`.
        projects: whether the input goes through the projection even where the channels are the same.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self,
        filters: int,
        dilation_rate: int = 2,
        synchronized: bool = False,
        width: int | None = None,
        projects: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.dilation_rate = dilation_rate
        self.synchronized = synchronized
        self.width = width or filters // 2
        self.projects = projects
        options = {"synchronized": synchronized, "dtype": self.dtype_policy}
        self.reduce = ConvNorm(self.width, 1, name="reduce", **options)
        self.dilate = ConvNorm(self.width, 3, dilation_rate=dilation_rate, name="dilate", **options)
        self.expand = ConvNorm(filters, 1, activation=None, name="expand", **options)
        self.project = None

    def build(self, input_shape):
        inner = (*input_shape[:-1], self.width)
        self.reduce.build(input_shape)
        self.dilate.build(inner)
        self.expand.build(inner)
        if self.projects or input_shape[-1] != self.filters:
            self.project = ConvNorm(
                self.filters,
                1,
                activation=None,
                synchronized=self.synchronized,
                dtype=self.dtype_policy,
                name="project",
            )
            self.project.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        x = self.reduce(inputs, training=training)
        shortcut = inputs if self.project is None else self.project(inputs, training=training)
        return self._sum(x, shortcut, training)

    def of_upsampled(self, inputs: Sequence, upsamplings: Sequence[Callable], training=None):
        """What `call` gives of the concatenation; see `ConvNorm.of_upsampled`."""
        with keras.name_scope(self.name):
            x = self.reduce.of_upsampled(inputs, upsamplings, training)
            if self.project is not None:
                return self._sum(x, self.project.of_upsampled(inputs, upsamplings, training), training)
            grown = [upsample(part) for part, upsample in zip(inputs, upsamplings, strict=True)]
            return self._sum(x, ops.concatenate(grown, axis=-1), training)

    def _sum(self, reduced, shortcut, training):
        x = self.dilate(reduced, training=training)
        return keras.activations.relu(self.expand(x, training=training) + shortcut)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "dilation_rate": self.dilation_rate,
            "synchronized": self.synchronized,
            "width": self.width,
            "projects": self.projects,
        }
