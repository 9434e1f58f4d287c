"""Networks small enough for tests."""

import keras

from p2net_tf.layers import BatchNormalization
from p2net_tf.models import P2Net


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
    x = keras.layers.Conv2D(4, 5, strides=4, **options)(crops)
    x = BatchNormalization(synchronized=synchronized, dtype=dtype)(x)
    x = keras.layers.Activation("tanh", dtype=dtype)(x)
    names = ("parallel_4", "refine")
    heads = [keras.layers.Conv2D(num_keypoints, 3, name=name, **options)(x) for name in names]
    return keras.Model(crops, dict(zip(names, heads, strict=True)))


def build_two_convolutions(config, num_keypoints, synchronized=False, download=True):
    """In place of `build_network` where a run is the subject and not its network, which takes four times as
    long to trace as all the rest of a short run. Needs `loss.ohkm`."""
    return two_convolutions(num_keypoints, tuple(config.input_size), synchronized)
