import numpy as np
import pytest
from layer_checks import check_layer, convolve

from p2net_tf.layers import FeaturePyramid

SHAPES = {4: (16, 8, 3), 8: (8, 4, 5), 16: (4, 2, 6)}


@pytest.mark.parametrize(
    ("strides", "top", "output_strides"),
    [
        ((4, 8, 16), None, (4, 8, 16)),
        ((4, 8, 16, 16), "pool", (4, 8, 16, 16, 32)),
        ((8, 16), "convolutions", (8, 16, 32, 64)),
    ],
)
def test_feature_pyramid(strides, top, output_strides, tmp_path):
    layer = FeaturePyramid(4, strides, top)
    assert layer.output_strides == output_strides
    check_layer(layer, [SHAPES[stride] for stride in strides], tmp_path)


def test_values():
    """In numpy: lateral convolutions, sums from the coarsest on, output convolutions, every second pixel."""
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1, *SHAPES[stride])).astype("float32") for stride in (4, 8, 8)]
    layer = FeaturePyramid(4, (4, 8, 8), "pool")
    layer.build([x.shape for x in inputs])
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))

    def apply(convolution, x):
        return convolve(x, np.asarray(convolution.kernel)) + np.asarray(convolution.bias)

    maps = [apply(lateral, x) for lateral, x in zip(layer.laterals, inputs, strict=True)]
    maps[1] = maps[1] + maps[2]
    maps[0] = maps[0] + maps[1].repeat(2, axis=1).repeat(2, axis=2)
    expected = [apply(output, x) for output, x in zip(layer.outputs, maps, strict=True)]
    expected.append(expected[-1][:, ::2, ::2])
    for found, values in zip(layer(inputs), expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="take pool, convolutions or None"):
        FeaturePyramid(4, (4, 8), "mean")
    with pytest.raises(ValueError, match="must be a multiple"):
        FeaturePyramid(4, (8, 12))
