"""Reading files of tensors: what is in them, and what is never run."""

import pickle
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from p2net_tf.convert.checkpoint import ConversionError, read_checkpoint

STATE = {
    "conv1.weight": np.arange(12, dtype=np.float32).reshape(2, 3, 2, 1),
    "final_layer.bias": np.float32([1, -2, 3]),
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch's files need PyTorch: the extra `torch`")


def check_is_state(checkpoint, origin="official"):
    assert checkpoint.origin == origin
    assert set(checkpoint.tensors) == set(STATE)
    for name, tensor in STATE.items():
        assert checkpoint.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor)


def renamed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def in_torch(torch, state):
    return {name: torch.from_numpy(tensor) for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: renamed(state, "module."),
        # The training program's own: `model` is a name there, and no weights.
        lambda state: {"model": "pose_resnet", "epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": renamed(state, "module.")},
    ],
    ids=["plain", "parallel", "training", "model"],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["old", "new"])
def test_a_torch_file_is_unwrapped(torch, tmp_path, wrap, zipped):
    state = in_torch(torch, STATE) | {"bn1.num_batches_tracked": torch.tensor(7)}
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=zipped)
    check_is_state(read_checkpoint(path))


def test_half_precision_is_read_as_float32(torch, tmp_path):
    """All these numbers are exact in bfloat16."""
    halves = {name: tensor.bfloat16() for name, tensor in in_torch(torch, STATE).items()}
    torch.save(halves, tmp_path / "half.pt")
    check_is_state(read_checkpoint(tmp_path / "half.pt"))


@pytest.mark.parametrize("head", ["keypoint_head.", "head."], ids=["mmpose 0", "mmpose 1"])
def test_mmposes_names_lose_their_parts_and_need_no_torch(tmp_path, monkeypatch, head):
    names = {"conv1.weight": "backbone.conv1.weight", "final_layer.bias": f"{head}final_layer.bias"}
    state = {names[name]: tensor for name, tensor in STATE.items()}
    save_file(state | {"backbone.bn1.num_batches_tracked": np.int64([7])}, tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    check_is_state(read_checkpoint(tmp_path / "a.safetensors"), "mmpose")


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_a_pickle_is_refused_and_not_run(torch, tmp_path):
    path, trace = tmp_path / "bad.pth", tmp_path / "trace"
    pickle.loads(pickle.dumps(Malicious(trace))).close()
    assert trace.exists()
    trace.unlink()
    for zipped in (False, True):
        torch.save({"state_dict": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ConversionError, match=r"more than tensors.* save its tensors alone"):
            read_checkpoint(path)
        assert not trace.exists()
    path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(ConversionError, match="bad.pth"):
        read_checkpoint(path)
    assert not trace.exists()


def test_what_is_no_checkpoint(torch, tmp_path):
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "numbers.pth")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "weights.h5").touch()
    faults = {
        "numbers.pth": "holds the keys epoch, lr and no state dict",
        "list.pt": "holds a list and no state dict",
        "empty.pth": "PyTorch cannot read it .*; download it again",
        "text.safetensors": "no safetensors file",
        "weights.h5": "give one of .pth, .pt, .tar, .safetensors",
        "nowhere.pth": "not found",
    }
    for name, fault in faults.items():
        with pytest.raises(ConversionError, match=f"{name}: .*{fault}"):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(("name", "package"), [("a.pth", "torch"), ("a.safetensors", "safetensors")])
def test_without_its_package_the_error_names_the_extra(tmp_path, monkeypatch, name, package):
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConversionError, match=rf"{name}: .*pip install 'p2net_tf\[import\]'"):
        read_checkpoint(tmp_path / name)
