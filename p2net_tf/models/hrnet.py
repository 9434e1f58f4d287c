"""HRNet: branches at four resolutions that exchange all along (Sun et al., CVPR 2019; Wang et al., 2019)."""

from __future__ import annotations

import keras

from p2net_tf.layers import ConvNorm, ExchangeUnit
from p2net_tf.layers.freezing import FreezableLayer
from p2net_tf.layers.sequence import call_in_sequence
from p2net_tf.models.backbones import ResidualBlock
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT, NetworkInput, PoseNetwork

STEM_WIDTH = 64
STEM_BLOCKS = 4


@keras.saving.register_keras_serializable("p2net_tf")
class HRModule(FreezableLayer):
    """Basic blocks at every resolution, then an exchange of all with all.

    Takes a list of maps `[B, H / 2**r, W / 2**r, widths[r]]`, finest first, and returns its first `outputs`.

    Args:
        widths: channels of each resolution.
        blocks: basic blocks of each resolution.
        outputs: how many resolutions leave, finest first; None: all.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self, widths, blocks: int = 4, outputs: int | None = None, synchronized: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.blocks = blocks
        self.outputs = outputs
        self.synchronized = synchronized
        self.branches = [self._branch(level) for level in range(len(self.widths))]
        # Nested lists are not searched for sub-layers; this one is.
        self._branch_layers = [block for branch in self.branches for block in branch]
        self.exchange = ExchangeUnit(
            self.widths,
            reach=len(self.widths) - 1,
            outputs=outputs,
            synchronized=synchronized,
            dtype=self.dtype_policy,
            name="exchange",
        )

    def _branch(self, level: int) -> list[ResidualBlock]:
        return [
            ResidualBlock(
                self.widths[level],
                bottleneck=False,
                synchronized=self.synchronized,
                dtype=self.dtype_policy,
                name=f"branch_{level}_block_{number + 1}",
            )
            for number in range(self.blocks)
        ]

    def build(self, input_shape):
        for branch, shape in zip(self.branches, input_shape, strict=True):
            for block in branch:
                block.build(shape)
        self.exchange.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        features = [
            call_in_sequence(branch, x, training) for branch, x in zip(self.branches, inputs, strict=True)
        ]
        return self.exchange(features, training=training)

    def compute_output_shape(self, input_shape):
        return self.exchange.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "widths": list(self.widths),
            "blocks": self.blocks,
            "outputs": self.outputs,
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable("p2net_tf")
class HRNet(PoseNetwork):
    """`[B, H, W, 3] -> {"heatmaps": [B, H / 4, W / 4, K]}`, from features that never leave stride 4.

    Layer by layer the `pose_hrnet` of deep-high-resolution-net.pytorch: a stem to stride 4, four bottlenecks,
    then three stages with one branch more each, at half the resolution and twice the width of the last one.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        width: channels at stride 4 in the stages; 32 and 48 are published.
        modules: modules of the stages with two, three and four branches.
        blocks: basic blocks per branch and module.
        common: further arguments of `NetworkInput`.

    Raises:
        ValueError: `input_size` is not a multiple of 32.
    """

    def __init__(
        self,
        num_keypoints: int,
        input_size=(256, 192),
        width: int = 32,
        modules=(1, 4, 3),
        blocks: int = 4,
        name: str = "hrnet",
        **common,
    ):
        given = NetworkInput(num_keypoints, input_size, name, **common)
        options = given.layer_options
        features = [_stem(given.normalized, options)]
        for stage, count in zip((2, 3, 4), modules, strict=True):
            widths = [width * 2**level for level in range(stage)]
            features = _transition(features, widths, f"transition_{stage - 1}", options)
            for number in range(1, count + 1):
                outputs = 1 if (stage, number) == (4, count) else None
                module = HRModule(widths, blocks, outputs, name=f"stage_{stage}_module_{number}", **options)
                features = module(features)
        super().__init__(
            given,
            {HEATMAPS_OUTPUT: given.heatmaps(features[0], HEATMAPS_OUTPUT)},
            width=width,
            modules=list(modules),
            blocks=blocks,
        )


def _stem(x, options: dict):
    """Two strided convolutions, and bottlenecks as in a ResNet's C2: `[B, H / 4, W / 4, 256]`."""
    for number in (1, 2):
        x = ConvNorm(STEM_WIDTH, 3, 2, name=f"stem_{number}", **options)(x)
    for number in range(1, STEM_BLOCKS + 1):
        x = ResidualBlock(STEM_WIDTH, project=number == 1, name=f"layer_1_block_{number}", **options)(x)
    return x


def _transition(features: list, widths: list[int], name: str, options: dict) -> list:
    """Branches of the next stage: those there are, brought to its widths, and one more out of the last."""
    grown = [
        x if x.shape[-1] == width else ConvNorm(width, 3, name=f"{name}_to_{level}", **options)(x)
        for level, (x, width) in enumerate(zip(features, widths, strict=False))
    ]
    new = ConvNorm(widths[-1], 3, 2, name=f"{name}_to_{len(features)}", **options)(features[-1])
    return [*grown, new]
