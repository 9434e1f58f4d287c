"""Files of named tensors: PyTorch's state dicts and safetensors. Nothing in them is ever run.

PyTorch's files are pickles. `torch.load(weights_only=True)` builds tensors and plain containers out of them
and refuses everything else; what it refuses is refused here.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from p2net_tf.utils.exceptions import UserError

TORCH_SUFFIXES = (".pth", ".pt", ".tar")
SAFETENSORS_SUFFIX = ".safetensors"

_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")
"""Under which training programs keep the weights, beside optimizers and epochs."""
_PARALLEL = "module."
"""Put before every name by DataParallel."""
_MMPOSE_PARTS = ("backbone.", "keypoint_head.", "head.")
_COUNTERS = "num_batches_tracked"


class ConversionError(UserError):
    """A checkpoint that cannot be converted; the message names the tensors and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a network.

    Attributes:
        tensors: float32 arrays in PyTorch's layout, named as the official code names them: without the
            prefixes of DataParallel and mmpose, and without counters of batches.
        origin: whose code wrote it, as its names tell.
    """

    tensors: dict[str, np.ndarray]
    origin: Literal["official", "mmpose"]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The weights of a pose network in a file that `read_tensors` reads, and raises as it does."""
    named = read_tensors(path)
    mmpose = any(name.startswith("backbone.") for name in named)
    tensors = {_official(name): tensor for name, tensor in named.items()}
    return Checkpoint(tensors, "mmpose" if mmpose else "official")


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Float32 arrays of a `.pth`, `.pt`, `.tar` or `.safetensors` file, without counters of batches.

    Raises:
        ConversionError: no such file, another kind of file, one that holds more than tensors and plain values
            or no tensors, or PyTorch or safetensors is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ConversionError(f"{path}: not found; download the checkpoint (docs/published_weights.md)")
    if path.suffix == SAFETENSORS_SUFFIX:
        named = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        named = _read_torch(path)
    else:
        known = ", ".join((*TORCH_SUFFIXES, SAFETENSORS_SUFFIX))
        raise ConversionError(f"{path}: not a checkpoint by its name; give one of {known}")
    return {
        name.removeprefix(_PARALLEL): np.asarray(tensor, np.float32)
        for name, tensor in named.items()
        if not name.endswith(_COUNTERS)
    }


def _official(name: str) -> str:
    part = next((part for part in _MMPOSE_PARTS if name.startswith(part)), "")
    return name.removeprefix(part)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise ConversionError(f"{path}: needs safetensors: pip install 'p2net_tf[import]'") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise ConversionError(f"{path}: no safetensors file ({error}); download it again") from None


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise ConversionError(
            f"{path}: files of PyTorch need PyTorch: pip install 'p2net_tf[import]', or give its tensors "
            f"as {SAFETENSORS_SUFFIX}"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConversionError(
            f"{path}: holds more than tensors and plain values, and what that does when it is read is its "
            f"author's choice ({_first_line(error)}). Where you trust it, save its tensors alone: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW_FILE)"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ConversionError(
            f"{path}: PyTorch cannot read it ({_first_line(error)}); download it again"
        ) from None
    tensors = {name: value for name, value in _state_dict(content, path).items() if torch.is_tensor(value)}
    return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}


def _state_dict(content, path: Path) -> Mapping:
    is_dict = isinstance(content, Mapping)
    for key in _STATE_DICT_KEYS:
        if is_dict and isinstance(content.get(key), Mapping):
            return content[key]
    if is_dict and any(hasattr(value, "shape") for value in content.values()):
        return content
    held = f"the keys {', '.join(map(str, content))}" if is_dict else f"a {type(content).__name__}"
    raise ConversionError(f"{path}: holds {held} and no state dict; save model.state_dict() into a file")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
