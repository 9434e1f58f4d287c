"""Networks small enough for tests."""

from contextlib import contextmanager

import keras
import pytest

from p2net_tf.layers import BatchNormalization
from p2net_tf.models import P2Net

_SMALL_RESNET = {"backbone": "small", "backbone_width": 4, "backbone_blocks": 1, "width": 8}
TINY_OPTIONS = {
    "p2net": {**_SMALL_RESNET, "exchange_units": 1, "refine_bottlenecks": [0, 0, 0, 1]},
    "simple_baseline": _SMALL_RESNET,
    "hrnet": {"width": 4, "modules": [1, 1, 1], "blocks": 1},
    "cpn": _SMALL_RESNET,
    "hourglass": {"stacks": 2, "width": 8, "depth": 2},
}
"""Of every network: what makes one small that has all of its mechanisms."""


def tiny_network(num_keypoints: int = 3, input_size=(64, 64), **options) -> P2Net:
    """A P2Net with every mechanism of the paper in it, four channels wide."""
    return P2Net(
        num_keypoints,
        input_size,
        **{
            "backbone": "small",
            "width": 4,
            "backbone_width": 4,
            "backbone_blocks": 1,
            "exchange_units": 1,
            "refine_bottlenecks": (0, 0, 0, 1),
            **options,
        },
    )


def two_convolutions(num_keypoints=3, input_size=(32, 32), synchronized=False, dtype="float32"):
    """Heatmaps by two convolutions and a batch normalization: what is quick to trace."""
    options = {"padding": "same", "dtype": dtype}
    crops = keras.Input((*input_size, 3), dtype=keras.dtype_policies.get(dtype).variable_dtype)
    x = keras.layers.Conv2D(4, 5, strides=4, use_bias=False, **options)(crops)
    x = BatchNormalization(synchronized=synchronized, dtype=dtype)(x)
    x = keras.layers.Activation("tanh", dtype=dtype)(x)
    names = ("parallel_4", "heatmaps")
    heads = [keras.layers.Conv2D(num_keypoints, 3, name=name, **options)(x) for name in names]
    return keras.Model(crops, dict(zip(names, heads, strict=True)))


@contextmanager
def two_convolutions_in_place_of_p2net():
    """For runs that are the subject, not their network: it takes thrice as long to trace as all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("p2net_tf.experiments.pose_training.build_network", build_two_convolutions)
        yield


def build_two_convolutions(config, num_keypoints, synchronized=False, download=True):
    """With the arguments of `p2net_tf.config.networks.build_network`."""
    network = two_convolutions(num_keypoints, tuple(config.input_size), synchronized)
    network.num_keypoints, network.uses_ohkm = num_keypoints, True  # as a `PoseNetwork` has it
    return network
