"""Names, layouts and faults, against PyTorch networks that are written of the published architecture."""

import numpy as np
import official_states as official
import pytest
from official_states import torch_shapes

from p2net_tf.convert.assign import assign_tensors
from p2net_tf.convert.checkpoint import ConversionError
from p2net_tf.convert.published import MODELS, what_it_is
from p2net_tf.models import HRNet, SimpleBaseline
from p2net_tf.models.backbones import RESNETS


@pytest.mark.slow
def test_hrnet_w32_gives_the_heatmaps_of_pytorch():
    pytest.importorskip("torch", reason="the reference is in PyTorch: the extra `torch`")
    from torch_networks import PoseHRNet, heatmaps

    state = official.random_state(official.pose_hrnet(32))
    crops = np.random.default_rng(1).uniform(size=(1, 64, 64, 3)).astype(np.float32)
    expected = heatmaps(PoseHRNet, 32, state, crops)
    network = HRNet(17, (64, 64), width=32)
    assert assign_tensors(network, state) == len(state) == len(network.weights)
    assert 0.1 < expected.std() < 10
    np.testing.assert_allclose(network(crops)["heatmaps"], expected, rtol=0, atol=1e-4)


def test_the_deeper_resnets_are_as_deep_as_published():
    for depth, blocks in official.RESNET_BLOCKS.items():
        assert RESNETS[f"resnet{depth}"].blocks == blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        ("simple_baseline_resnet101", official.pose_resnet(101)),
        ("simple_baseline_resnet152", official.pose_resnet(152)),
        ("hrnet_w48", official.pose_hrnet(48)),
    ],
)
def test_every_weight_has_its_published_name_and_shape(model, shapes):
    options = dict(MODELS[model])
    kind = {"simple_baseline": SimpleBaseline, "hrnet": HRNet}[options.pop("name")]
    network = kind(17, (32, 32), **options)
    found = torch_shapes(network)
    assert len(found) == len(network.weights)
    assert found == shapes


class TestFaults:
    """Of a small network whose weights are named in the same way."""

    @pytest.fixture(scope="class")
    def network(self):
        return SimpleBaseline(5, (32, 32), "resnet18", width=8)

    @pytest.fixture
    def tensors(self, network):
        return official.random_state(torch_shapes(network))

    def test_all_are_named_at_once_and_nothing_is_changed(self, network, tensors):
        assign_tensors(network, tensors)
        before = network.get_weights()
        del tensors["layer2.0.downsample.1.running_var"], tensors["conv1.weight"]
        tensors["fc.weight"] = np.zeros((10, 8))
        tensors["layer1.0.bn1.bias"] = np.zeros(7)
        tensors["deconv_layers.0.weight"] = np.zeros((512, 8, 2, 2))
        with pytest.raises(ConversionError) as error:
            assign_tensors(network, tensors, "Take another one.")
        assert str(error.value).splitlines() == [
            "tensors that do not match simple_baseline (5):",
            "missing: conv1.weight [64, 3, 7, 7]",
            "missing: layer2.0.downsample.1.running_var [128]",
            "wrong shape: layer1.0.bn1.bias is [7], not [64]",
            "wrong shape: deconv_layers.0.weight is [512, 8, 2, 2], not [512, 8, 4, 4]",
            "unexpected: fc.weight [10, 8]",
            "Take another one.",
        ]
        for now, then in zip(network.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_a_bias_where_there_is_none_is_unexpected(self, network, tensors):
        tensors["deconv_layers.3.bias"] = np.zeros(8)
        with pytest.raises(ConversionError, match=r"\(1\):\nunexpected: deconv_layers.3.bias \[8\]$"):
            assign_tensors(network, tensors)


def shapes_only(shapes: dict) -> dict:
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "model", "fits"),
    [
        (official.pose_resnet(101), "simple_baseline_resnet50", "simple_baseline_resnet101"),
        (official.pose_resnet(152), "hrnet_w32", "simple_baseline_resnet152"),
        (official.pose_hrnet(48), "hrnet_w32", "hrnet_w48"),
        (official.pose_hrnet(32), "hrnet_w32", None),
        (official.pose_hrnet(18), "hrnet_w32", None),
    ],
)
def test_the_hint_says_which_model_it_is(shapes, model, fits):
    expected = f"By its shapes it is the model {fits}." if fits else ""
    assert what_it_is(shapes_only(shapes), model) == expected


def test_the_hint_knows_a_backbone_alone():
    shapes = official.pose_resnet(50)
    backbone = {name: shape for name, shape in shapes.items() if name.startswith(("conv", "bn", "layer"))}
    found = what_it_is(shapes_only(backbone | {"fc.weight": (1000, 2048)}), "simple_baseline_resnet50")
    assert found == "There is no head in it: a backbone of simple_baseline_resnet50 alone finds no keypoints."
