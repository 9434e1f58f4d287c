"""What plain convolutions are, and how a network is seen beside them; never how long something took."""

import numpy as np
import pytest

from p2net_tf.bench import roofline
from p2net_tf.bench.roofline import KERAS, LITERT, SHAPES, PlainConvolutions, limits_of, plain_functions
from p2net_tf.bench.roofline import share_of_limit as share
from p2net_tf.bench.torch_peers import LAYOUTS

CROP = (64, 32)


def test_multiply_adds_are_those_of_the_definition():
    for shape in SHAPES:
        pixels = (256 // shape.stride) * (192 // shape.stride)
        assert shape.multiply_adds((256, 192)) == 4 * pixels * 9 * shape.channels * shape.channels


def test_the_best_shape_is_the_limit():
    slow, quick = PlainConvolutions(4, 64), PlainConvolutions(8, 128)
    giga = slow.multiply_adds(CROP) / 1e9
    assert giga == quick.multiply_adds(CROP) / 1e9
    seconds = {(KERAS, slow): np.array([1.0, 2.0, 1.0]), (KERAS, quick): np.array([0.5, 0.5, 4.0])}
    limit = limits_of(CROP, 3, seconds)[KERAS]
    assert limit.best == quick
    np.testing.assert_allclose(limit.giga_per_second, 3 * giga / np.array([0.5, 0.5, 4.0]))
    told = limit.to_dict()
    assert told["best"] == "3x3, 128 channels at stride 8"
    assert told["giga_per_second"]["3x3, 64 channels at stride 4"]["median"] == pytest.approx(3 * giga)


def test_shares_are_of_the_same_round():
    """A round in which the machine slept, for both, does not count."""
    found = share(np.array([50.0, 5.0, 60.0]), np.array([100.0, 10.0, 100.0]))
    assert found["share"] == {"median": 0.5, "lower": 0.5, "upper": 0.55}
    assert found["giga_per_second"]["median"] == 50


@pytest.mark.slow
def test_all_runtimes_compute_the_same(monkeypatch):
    """Four convolutions of the same kernels: each function is given what its result is compared by."""
    torch = pytest.importorskip("torch", reason="PyTorch's convolutions need torch (extra `torch`)")
    monkeypatch.setattr(roofline, "SHAPES", (PlainConvolutions(16, 8),))
    graph = plain_functions(CROP, 1, [KERAS])[KERAS, roofline.SHAPES[0]]().numpy()
    features = roofline._noise((1, 4, 2, 8))
    kernel = torch.from_numpy(roofline._noise((3, 3, 8, 8), fan_in=72).transpose(3, 2, 0, 1))
    maps = torch.from_numpy(features.transpose(0, 3, 1, 2))
    for _ in range(4):
        maps = torch.nn.functional.conv2d(maps, kernel, padding=1)
    np.testing.assert_allclose(graph, maps.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    found = plain_functions(CROP, 2, [KERAS, LITERT, *LAYOUTS])
    assert {runtime for runtime, _ in found} == {KERAS, LITERT, *LAYOUTS}
    for function in found.values():
        function()
