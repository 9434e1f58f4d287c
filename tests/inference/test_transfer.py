"""Fine-tuning: which weights carry over, and what a file must be for it."""

import json

import numpy as np
import pytest
from networks import tiny_network

from p2net_tf.config.model import P2NetConfig
from p2net_tf.config.networks import build_network
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.keras_file import NetworkFileError, save_network
from p2net_tf.inference.transfer import inherited_arguments, transfer_weights
from p2net_tf.models import SimpleBaseline
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.yaml_files import ConfigError

LSP, COCO = Skeleton.load("lsp14"), Skeleton.load("coco17")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`(file, weights)` of a network for LSP whose every weight differs from a new one's."""
    network = tiny_network(14, (64, 64), mean=(0.3, 0.4, 0.5))
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape))
    file = tmp_path_factory.mktemp("trained") / "lsp.keras"
    save_network(network, file, InferenceCard.of(network, LSP))
    return file, [weight.numpy() for weight in network.weights]


@pytest.mark.slow
def test_the_same_keypoints_take_everything(trained):
    file, weights = trained
    network = tiny_network(14, (32, 64), **inherited_arguments(file))
    assert transfer_weights(file, network, LSP) == []
    for found, expected in zip(network.weights, weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_other_keypoints_get_new_heads(trained):
    file, weights = trained
    network = tiny_network(17, (64, 64), **inherited_arguments(file))
    before = [weight.numpy() for weight in network.weights]
    new = transfer_weights(file, network, COCO)
    assert len(new) == 5 and all(
        "head" in name for name in new
    )  # four of the ParallelNet, one of the RefineNet
    for ours, found, theirs in zip(before, network.weights, weights, strict=True):
        is_head = any(found.path.startswith(name) for name in new)
        np.testing.assert_array_equal(found, ours if is_head else theirs)


@pytest.mark.slow
def test_as_many_but_other_keypoints_get_new_heads_too(trained):
    file, _ = trained
    other = Skeleton.from_card(json.loads(json.dumps(LSP.to_card()).replace("neck", "throat")))
    network = tiny_network(14, (64, 64), **inherited_arguments(file))
    assert len(transfer_weights(file, network, other)) == 5


def test_the_input_is_normalised_as_it_was(trained):
    file, _ = trained
    assert inherited_arguments(file)["mean"] == [0.3, 0.4, 0.5]
    options = {"backbone": "small", "width": 4, "backbone_width": 4, "backbone_blocks": 1}
    options |= {"exchange_units": 1, "refine_bottlenecks": (0, 0, 0, 1), "input_size": (64, 64)}
    network = build_network(P2NetConfig(weights=str(file), **options), 17)
    assert network.get_config()["mean"] == [0.3, 0.4, 0.5]


def test_another_network_is_refused(trained):
    file, _ = trained
    wider = tiny_network(14, (64, 64), width=8, **inherited_arguments(file))
    with pytest.raises(NetworkFileError, match="is another network: width is 4 there, 8 here; set"):
        transfer_weights(file, wider, LSP)
    baseline = SimpleBaseline(14, (64, 64), backbone="small", backbone_width=4, backbone_blocks=1, width=4)
    with pytest.raises(NetworkFileError, match="holds a P2Net; weights for a SimpleBaseline are needed"):
        transfer_weights(file, baseline, LSP)


def test_no_file():
    with pytest.raises(NetworkFileError, match="nowhere: no run folder"):
        build_network(P2NetConfig(weights="nowhere"), 17)
    with pytest.raises(ConfigError, match="no ImageNet weights for backbone 'small'"):
        build_network(P2NetConfig(weights="imagenet", backbone="small"), 17)
