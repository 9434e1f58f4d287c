"""In which precision a network runs: what bfloat16 changes, and when it is chosen."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import TINY_OPTIONS, tiny_network, two_convolutions

from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference import choosing_precision
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.choosing_precision import choose_precision, network_in, prepare_network
from p2net_tf.inference.precision import Precision
from p2net_tf.models import NETWORKS
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError

FLOAT32, BFLOAT16, AUTO = Precision
SIZE = (64, 64)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    network = tiny_network(14, SIZE)
    for weight in network.weights:
        if weight.path.endswith(("head/kernel", "heatmaps/kernel")):
            weight.assign(np.random.default_rng(4).normal(0, 0.5, weight.shape))
    return network


@pytest.fixture(scope="module")
def card(network):
    return InferenceCard.of(network, Skeleton.load("lsp14"))


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).uniform(0, 1, (3, *SIZE, 3)).astype("float32")


@pytest.fixture
def quick_processor(monkeypatch):
    """Has instructions for bfloat16, whatever this one has."""
    monkeypatch.setattr(choosing_precision, "cpu_flags", lambda: frozenset({"avx512_bf16"}))


@pytest.fixture
def seconds(monkeypatch, quick_processor):
    """`seconds({batch: (float32, bfloat16)})` stands in for the measurement; they are taken on the way."""

    def stand_in(table):
        def in_turns(steps, card, size):
            assert list(steps) == [FLOAT32, BFLOAT16]
            return {name: np.full(5, found) for name, found in zip(steps, table[size], strict=True)}

        monkeypatch.setattr(choosing_precision, "_in_turns", in_turns)

    return stand_in


class TestNetworks:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", TINY_OPTIONS)
    def test_the_copy_has_the_weights_and_float32_heatmaps(self, name, crops):
        network = NETWORKS[name](14, SIZE, **TINY_OPTIONS[name])
        copy = network_in(network, BFLOAT16)
        for mine, its in zip(network.weights, copy.weights, strict=True):
            assert its.dtype == mine.dtype
            np.testing.assert_array_equal(its, mine)
        assert {maps.dtype for maps in copy(crops).values()} == {tf.float32}
        convolutions = [layer for layer in copy._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]
        assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}

    def test_its_own_precision_leaves_the_network(self, network):
        assert network_in(network, FLOAT32) is network
        low = network_in(network, BFLOAT16)
        assert network_in(low, BFLOAT16) is low

    @pytest.mark.slow
    def test_saved_and_loaded_it_gives_the_same(self, network, card, crops, tmp_path):
        low = PoseEstimator(network, card).with_precision("mixed_bfloat16")
        low.save(tmp_path / "low.keras")
        loaded = PoseEstimator.load(tmp_path / "low.keras")
        assert loaded.network.get_config()["dtype"] == "mixed_bfloat16"
        boxes = [[0, 0, *SIZE]]
        for picture in crops:
            found, expected = (pose.predict(picture, boxes)[0] for pose in (loaded, low))
            np.testing.assert_array_equal(found.keypoints, expected.keypoints)
            np.testing.assert_array_equal(found.keypoint_scores, expected.keypoint_scores)
            assert found.keypoints.dtype == np.float32
        # And back again the weights are those of float32.
        again = PoseEstimator.load(tmp_path / "low.keras", precision="float32")
        np.testing.assert_array_equal(again.network(crops)["heatmaps"], network(crops)["heatmaps"])

    def test_others_are_as_they_were_written(self, crops):
        stranger = two_convolutions(14, SIZE)
        assert network_in(stranger, FLOAT32) is stranger
        with pytest.raises(UserError, match="runs in the precision it was written in"):
            network_in(stranger, BFLOAT16)

    def test_an_unknown_word_is_refused(self, network, card):
        with pytest.raises(UserError, match="no precision 'half'; take one of float32, mixed_bfloat16, auto"):
            PoseEstimator(network, card).with_precision("half")


class TestAuto:
    @pytest.mark.parametrize(
        "table, chosen",
        [
            ({32: (0.300, 0.234)}, BFLOAT16),
            ({32: (0.300, 0.290)}, FLOAT32),  # 1.03 times as fast is not worth the digits
            ({32: (0.300, 0.400)}, FLOAT32),
            ({1: (0.050, 0.050), 16: (0.300, 0.234)}, BFLOAT16),
            ({1: (0.050, 0.060), 16: (0.300, 0.234)}, FLOAT32),  # single requests would be slower
            ({1: (0.060, 0.050), 16: (0.300, 0.300)}, FLOAT32),
        ],
    )
    def test_takes_the_faster_one(self, network, card, seconds, monkeypatch, table, chosen):
        seconds(table)
        monkeypatch.setattr(choosing_precision, "network_in", lambda network, precision: network)
        choice = choose_precision(network, card, list(table))
        assert choice.precision is chosen
        assert choice.milliseconds == {
            size: {"float32": 1000 * full, "mixed_bfloat16": 1000 * half}
            for size, (full, half) in table.items()
        }
        assert json.loads(json.dumps(choice.to_dict()))["precision"] == chosen.value

    def test_says_what_it_chose_and_why(self, network, card, seconds):
        seconds({32: (0.300, 0.240)})
        with messages.capture() as said:
            found, _ = prepare_network(network, card, AUTO)
        assert " ".join(said.get().split()) == (
            "precision mixed_bfloat16: measured here, mixed_bfloat16 is 1.25 times as fast in batches of 32 "
            "(240 ms, float32 300 ms)"
        )
        assert found.get_config()["dtype"] == "mixed_bfloat16"

    def test_is_float32_without_the_instructions(self, network, card, monkeypatch):
        monkeypatch.setattr(choosing_precision, "cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
        monkeypatch.setattr(choosing_precision, "_in_turns", None)
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
        choice = choose_precision(network, card, [32])
        assert (choice.precision, choice.milliseconds) == (FLOAT32, {})
        assert "no avx512_bf16" in choice.why

    def test_is_float32_for_a_network_of_others(self, card, quick_processor):
        choice = choose_precision(two_convolutions(14, SIZE), card, [32])
        assert choice.precision is FLOAT32
        assert "written in" in choice.why

    @pytest.mark.slow
    def test_measures_both_on_the_batch(self, network, card, quick_processor, monkeypatch):
        """The rounds that count, of both; never which is the faster one."""
        seen = []

        def step_of(network, card):
            policy = network.get_config()["dtype"]

            def step(crops, matrices):
                seen.append((policy, crops.shape, matrices.shape))
                return tf.zeros((len(crops), 14, 2)), tf.zeros((len(crops), 14))

            return step

        monkeypatch.setattr(choosing_precision, "make_predict_step", step_of)
        choice = choose_precision(network, card, [5])
        expected = [(name, (5, *SIZE, 3), (5, 2, 3)) for name in ("float32", "mixed_bfloat16")]
        assert seen == expected * 6
        assert set(choice.milliseconds[5]) == {"float32", "mixed_bfloat16"}
