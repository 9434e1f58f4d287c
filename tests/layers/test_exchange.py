"""Exchange unit: the shared checks, equations 2 and 3 in numpy, and who reaches whom."""

import numpy as np
import pytest
from layer_checks import check_layer, conv_norm, randomize_weights

from p2net_tf.layers import ExchangeUnit

WIDTHS = (3, 4, 5, 2)
SHAPES = [(16, 8, 3), (8, 4, 4), (4, 2, 5), (2, 1, 2)]


def random_maps(rng, batch: int = 2):
    return [rng.normal(size=(batch, *shape)).astype("float32") for shape in SHAPES]


def built_unit(reach: int) -> ExchangeUnit:
    unit = ExchangeUnit(WIDTHS, reach=reach)
    unit.build([(None, *shape) for shape in SHAPES])
    randomize_weights(unit, np.random.default_rng(0))
    return unit


@pytest.mark.parametrize("reach", [1, 2])
def test_layer(reach, tmp_path):
    check_layer(ExchangeUnit(WIDTHS, reach=reach), SHAPES, tmp_path)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_equation_3(reach):
    """Upsampling stands before the 1x1 convolution here, as in the paper; the layer has it behind."""
    unit = built_unit(reach)
    maps = random_maps(np.random.default_rng(1))
    found = unit(maps, training=False)
    for target in range(4):
        total = maps[target].copy()
        for source in range(max(0, target - reach), target):
            x = maps[source]
            for layer in unit.paths[source, target]:
                x = conv_norm(x, layer)
            total += x
        for source in range(target + 1, min(3, target + reach) + 1):
            factor = 2 ** (source - target)
            nearest = maps[source].repeat(factor, axis=1).repeat(factor, axis=2)
            total += conv_norm(nearest, unit.paths[source, target][0])
        np.testing.assert_allclose(found[target], np.maximum(total, 0), rtol=1e-4, atol=1e-4)


def test_resolutions_stay_as_they_are():
    """Equation 2."""
    found = built_unit(2)(random_maps(np.random.default_rng(2)))
    assert [tuple(x.shape[1:]) for x in found] == SHAPES


def test_downsampling_is_one_strided_3x3_per_factor_of_two():
    unit = built_unit(3)
    for (source, target), path in unit.paths.items():
        if source < target:
            convs = [(layer.kernel_size, layer.strides) for layer in path]
            assert convs == [(3, 2)] * (target - source)
        else:
            assert path[0].kernel_size == 1


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_resolution_hears_its_neighbours_within_reach(reach):
    unit = built_unit(reach)
    # High above zero, so that no ReLU hides a change.
    maps = [x + 10 for x in random_maps(np.random.default_rng(3))]
    before = unit(maps, training=False)
    for source in range(4):
        changed = [x + 5.0 * (level == source) for level, x in enumerate(maps)]
        after = unit(changed, training=False)
        heard = [not np.array_equal(a, b) for a, b in zip(after, before, strict=True)]
        assert heard == [abs(source - target) <= reach for target in range(4)]


def test_outputs_are_the_finest_of_all():
    whole = built_unit(3)
    some = ExchangeUnit(WIDTHS, reach=3, outputs=2)
    some.build([(None, *shape) for shape in SHAPES])
    for path, layers in some.paths.items():
        for layer, same in zip(layers, whole.paths[path], strict=True):
            layer.set_weights(same.get_weights())
    maps = random_maps(np.random.default_rng(4))
    for found, expected in zip(some(maps), whole(maps)[:2], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_unit_saved_before_there_were_outputs_has_all():
    config = ExchangeUnit(WIDTHS).get_config()
    del config["outputs"]
    assert ExchangeUnit.from_config(config).outputs is None
