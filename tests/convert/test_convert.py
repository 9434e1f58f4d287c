"""`p2net import-weights` from the file of a checkpoint to a network that is evaluated."""

import hashlib
import json
import sys

import keras
import numpy as np
import official_states as official
import pytest
from official_states import torch_shapes
from safetensors.numpy import save_file
from typer.testing import CliRunner

from p2net_tf.cli import app, main
from p2net_tf.cli.conversion import PublishedModel
from p2net_tf.config.loading import load_config
from p2net_tf.convert.checkpoint import ConversionError
from p2net_tf.convert.convert import convert_checkpoint
from p2net_tf.convert.detectors import MODEL as DETECTOR
from p2net_tf.convert.published import MODELS
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.models import SimpleBaseline
from p2net_tf.models.pose_network import IMAGENET_MEAN
from p2net_tf.utils.console import be_quiet

RESNET50 = ("--model", "simple_baseline_resnet50")
SMALL = {"name": "simple_baseline", "backbone": "resnet18", "width": 8}
"""A section of `MODELS` for what does not depend on the size of the network."""


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["import-weights", *map(str, arguments)])
    be_quiet(False)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.slow
class TestOfficialResNet50:
    """As the official training writes it, converted on the command line."""

    @pytest.fixture(scope="class")
    def state(self):
        return official.random_state(official.pose_resnet(50))

    @pytest.fixture(scope="class")
    def checkpoint(self, state, tmp_path_factory):
        torch = pytest.importorskip("torch", reason="PyTorch's files need PyTorch: the extra `torch`")
        tensors = {f"module.{name}": torch.from_numpy(tensor) for name, tensor in state.items()}
        path = tmp_path_factory.mktemp("resnet50") / "pose_resnet_50_256x192.pth"
        torch.save({"epoch": 140, "state_dict": tensors}, path)
        return path

    @pytest.fixture(scope="class")
    def printed(self, checkpoint):
        out = checkpoint.parent / "pose.keras"
        return json.loads(call(checkpoint, *RESNET50, "--out", out, "--input-size", "64,96", "--json"))

    @pytest.fixture(scope="class")
    def run(self, printed):
        return load_run(printed["network_file"])

    def test_it_gives_the_heatmaps_of_pytorch(self, run, state):
        """PyTorch reads BGR, as the published ResNets do; the Keras network reads RGB."""
        from torch_networks import PoseResNet, heatmaps

        bgr = np.random.default_rng(1).uniform(size=(2, 64, 96, 3)).astype(np.float32)
        expected = heatmaps(PoseResNet, 50, state, bgr)
        assert 0.1 < expected.std() < 10
        found = run.network(bgr[..., ::-1])["heatmaps"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)

    def test_its_configuration_evaluates_it_as_published(self, run):
        assert run.network.alignment == run.config.model.alignment == "pixel_index"
        assert run.config.model.input_size == run.network.input_size == (64, 96)
        assert run.config.model.backbone == "resnet50"
        assert run.config.evaluation.model_dump(exclude={"batch_size"}) == {
            "metric": "oks_ap",
            "flip_test": True,
            "filter_sigma": 0,
            "decode": "sign_inside",
            "nms": "oks",
            "nms_threshold": 0.9,
            "keypoint_threshold": 0.2,
            "box_threshold": 0.0,
            "max_people": 20,
        }
        assert run.config.data.skeleton == "coco17"
        assert [(s.format, s.split) for s in run.config.data.test] == [("coco", "val2017")]
        assert run.config.data.box_padding == 1.25

    def test_it_tells_where_it_came_from(self, checkpoint, printed):
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        expected = {"sha256": digest, "origin": "official", "channels": "bgr", "tensors": 282}
        # Xiao et al. round them to 34.0 M.
        expected["parameters"] = 33_999_697
        assert {name: printed[name] for name in expected} == expected
        head = (checkpoint.parent / "config.yaml").read_text().splitlines()[1]
        assert head == f"# Source: pose_resnet_50_256x192.pth (official), sha256 {digest}"

    def test_it_is_not_written_over_without_force(self, checkpoint, printed, monkeypatch):
        with pytest.raises(ConversionError, match=r"pose.keras and .*config.yaml: there already; .*force"):
            call(checkpoint, *RESNET50, "--out", printed["network_file"])
        before = (checkpoint.parent / "config.yaml").read_bytes()
        other, wrong = checkpoint.parent / "other.keras", "simple_baseline_resnet101"
        monkeypatch.setitem(MODELS, wrong, SMALL)  # quicker, and as wrong
        with pytest.raises(
            ConversionError, match=r"\nBy its shapes it is the model simple_baseline_resnet50"
        ):
            call(checkpoint, "--model", wrong, "--out", other, "--force")
        assert not other.exists()
        assert (checkpoint.parent / "config.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_caffe_style_resnet_strides_elsewhere(tmp_path):
    pytest.importorskip("torch", reason="the reference is in PyTorch: the extra `torch`")
    from torch_networks import PoseResNet, heatmaps

    state = official.random_state(official.pose_resnet(50))
    file, out = tmp_path / "pose_resnet_50_caffe.safetensors", tmp_path / "out" / "pose.keras"
    save_file(state, file)
    convert_checkpoint(file, RESNET50[1], out, (64, 96), stride_in_1x1=True)
    bgr = np.random.default_rng(1).uniform(size=(2, 64, 96, 3)).astype(np.float32)
    found = keras.saving.load_model(out)(bgr[..., ::-1])["heatmaps"]
    np.testing.assert_allclose(found, heatmaps(PoseResNet, 50, state, bgr, caffe=True), rtol=0, atol=1e-4)
    assert np.abs(found - heatmaps(PoseResNet, 50, state, bgr)).max() > 0.01


@pytest.mark.slow
def test_mmposes_mpii_network_without_torch(tmp_path, monkeypatch):
    """16 keypoints, RGB, and the size of the crop in the name of the file."""
    monkeypatch.setitem(MODELS, RESNET50[1], SMALL)
    state = official.random_state(torch_shapes(SimpleBaseline(16, (32, 32), "resnet18", width=8)))
    head = ("deconv", "final")
    parts = {name: "keypoint_head." if name.startswith(head) else "backbone." for name in state}
    file = tmp_path / "res50_mpii_128x160-418ffc88_20200812.safetensors"
    save_file({parts[name] + name: tensor for name, tensor in state.items()}, file)
    printed = call(file, *RESNET50, "--out", tmp_path / "out" / "pose.keras")
    assert "simple_baseline_resnet50, mpii, 128x160" in printed
    config = load_config(tmp_path / "out" / "config.yaml")
    assert (config.data.skeleton, config.evaluation.metric) == ("mpii16", "pckh")
    assert config.model.input_size == (128, 160)
    network = keras.saving.load_model(tmp_path / "out" / "pose.keras")
    assert network.num_keypoints == 16
    np.testing.assert_allclose(network.get_config()["mean"], IMAGENET_MEAN)
    stem = network.backbone.stem[0].conv.kernel
    np.testing.assert_array_equal(stem, state["conv1.weight"].transpose(2, 3, 1, 0))


class TestRefusals:
    def convert(self, tmp_path, name="a.safetensors", out="a.keras", model="hrnet_w32", **options):
        return convert_checkpoint(tmp_path / name, model, tmp_path / out, **options)

    def test_options(self, tmp_path):
        with pytest.raises(ConversionError, match="written as .keras"):
            self.convert(tmp_path, out="a.h5")
        with pytest.raises(ConversionError, match="only ResNets come in Caffe's style"):
            self.convert(tmp_path, stride_in_1x1=True)
        with pytest.raises(ConversionError, match="trained with UDP"):
            self.convert(tmp_path, name="hrnet_w32_coco_256x192_udp.pth")
        call("a.pth", *RESNET50, "--out", "a.keras", "--input-size", "256x192", code=2)

    def test_keypoints_of_no_published_set(self, tmp_path):
        save_file({"final_layer.weight": np.zeros((133, 32, 1, 1), np.float32)}, tmp_path / "a.safetensors")
        with pytest.raises(ConversionError, match=r"gives 133 heatmaps; .*17 \(coco\) and 16 \(mpii\)"):
            self.convert(tmp_path)


def test_the_program_prints_the_extra_that_is_missing(tmp_path, monkeypatch, capsys):
    """What stands in brackets is no markup."""
    (tmp_path / "a.pth").touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    arguments = ["import-weights", str(tmp_path / "a.pth"), *RESNET50, "--out", str(tmp_path / "a.keras")]
    monkeypatch.setattr(sys, "argv", ["p2net", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "pip install 'p2net_tf[import]'" in capsys.readouterr().err


def test_the_command_line_offers_every_model():
    assert [model.value for model in PublishedModel] == [*MODELS, DETECTOR]
