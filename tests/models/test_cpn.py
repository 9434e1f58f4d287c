"""CPN: the shared checks, the way down the pyramid in numpy, and what its heatmaps are made of."""

import numpy as np
import pytest
import tensorflow as tf
from network_checks import CROPS, check_network, randomized

from p2net_tf.config.model import CPNConfig
from p2net_tf.config.networks import build_network
from p2net_tf.layers import DilatedBottleneck
from p2net_tf.layers.resampling import interpolation_matrix
from p2net_tf.losses.heatmap import PAPER_OHKM
from p2net_tf.models import CPN
from p2net_tf.models.cpn import GLOBAL_OUTPUTS
from p2net_tf.training.pose_model import PoseModel

TINY = {"backbone": "small", "width": 8, "backbone_width": 4, "backbone_blocks": 1}


@pytest.fixture(scope="module")
def network():
    return randomized(CPN(17, CROPS.shape[1:3], **TINY))


@pytest.mark.slow
def test_network(tmp_path):
    check_network(CPN, [*GLOBAL_OUTPUTS, "heatmaps"], tmp_path, **TINY)


def grown(x):
    """Bilinear, in numpy."""
    rows, columns = (interpolation_matrix(n, 2) for n in x.shape[1:3])
    return np.einsum("ih,bhwc,jw->bijc", rows, x, columns)


def test_each_resolution_hears_all_coarser_ones(network):
    """`resize_bilinear` and then the 1x1 convolution, as published; the network has them the other way."""
    layer = network.get_layer
    pyramid = [np.asarray(x) for x in layer("pyramid_net")(layer("normalize")(CROPS))]
    expected = pyramid[3]
    for level, stride in ((2, 16), (1, 8), (0, 4)):
        merge = layer(f"merge_{stride}")
        upsampled = grown(expected) @ np.asarray(merge.kernel)[0, 0] + np.asarray(merge.bias)
        expected = pyramid[level] + upsampled
    features = layer("global_4_features")(expected)
    heatmaps = layer("global_4_head")(features)
    found = network(CROPS)["global_4"]
    np.testing.assert_allclose(found, heatmaps, rtol=1e-4, atol=1e-5 * np.abs(heatmaps).max())


def test_coarse_heatmaps_are_upsampled_to_stride_4(network):
    """A stride of 32 leaves 2 x 1 values per keypoint: columns are constant, and rows between the two."""
    maps = np.asarray(network(CROPS)["global_32"])
    assert np.ptp(maps, axis=2).max() <= 1e-5 * np.abs(maps).max()
    steps = np.diff(maps[:, 4:12, 0], axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), rtol=1e-3, atol=1e-5)
    assert np.abs(steps).min() > 0


def test_refine_net_is_the_published_one(network):
    """0, 1, 2, 3 plain bottlenecks of half the width without projection, and one that gathers with it."""
    refine = network.get_layer("refine_net")
    blocks = [[b for b in branch if isinstance(b, DilatedBottleneck)] for branch in refine.branches]
    assert [len(branch) for branch in blocks] == [0, 1, 2, 3]
    assert {(b.filters, b.dilation_rate, b.project) for branch in blocks for b in branch} == {(8, 1, None)}
    assert (refine.gather.filters, refine.gather.dilation_rate) == (8, 1)
    assert refine.gather.project is not None
    assert refine.apm is False


def test_heatmaps_on_the_way_do_not_enter_the_prediction(network):
    heads = [w for name in GLOBAL_OUTPUTS for w in network.get_layer(f"{name}_head").trainable_weights]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(CROPS)["heatmaps"])
    assert tape.gradient(total, heads) == [None] * len(heads)


def test_its_loss_mines_hard_keypoints(network):
    """All keypoints of the four on the way, whose losses are averaged; 10 of 17 of the prediction."""
    model = PoseModel(network, sigma=1.0)
    keypoints = np.random.default_rng(2).uniform(1, 32, (2, 17, 3)).astype("float32")
    outputs = network(CROPS)
    losses = model.losses_of(keypoints, outputs)
    assert model.final_loss.hard == PAPER_OHKM
    means = [float(model.intermediate_loss(keypoints, outputs[name])) for name in GLOBAL_OUTPUTS]
    assert float(losses["intermediate_loss"]) == pytest.approx(np.mean(means), rel=1e-5)
    assert float(losses["final_loss"]) == float(model.final_loss(keypoints, outputs["heatmaps"]))


def test_build_network_takes_the_configuration():
    section = CPNConfig(**TINY, input_size=(64, 32), refine_bottlenecks=(1, 0, 0, 0))
    network = build_network(section, 7, synchronized=True)
    expected = {**TINY, "num_keypoints": 7, "refine_bottlenecks": [1, 0, 0, 0], "name": "cpn"}
    found = network.get_config()
    assert {name: found[name] for name in expected} == expected
    assert network.backbone.spec.widths[0] == 4
