"""PyTorch originals by the path of their code: what is built, what it computes, what is refused."""

import sys

import numpy as np
import pytest
import yaml

from p2net_tf.bench import torch_peers
from p2net_tf.bench.torch_peers import LAYOUTS, NO_TORCH, Peer, Settings
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import ConfigError

CODE = """\
from torch import nn

from blocks.conv import convolution


class Pose(nn.Module):
    def __init__(self, cfg, joints):
        super().__init__()
        self.stem = convolution(3, cfg.MODEL.EXTRA["WIDTH"], 4)
        self.head = nn.Conv2d(cfg["MODEL"]["EXTRA"].WIDTH, joints, 1)

    def forward(self, x):
        return self.head(self.stem(x).relu())


def get_pose_net(cfg, is_train, joints=5):
    assert is_train is False
    return Pose(cfg, joints)


def two_stages():
    return Stages()


class Stages(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, 4, 1)

    def forward(self, x):
        maps = self.conv(x)
        return [maps, {"last": 2 * maps}]


nothing = None


def text():
    return "no network"


def fails():
    raise RuntimeError("CUDA is missing")
"""
BLOCK = """\
from torch import nn


def convolution(inputs, outputs, stride):
    return nn.Conv2d(inputs, outputs, 3, stride, 1)
"""


class TestWithoutTorch:
    def test_is_said(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(UserError, match="needs torch: pip install") as error:
            Peer("x.py:net", np.zeros((1, 3, 32, 32), np.float32))
        assert str(error.value) == NO_TORCH


def test_settings_are_asked_by_name_and_by_key():
    cfg = torch_peers._argument({"MODEL": {"WIDTHS": [{"A": 1}]}}, None, "x.yaml")
    assert cfg.MODEL.WIDTHS[0].A == cfg["MODEL"]["WIDTHS"][0]["A"] == 1
    assert isinstance(cfg, Settings) and not hasattr(cfg, "OTHER")


def test_what_is_beside_yaml_changes_it(tmp_path):
    (tmp_path / "w.yaml").write_text("MODEL: {EXTRA: {WIDTH: 4, HEADS: 1}, NAME: pose}\nGPUS: 2\n")
    cfg = torch_peers._argument(
        {"yaml": "w.yaml", "MODEL": {"STYLE": "x", "EXTRA": {"WIDTH": 8}}}, tmp_path, ""
    )
    assert cfg == {"MODEL": {"EXTRA": {"WIDTH": 8, "HEADS": 1}, "NAME": "pose", "STYLE": "x"}, "GPUS": 2}
    assert cfg.MODEL.EXTRA.WIDTH == 8


class TestPeer:
    @pytest.fixture(scope="class")
    def torch(self):
        return pytest.importorskip("torch", reason="PyTorch originals need torch (extra `torch`)")

    @pytest.fixture
    def repository(self, torch, tmp_path):
        """As published ones are laid out."""
        (tmp_path / "lib/models").mkdir(parents=True)
        (tmp_path / "lib/blocks").mkdir()
        (tmp_path / "experiments").mkdir()
        (tmp_path / "lib/models/pose.py").write_text(CODE)
        (tmp_path / "lib/blocks/conv.py").write_text(BLOCK)
        (tmp_path / "experiments/w4.yaml").write_text("GPUS: (0,1)\nMODEL: {EXTRA: {WIDTH: 4}}\n")
        return tmp_path

    @pytest.fixture
    def recipe(self, repository):
        """`recipe(factory="two_stages")`: the path of a YAML with these changes."""

        def write(**changes):
            arguments = {"cfg": {"yaml": "experiments/w4.yaml"}, "is_train": False}
            keys = {
                "root": "lib",
                "module": "models/pose.py",
                "factory": "get_pose_net",
                "arguments": arguments,
            }
            path = repository / "peer.yaml"
            path.write_text(yaml.safe_dump(keys | changes))
            return path

        return write

    @pytest.fixture
    def crops(self):
        return np.random.default_rng(0).uniform(size=(2, 3, 32, 32)).astype("float32")

    @pytest.mark.parametrize("module", ["models/pose.py", "models.pose"])
    def test_is_built_as_its_authors_build_it(self, recipe, crops, module):
        before = set(sys.modules)
        peer = Peer(recipe(module=module), crops)
        assert peer.parameters == 3 * 4 * 9 + 4 + 4 * 5 + 5
        outputs = peer.outputs()
        assert tuple(outputs) == LAYOUTS
        for (maps,) in outputs.values():
            assert maps.shape == (2, 5, 8, 8)
        np.testing.assert_allclose(*(maps for (maps,) in outputs.values()), rtol=1e-5, atol=1e-6)
        # The next repository may have a `models.pose` of its own.
        assert not {name for name in set(sys.modules) - before if name.startswith(("models", "blocks"))}
        assert not any(path.endswith("/lib") for path in sys.path)

    def test_layouts_are_what_they_are_called(self, torch, recipe, crops):
        models = Peer(recipe(), crops)._models
        for layout, order in zip(LAYOUTS, (torch.contiguous_format, torch.channels_last), strict=True):
            module, images = models[layout]
            assert images.is_contiguous(memory_format=order)
            assert module.stem.weight.is_contiguous(memory_format=order)

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_takes_weights(self, torch, recipe, repository, crops, wrapped):
        state = {
            "stem.weight": torch.zeros(4, 3, 3, 3), "stem.bias": torch.ones(4),
            "head.weight": torch.ones(5, 4, 1, 1), "head.bias": torch.arange(5.0),
        }  # fmt: skip
        prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": prefixed} if wrapped else state, repository / "w4.pth")
        for (maps,) in Peer(recipe(state_dict="w4.pth"), crops).outputs().values():
            # relu(0 * x + 1), four times, and the bias
            np.testing.assert_array_equal(maps[:, :, 3, 3], np.tile(4 + np.arange(5.0), (2, 1)))

    def test_unpickles_nothing(self, torch, recipe, repository, crops):
        torch.save({"stem.weight": Settings()}, repository / "w4.pth")
        with pytest.raises(UserError, match="the weights in .*w4.pth cannot be taken"):
            Peer(recipe(state_dict="w4.pth"), crops)

    def test_a_file_and_a_factory_will_do(self, torch, tmp_path, crops):
        (tmp_path / "stages.py").write_text(CODE.replace("from blocks.conv import convolution\n", ""))
        outputs = Peer(f"{tmp_path / 'stages.py'}:two_stages", crops).outputs()
        for first, last in outputs.values():
            np.testing.assert_allclose(last, 2 * first, rtol=1e-6)

    def test_every_layout_has_a_forward_pass_and_a_step_that_learns(self, torch, recipe, crops):
        peer = Peer(recipe(factory="two_stages", arguments={}), crops)
        assert set(peer.measures(None)) == {(layout, "forward") for layout in LAYOUTS}
        measures = peer.measures("training step")
        for layout in LAYOUTS:
            losses = [measures[layout, "training step"]() for _ in range(5)]
            assert losses[-1] < losses[0]
            measures[layout, "forward"]()

    def test_torchscript_has_both_layouts_too(self, torch, tmp_path, crops):
        network = torch.nn.Conv2d(3, 14, 3, 4, 1)
        torch.jit.trace(network, torch.from_numpy(crops)).save(str(tmp_path / "original.ts"))
        plain, last = (maps for (maps,) in Peer(tmp_path / "original.ts", crops).outputs().values())
        with torch.inference_mode():
            np.testing.assert_allclose(plain, network(torch.from_numpy(crops)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(last, plain, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"module": "models/missing.py"}, "models/missing.py cannot be imported: FileNotFoundError"),
            ({"module": "models.missing"}, "cannot be imported: ModuleNotFoundError: No module named"),
            ({"root": None, "module": "lib/models/pose.py"}, "No module named 'blocks'"),
            ({"factory": "nothing"}, "has no 'nothing' that can be called"),
            ({"factory": "text", "arguments": {}}, "text returns a str, not a torch.nn.Module"),
            ({"factory": "fails", "arguments": {}}, "fails fails: RuntimeError: CUDA is missing"),
            ({"arguments": {"is_train": False}}, "get_pose_net fails: TypeError: .*'cfg'"),
            ({"arguments": {"cfg": {"yaml": "none.yaml"}}}, "none.yaml cannot be read: FileNotFoundError"),
            ({"state_dict": "none.pth"}, "the weights in .*none.pth cannot be taken: FileNotFoundError"),
        ],
    )
    def test_whatever_is_wrong_is_named(self, recipe, crops, changes, words):
        with pytest.raises(UserError, match=rf"peer.yaml: .*{words}"):
            Peer(recipe(**changes), crops)

    def test_unknown_keys_are_refused(self, recipe, crops):
        with pytest.raises(ConfigError, match="unknown key 'modul'"):
            Peer(recipe(modul="x"), crops)

    def test_crops_that_it_does_not_take_are_named(self, recipe):
        with pytest.raises(UserError, match=r"does not run on crops \[1, 4, 32, 32\]: RuntimeError"):
            Peer(recipe(), np.zeros((1, 4, 32, 32), np.float32))
