"""SimpleBaseline: its outputs, a file that gives it back, its place among the networks, its loss."""

import keras
import numpy as np
import pytest
from layer_checks import randomize_weights

from p2net_tf.config.loading import load_config
from p2net_tf.config.model import SimpleBaselineConfig
from p2net_tf.config.networks import build_network
from p2net_tf.models import SimpleBaseline
from p2net_tf.models.summary import count_multiply_adds
from p2net_tf.training.pose_model import PoseModel

CROPS = np.random.default_rng(1).uniform(size=(2, 64, 32, 3)).astype("float32")


def small(**options) -> SimpleBaseline:
    return SimpleBaseline(5, (64, 32), "small", backbone_width=8, backbone_blocks=1, width=8, **options)


@pytest.fixture(scope="module")
def network():
    network = small()
    randomize_weights(network, np.random.default_rng(0))
    return network


def test_one_output_at_stride_4(network):
    outputs = network(CROPS)
    assert {name: tuple(maps.shape) for name, maps in outputs.items()} == {"heatmaps": (2, 16, 8, 5)}
    assert network.backbone is network.get_layer("backbone")


def test_a_file_gives_it_back(network, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert isinstance(loaded, SimpleBaseline)
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(loaded(CROPS)["heatmaps"], network(CROPS)["heatmaps"])


def test_heatmaps_stay_float32_in_half_precision(network):
    low = small(dtype="mixed_bfloat16")
    low.set_weights(network.get_weights())
    exact, found = network(CROPS)["heatmaps"], low(CROPS)["heatmaps"]
    assert found.dtype == "float32"
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, atol=0.05 * np.abs(exact).max())


def test_a_transposed_convolution_costs_its_kernel_per_input_pixel(network):
    counts = count_multiply_adds(network)
    channels, kernel = network.backbone.spec.channels[-1], 4 * 4 * 8
    assert [counts[f"deconv_{n}"] for n in (1, 2, 3)] == [
        2 * 1 * kernel * channels, 4 * 2 * kernel * 8, 8 * 4 * kernel * 8,
    ]  # fmt: skip
    assert counts["heatmaps_head"] == 16 * 8 * 8 * 5


def test_build_network_takes_the_configuration():
    section = SimpleBaselineConfig(backbone="small", backbone_width=8, backbone_blocks=1, width=16)
    found = build_network(section, 7, synchronized=True).get_config()
    expected = {"num_keypoints": 7, "backbone": "small", "width": 16, "synchronized_batch_norm": True}
    assert {name: found[name] for name in expected} == expected
    assert found["name"] == "simple_baseline"


def test_its_loss_mines_no_hard_keypoints_and_has_nothing_on_the_way(network):
    """All keypoints count, and the parallel loss is 0 for everybody."""
    model = PoseModel(network, sigma=1.0)
    keypoints = np.random.default_rng(2).uniform(1, 32, (2, 5, 3)).astype("float32")
    outputs = network(CROPS)
    losses = model.losses_of(keypoints, outputs)
    assert model.final_loss.hard == 5
    assert float(losses["intermediate_loss"]) == 0
    assert float(losses["loss"]) == float(losses["final_loss"])
    expected = model.intermediate_loss(keypoints, outputs["heatmaps"])
    assert float(losses["final_loss"]) == pytest.approx(float(expected), rel=1e-6)
    assert model.person_losses(keypoints, outputs).shape == (2,)


def test_a_key_of_another_network_is_a_fault(tmp_path):
    file = tmp_path / "experiment.yaml"
    file.write_text("data: {train: [{format: lsp, root: /lsp}]}\nmodel: {name: simple_baseline}\n")
    assert load_config(file).model == SimpleBaselineConfig()
    with pytest.raises(Exception, match=r"unknown key 'model.apm'"):
        load_config(file, ["model.apm=false"])
