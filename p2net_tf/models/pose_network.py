"""What all networks from crops to heatmaps have in common: their input, their outputs, their head."""

from __future__ import annotations

import keras
import numpy as np

from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.layers import BilinearUpsampling
from p2net_tf.layers.compat import TrainableHook
from p2net_tf.layers.freezing import FROZEN, freeze_places, frozen_places
from p2net_tf.models.partial_loading import TellsWhatIsNotLoaded

HEATMAPS_OUTPUT = "heatmaps"
"""Name of the heatmaps that are the prediction, in every network. All others are supervised on the way."""

COARSEST_STRIDE = 32
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def heatmap_head(num_keypoints: int, name: str, dtype=None, kernel_size: int = 3) -> keras.layers.Conv2D:
    """The convolution that turns features into heatmaps: 3x3 in P2Net (section 3.2), 1x1 in others.

    Its weights start small: with the default initialisation the squared error first drives everything to
    zero, and a network can stay there for thousands of steps (measured, design.md).
    """
    initializer = keras.initializers.RandomNormal(stddev=0.001)
    return keras.layers.Conv2D(
        num_keypoints, kernel_size, padding="same", kernel_initializer=initializer, dtype=dtype, name=name
    )


def heatmap_dtype(policy: keras.DTypePolicy):
    """Float32 under mixed precision, since heatmaps and losses need the digits; else the policy itself."""
    return "float32" if policy.compute_dtype in ("float16", "bfloat16") else policy


class NetworkInput:
    """The crops of a network, and the arguments that every network takes.

    Args:
        num_keypoints: K.
        input_size: `(height, width)` of the crop, multiples of 32.
        synchronized_batch_norm: batch statistics over all replicas (TensorFlow backend).
        mean, std: per-channel normalisation of the crop; ImageNet's by default.
        alignment: `continuous`, or `pixel_index` for weights of the published networks
            (`p2net_tf.keypoints.alignment`).
        dtype: precision, as a Keras layer takes it.
        name: of the network.

    Attributes:
        crops: symbolic `[B, H, W, 3]` in 0..1, where the network begins.
        normalized: the crops as the first layer gets them.
        policy: the precision, resolved.
        layer_options: `synchronized` and `dtype` for the layers of the project.

    Raises:
        ValueError: `input_size` is no height and width in multiples of 32, or an unknown alignment.
    """

    def __init__(
        self,
        num_keypoints: int,
        input_size,
        name: str,
        synchronized_batch_norm: bool = False,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        alignment: str = "continuous",
        dtype=None,
    ):
        if not isinstance(num_keypoints, int | np.integer) or num_keypoints < 1:
            raise ValueError(f"num_keypoints={num_keypoints!r}: give a number, as of skeleton.num_keypoints")
        input_size = _checked_size(input_size)
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "Keras' image data format is channels_first; these networks have their channels last: "
                "keras.config.set_image_data_format('channels_last')"
            )
        if alignment not in ALIGNMENTS:
            raise ValueError(f"unknown alignment '{alignment}'; take one of {', '.join(ALIGNMENTS)}")
        self.policy = keras.dtype_policies.get(dtype)
        self.layer_options = {"synchronized": synchronized_batch_norm, "dtype": dtype}
        self.arguments = {
            "num_keypoints": num_keypoints,
            "input_size": list(input_size),
            "synchronized_batch_norm": synchronized_batch_norm,
            "mean": list(mean),
            "std": list(std),
            "alignment": alignment,
            # By its name: a file without one would be read in whatever precision is set by then.
            "dtype": self.policy.name,
            "name": name,
        }
        self.crops = keras.Input((*input_size, 3), dtype=self.policy.variable_dtype, name="crops")
        scale, offset = [1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
        self.normalized = keras.layers.Rescaling(scale, offset, dtype=dtype, name="normalize")(self.crops)

    def heatmaps(self, features, name: str, kernel_size: int = 1, factor: int = 1):
        """`[B, factor * h, factor * w, K]` of `[B, h, w, C]` features, in a precision fit for losses."""
        count = self.arguments["num_keypoints"]
        maps = heatmap_head(count, f"{name}_head", self.policy, kernel_size)(features)
        return BilinearUpsampling(factor, dtype=heatmap_dtype(self.policy), name=name)(maps)


def _checked_size(input_size) -> tuple[int, int]:
    sides = tuple(input_size) if isinstance(input_size, list | tuple) else (input_size,)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise ValueError(
            f"input_size={input_size}: give (height, width) of the crop, two whole numbers; its 3 channels "
            "are understood"
        )
    if any(side <= 0 or side % COARSEST_STRIDE for side in sides):
        raise ValueError(f"input_size {sides} must be multiples of {COARSEST_STRIDE}")
    return sides


class PoseNetwork(TrainableHook, TellsWhatIsNotLoaded, keras.Model):
    """From an RGB crop in 0..1 to heatmaps at stride 4: `[B, H, W, 3] -> {name: [B, H / 4, W / 4, K]}`.

    Heatmaps are float32 at least. Sub-classes build their layers between `NetworkInput.normalized` and the
    outputs; all can be saved as `.keras` and are read back by their arguments.

    Args:
        network_input: where the network begins.
        outputs: symbolic heatmaps by name, one of them `HEATMAPS_OUTPUT`.
        arguments: what else the constructor of the sub-class was given, as plain values.

    Attributes:
        uses_ohkm: whether the network was published with a loss that mines hard keypoints.
    """

    uses_ohkm = False

    def __init__(self, network_input: NetworkInput, outputs: dict, **arguments):
        super().__init__(network_input.crops, outputs, name=network_input.arguments["name"])
        self._arguments = {**network_input.arguments, **arguments}

    @property
    def input_size(self) -> tuple[int, int]:
        return tuple(self._arguments["input_size"])

    @property
    def num_keypoints(self) -> int:
        return self._arguments["num_keypoints"]

    @property
    def alignment(self) -> str:
        """How its crops and heatmaps lie on the image, a name of `p2net_tf.keypoints.alignment`."""
        return self._arguments["alignment"]

    @property
    def backbone(self) -> keras.layers.Layer | None:
        """The `ResNet` inside, whose ImageNet weights can be had; None in a network without one."""
        return None

    def get_config(self):
        places = frozen_places(self)
        return dict(self._arguments) | ({FROZEN: places} if places else {})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        places = config.pop(FROZEN, [])
        network = cls(**config)
        freeze_places(network, places)
        return network
