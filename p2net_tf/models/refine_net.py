"""RefineNet, the second stage of P2Net (section 3.3, figure 4 of the paper) and of CPN."""

from __future__ import annotations

import keras

from p2net_tf.layers import AttentionPartialModule, BilinearUpsampling, DilatedBottleneck
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.sequence import call_in_sequence
from p2net_tf.models.backbones import STRIDES
from p2net_tf.models.pose_network import heatmap_dtype, heatmap_head


@keras.saving.register_keras_serializable("p2net_tf")
class RefineNet(FreezableLayer):
    """Gathers all resolutions and corrects the hard keypoints (section 3.3).

    List of features at `STRIDES` `-> [B, H / 4, W / 4, K]`.

    Per resolution: Attention Partial Module, dilated bottlenecks (more of them where the resolution is
    coarser), upsampling to stride 4; then concatenation, one bottleneck and the head. Without the modules and
    the dilation it is CPN's (Chen et al., CVPR 2018, section 3.2.2).

    The 1x1 convolutions that the last bottleneck begins with stand before the upsampling: the two commute,
    and there they cost less by the square of the factor.

    Args:
        num_keypoints: K.
        width: channels of every resolution.
        bottlenecks: dilated bottlenecks of each resolution, finest first.
        apm: False leaves the Attention Partial Modules out (Table 5).
        dilation_rate: of the bottlenecks per resolution.
        gathered_width: channels behind the concatenation; None: twice the width.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self,
        num_keypoints: int,
        width: int,
        bottlenecks=(0, 1, 2, 3),
        apm: bool = True,
        dilation_rate: int = 2,
        gathered_width: int | None = None,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_keypoints = num_keypoints
        self.width = width
        self.bottlenecks = tuple(bottlenecks)
        self.apm = apm
        self.dilation_rate = dilation_rate
        self.gathered_width = gathered_width or 2 * width
        self.synchronized = synchronized
        self.branches = [self._branch(level) for level in range(len(STRIDES))]
        # Nested lists are not searched for sub-layers; this one is.
        self._branch_layers = [layer for branch in self.branches for layer in branch]
        self.gather = self._bottleneck(self.gathered_width, 1, "gather")
        self.head = heatmap_head(num_keypoints, "head", self.dtype_policy)
        self.to_output = keras.layers.Identity(dtype=heatmap_dtype(self.dtype_policy))

    def _branch(self, level: int) -> list[keras.layers.Layer]:
        stride = STRIDES[level]
        layers = [AttentionPartialModule(dtype=self.dtype_policy, name=f"apm_{stride}")] if self.apm else []
        for number in range(1, self.bottlenecks[level] + 1):
            layers.append(self._bottleneck(self.width, self.dilation_rate, f"dilated_{stride}_{number}"))
        layers.append(
            BilinearUpsampling(stride // STRIDES[0], dtype=self.dtype_policy, name=f"upsample_{stride}")
        )
        return layers

    def _bottleneck(self, filters: int, dilation_rate: int, name: str) -> DilatedBottleneck:
        return DilatedBottleneck(
            filters, dilation_rate, synchronized=self.synchronized, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape):
        for branch, shape in zip(self.branches, input_shape, strict=True):
            for layer in branch:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        self._gathered = (*input_shape[0][:-1], len(STRIDES) * self.width)
        self.gather.build(self._gathered)
        self.head.build(self.gather.compute_output_shape(self._gathered))
        self.built = True

    def call(self, inputs, training=None):
        maps = [
            call_in_sequence(branch[:-1], x, training)
            for branch, x in zip(self.branches, inputs, strict=True)
        ]
        upsamplings = [branch[-1] for branch in self.branches]
        gathered = self.gather.of_upsampled(maps, upsamplings, training)
        return self.to_output(self.head(gathered))

    @property
    def spared_multiply_adds(self) -> int:
        """Of a crop: how many fewer it does than the 1x1 convolutions of `gather` on the concatenation."""
        _, height, width, channels = self._gathered
        projected = 0 if self.gather.project is None else self.gather.project.filters
        of_all = height * width * channels * (self.gather.reduce.filters + projected)
        factors = [stride // STRIDES[0] for stride in STRIDES]
        return sum(of_all * (factor**2 - 1) // (len(STRIDES) * factor**2) for factor in factors)

    def gates(self, inputs) -> dict:
        """What the Attention Partial Modules multiply their channels by, for the inputs of `call`.

        Returns:
            `{"apm_4": [B, C], ..., "apm_32": [B, C]}` in 0..1, finest resolution first; empty without them.
        """
        if not self.apm:
            return {}
        modules = [branch[0] for branch in self.branches]
        return {
            module.name: keras.ops.squeeze(module.gates(x), (1, 2))
            for module, x in zip(modules, inputs, strict=True)
        }

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.num_keypoints)

    def get_config(self):
        return {
            **super().get_config(),
            "num_keypoints": self.num_keypoints,
            "width": self.width,
            "bottlenecks": list(self.bottlenecks),
            "apm": self.apm,
            "dilation_rate": self.dilation_rate,
            "gathered_width": self.gathered_width,
            "synchronized": self.synchronized,
        }
