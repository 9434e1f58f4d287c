"""P2Net: the paper's size, its outputs, its switches, and a file that gives it back."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import randomize_weights
from networks import tiny_network

from p2net_tf.config.model import P2NetConfig
from p2net_tf.config.networks import build_network
from p2net_tf.models import P2Net
from p2net_tf.models.summary import summarize

OUTPUTS = {"parallel_4", "parallel_8", "parallel_16", "parallel_32", "heatmaps"}


def random_crops(size=(64, 64), batch: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(batch, *size, 3)).astype("float32")


def randomized(network):
    randomize_weights(network, np.random.default_rng(0))
    return network


@pytest.fixture(scope="module")
def network():
    """Of random weights, which no test changes."""
    return randomized(tiny_network())


@pytest.mark.slow
def test_resnet101_has_the_size_of_table_2():
    """47.5 M parameters, and at most SimpleBaseline-R101's 27.9 G multiply-adds at 384 x 288.

    Of its bottleneck behind the concatenation, the 1x1 convolutions of 4 * 128 channels to 128 and to 256
    cost (1 + 1 / 4 + 1 / 16 + 1 / 64) / 4 of what they would at stride 4.
    """
    network = P2Net(17, (384, 288), backbone="resnet101")
    summary = summarize(network)
    assert summary["parameters"] == pytest.approx(47.5e6, rel=0.01)
    assert summary["multiply_adds"] <= 27.9e9
    at_stride_4 = 96 * 72 * 512 * (128 + 256)
    assert network.get_layer("refine_net").spared_multiply_adds == at_stride_4 * (1 - 85 / 256)
    assert summary["multiply_adds"] == sum(p["multiply_adds"] for p in summary["sub_networks"].values())
    assert summary["output_shapes"] == {name: [96, 72, 17] for name in OUTPUTS}


def test_outputs_are_float32_heatmaps_at_stride_4():
    network = tiny_network(5, (64, 96))
    outputs = network(random_crops((64, 96)))
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {name: (2, 16, 24, 5) for name in OUTPUTS}
    assert {name: tuple(x.shape) for name, x in network.output.items()} == {
        name: (None, 16, 24, 5) for name in OUTPUTS
    }
    assert network.input_size == (64, 96)
    assert network.num_keypoints == 5


@pytest.mark.slow
def test_mixed_precision_changes_little_and_gives_float32_heatmaps(network):
    low = tiny_network(dtype="mixed_bfloat16")
    low.set_weights(network.get_weights())
    assert {weight.dtype for weight in low.weights} == {"float32"}
    expected, found = network(random_crops()), low(random_crops())
    for name in OUTPUTS:
        assert found[name].dtype == "float32"
        assert not np.array_equal(found[name], expected[name])
        np.testing.assert_allclose(found[name], expected[name], atol=0.05 * np.abs(expected[name]).max())


@pytest.mark.slow
def test_a_batch_is_a_loop_of_singles(network):
    crops = random_crops(batch=3)
    together = network(crops)
    for i in range(3):
        alone = network(crops[i : i + 1])
        for name in OUTPUTS:
            scale = np.abs(together[name]).max()
            np.testing.assert_allclose(alone[name][0], together[name][i], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.slow
def test_every_output_depends_on_the_coarsest_features():
    """What the exchange is for: even the heatmaps at stride 4 hear C5, through two windows of three."""
    network = tiny_network(exchange_units=2, num_keypoints=1)
    variables = network.get_layer("pyramid_net").laterals[3].trainable_weights
    with tf.GradientTape(persistent=True) as tape:
        sums = {name: tf.reduce_sum(x**2) for name, x in network(random_crops(), training=True).items()}
    for name in OUTPUTS:
        assert all(np.any(gradient) for gradient in tape.gradient(sums[name], variables)), name


def test_apm_is_one_switch(network):
    """Four modules of a 1x1 convolution each, and nothing else changes."""
    without = tiny_network(apm=False)
    assert network.count_params() - without.count_params() == 4 * (4 * 4 + 4)


def test_refine_bottlenecks_change_the_refine_net_only():
    more, fewer = (tiny_network(refine_bottlenecks=number) for number in ((0, 1, 1, 1), (0, 0, 0, 0)))
    for name in ("pyramid_net", "parallel_net"):
        assert more.get_layer(name).count_params() == fewer.get_layer(name).count_params()
    # 1x1 from 4 to 2, 3x3 from 2 to 2, 1x1 from 2 to 4, each with four statistics per channel.
    one = 4 * 2 + 4 * 2 + 9 * 2 * 2 + 4 * 2 + 2 * 4 + 4 * 4
    difference = more.get_layer("refine_net").count_params() - fewer.get_layer("refine_net").count_params()
    assert difference == 3 * one


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"apm": False, "stride_in_1x1": True, "exchange_units": 2}])
def test_a_file_gives_the_network_back(options, tmp_path):
    network = randomized(tiny_network(**options))
    network.save(tmp_path / "p2net.keras")
    loaded = keras.saving.load_model(tmp_path / "p2net.keras")
    assert isinstance(loaded, P2Net)
    assert loaded.get_config() == network.get_config()
    before, after = network(random_crops()), loaded(random_crops())
    for name in OUTPUTS:
        np.testing.assert_array_equal(after[name], before[name])


def test_the_network_normalizes_its_crops():
    """A crop of the mean colour is the same to it as zeros to a network without mean and deviation."""
    mean, std = (0.2, 0.5, 0.7), (0.5, 0.25, 2.0)
    network = randomized(tiny_network(mean=mean, std=std))
    plain = tiny_network(mean=(0, 0, 0), std=(1, 1, 1))
    plain.set_weights(network.get_weights())
    crops = random_crops()
    expected = plain((crops - mean) / std)["heatmaps"]
    np.testing.assert_allclose(
        network(crops)["heatmaps"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("size", [(100, 64), (64, 48)])
def test_sizes_that_are_not_multiples_of_32(size):
    with pytest.raises(ValueError, match="must be multiples of 32"):
        tiny_network(input_size=size)


def test_build_network_takes_the_configuration():
    config = P2NetConfig(
        backbone="small",
        input_size=(64, 32),
        width=4,
        backbone_width=6,
        backbone_blocks=1,
        exchange_units=2,
        apm=False,
    )
    found = build_network(config, 7, synchronized=True).get_config()
    expected = {
        "num_keypoints": 7,
        "input_size": [64, 32],
        "backbone": "small",
        "width": 4,
        "backbone_width": 6,
        "backbone_blocks": 1,
        "exchange_units": 2,
        "refine_bottlenecks": [0, 1, 2, 3],
        "apm": False,
        "synchronized_batch_norm": True,
    }
    assert {name: found[name] for name in expected} == expected
