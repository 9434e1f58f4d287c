"""HRNet: the shared checks, and the forward pass of `pose_hrnet` in numpy."""

import numpy as np
import pytest
from layer_checks import check_layer, conv_norm, convolve
from network_checks import CROPS, check_network, randomized

from p2net_tf.config.model import HRNetConfig
from p2net_tf.config.networks import build_network
from p2net_tf.models import HRNet
from p2net_tf.models.hrnet import HRModule
from p2net_tf.models.pose_network import IMAGENET_MEAN, IMAGENET_STD

MODULES = (1, 2, 2)


@pytest.fixture(scope="module")
def network():
    return randomized(HRNet(3, (64, 96), width=2, modules=MODULES, blocks=2))


def relu(x):
    return np.maximum(x, 0)


def residual(x, block):
    """What `ResidualBlock` computes in inference mode."""
    shortcut = x if block.shortcut is None else conv_norm(x, block.shortcut)
    for conv in block.convs:
        x = conv_norm(x, conv)
    return relu(x + shortcut)


def branches(maps, module):
    for level, blocks in enumerate(module.branches):
        for block in blocks:
            maps[level] = residual(maps[level], block)
    return maps


def fuse(maps, module):
    """The fuse layers of `HighResolutionModule`: target by target, the sources in order."""
    fused = []
    for target in range(module.outputs or len(maps)):
        total = 0.0
        for source, x in enumerate(maps):
            path = module.exchange.paths.get((source, target), [])
            convs = path[:1] if source > target else path
            for conv in convs:
                x = conv_norm(x, conv)
            grown = 2 ** max(0, source - target)
            total = total + x.repeat(grown, axis=1).repeat(grown, axis=2)
        fused.append(relu(total))
    return fused


def pose_hrnet(x, layer):
    """`PoseHighResolutionNet.forward`, layers by their names in ours."""
    for name in ("stem_1", "stem_2"):
        x = conv_norm(x, layer(name))
    for number in (1, 2, 3, 4):
        x = residual(x, layer(f"layer_1_block_{number}"))
    maps = [conv_norm(x, layer("transition_1_to_0")), conv_norm(x, layer("transition_1_to_1"))]
    for stage, modules in zip((2, 3, 4), MODULES, strict=True):
        if stage > 2:
            maps.append(conv_norm(maps[-1], layer(f"transition_{stage - 1}_to_{stage - 1}")))
        for number in range(1, modules + 1):
            module = layer(f"stage_{stage}_module_{number}")
            maps = fuse(branches(maps, module), module)
    assert len(maps) == 1
    head = layer("heatmaps_head")
    return convolve(maps[0], np.asarray(head.kernel)) + np.asarray(head.bias)


@pytest.mark.slow
def test_network(tmp_path):
    check_network(HRNet, ["heatmaps"], tmp_path, width=2, modules=(1, 1, 1), blocks=1)


@pytest.mark.slow
def test_module(tmp_path):
    check_layer(HRModule((3, 6, 5), 1, outputs=2), [(8, 12, 3), (4, 6, 6), (2, 3, 5)], tmp_path)


@pytest.mark.slow
def test_forward_pass_is_that_of_the_published_code(network):
    crops = np.random.default_rng(2).uniform(size=(1, 64, 96, 3)).astype("float32")
    expected = pose_hrnet((crops - IMAGENET_MEAN) / IMAGENET_STD, network.get_layer)
    found = network(crops)["heatmaps"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_strided_convolutions_pad_both_sides_alike(network):
    """As PyTorch's `padding=1`; else the published weights are off by a pixel."""
    stem = network.get_layer("stem_1")
    assert (stem.kernel_size, stem.strides, stem.norm.epsilon) == (3, 2, 1e-5)
    np.testing.assert_allclose(stem(CROPS), conv_norm(CROPS, stem), rtol=1e-4, atol=1e-4)


def test_the_last_module_forms_the_finest_resolution_alone(network):
    last, before = (network.get_layer(f"stage_4_module_{number}") for number in (2, 1))
    assert sorted(last.exchange.paths) == [(1, 0), (2, 0), (3, 0)]
    assert len(before.exchange.paths) == 12


def test_build_network_takes_the_configuration():
    section = HRNetConfig(width=2, modules=(1, 1, 1), blocks=1, input_size=(64, 32))
    found = build_network(section, 7, synchronized=True).get_config()
    expected = {"num_keypoints": 7, "width": 2, "modules": [1, 1, 1], "synchronized_batch_norm": True}
    assert {name: found[name] for name in expected} == expected
    assert found["name"] == "hrnet"
