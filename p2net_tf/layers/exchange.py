"""Exchange unit of the ParallelNet (section 3.2, figure 3, equations 2 and 3 of the paper)."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.layers.convolution import ConvNorm
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.resampling import NearestUpsampling
from p2net_tf.layers.sequence import call_in_sequence


@keras.saving.register_keras_serializable("p2net_tf")
class ExchangeUnit(FreezableLayer):
    """Every resolution sums itself and its neighbours; resolutions stay as they are.

    `R'(r) = sum over finer f of O(R(f)) + R(r) + sum over coarser c of O'(R(c))` (equation 3), where `O` is
    one strided 3x3 convolution per factor of two and `O'` a 1x1 convolution and nearest upsampling. The
    convolution goes before the upsampling: the two commute, and it is cheaper there by the square of the
    factor.

    With a reach of all resolutions it is the fusion of HRNet (Sun et al., CVPR 2019).

    Takes a list of R maps `[B, H / 2**r, W / 2**r, widths[r]]`, finest first; returns the first `outputs`.

    >>> maps = [ops.ones((1, 16, 16, 8)), ops.ones((1, 8, 8, 8))]
    >>> [tuple(fused.shape) for fused in ExchangeUnit(widths=[8, 8])(maps)]
    [(1, 16, 16, 8), (1, 8, 8, 8)]

    Args:
        widths: channels of each resolution.
        reach: how many resolutions away a neighbour may be. 2 is figure 3's window of three.
        outputs: how many resolutions leave, finest first; None: all. HRNet's last fusion has 1.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self, widths, reach: int = 2, outputs: int | None = None, synchronized: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.reach = reach
        self.outputs = outputs
        self.synchronized = synchronized
        self.paths = {
            (source, target): self._connection(source, target)
            for target in range(outputs or len(self.widths))
            for source in range(len(self.widths))
            if source != target and abs(source - target) <= reach
        }
        # Keras finds sub-layers in lists, not behind tuple keys.
        self._path_layers = [layer for path in self.paths.values() for layer in path]

    def _connection(self, source: int, target: int) -> list[keras.layers.Layer]:
        options = {"synchronized": self.synchronized, "dtype": self.dtype_policy}
        name = f"from_{source}_to_{target}"
        if source > target:
            align = ConvNorm(self.widths[target], 1, activation=None, name=f"{name}_align", **options)
            grow = NearestUpsampling(2 ** (source - target), dtype=self.dtype_policy, name=f"{name}_nearest")
            return [align, grow]
        steps = target - source
        return [
            ConvNorm(
                self.widths[target] if step == steps - 1 else self.widths[source],
                3,
                strides=2,
                activation=None if step == steps - 1 else "relu",
                name=f"{name}_stride_{step}",
                **options,
            )
            for step in range(steps)
        ]

    def build(self, input_shape):
        for (source, _), path in self.paths.items():
            shape = input_shape[source]
            for layer in path:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, training=None):
        fused = []
        for target, own in enumerate(inputs[: self.outputs]):
            total = own
            for source in range(len(inputs)):
                if (source, target) in self.paths:
                    total = total + call_in_sequence(self.paths[source, target], inputs[source], training)
            fused.append(ops.relu(total))
        return fused

    def compute_output_shape(self, input_shape):
        return list(input_shape)[: self.outputs]

    def get_config(self):
        return {
            **super().get_config(),
            "widths": list(self.widths),
            "reach": self.reach,
            "outputs": self.outputs,
            "synchronized": self.synchronized,
        }
