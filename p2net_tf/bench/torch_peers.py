"""PyTorch originals in their authors' own code, for `p2net bench models --torch CONFIG=FILE`.

FILE is TorchScript, `CODE.py:FACTORY`, or a YAML that says how the model is built:

```yaml
root: deep-high-resolution-net.pytorch/lib       # on the path of imports; beside the YAML
module: models.pose_hrnet                        # below root, or a file: models/pose_hrnet.py
factory: get_pose_net
arguments: {cfg: {yaml: ../experiments/coco/hrnet/w32_256x192_adam_lr1e-3.yaml}, is_train: false}
state_dict: pose_hrnet_w32_256x192.pth           # no speed depends on it
```

A mapping among the arguments can be asked as `cfg.MODEL` and `cfg["MODEL"]`, as those of yacs; one with
a key `yaml` is the content of that file, changed by its other keys. The code runs in this process, so it has
to be trusted; weights are read by `weights_only`, which unpickles nothing but tensors.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from p2net_tf.bench.runtimes import FORWARD
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import Document, Section, validate

LAYOUTS = ("torch", "torch channels_last")
"""Runtimes: the layout that PyTorch has by default, and the one that its convolutions are faster in."""
NO_TORCH = "measuring PyTorch originals needs torch: pip install 'p2net_tf[torch]'"
_LONGEST_REASON = 300
_numbers = itertools.count()


class Recipe(Section):
    """How a model is built from its authors' code. Relative paths begin at the folder of the YAML."""

    module: str
    """A file `*.py`, or a dotted name below `root`."""
    factory: str
    """A class or function of it that returns the `torch.nn.Module`."""
    root: str | None = None
    """Folder that the code imports its other modules from."""
    arguments: dict[str, Any] = {}
    state_dict: str | None = None
    """Weights: a state dict, or a checkpoint with one under `state_dict`."""


class Settings(dict):
    """A mapping whose keys are attributes, too, as published code expects its configuration."""

    def __getattr__(self, name: str):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Peer:
    """A PyTorch original, and how it is measured.

    Args:
        source: as the command line takes it.
        crops: `[B, 3, H, W]` float32, which it is measured on.

    Attributes:
        source: as given.
        parameters: trainable weights.

    Raises:
        UserError: PyTorch is not installed, or the model cannot be built or run on such crops.
    """

    def __init__(self, source: str | Path, crops: np.ndarray):
        torch = import_torch()
        self.source = str(source)
        # Opened twice: a deep copy of TorchScript has parameters that cannot be trained.
        module, other = (_open(torch, self.source, crops) for _ in LAYOUTS)
        other.load_state_dict(module.state_dict())
        self.parameters = sum(weight.numel() for weight in module.parameters())
        images = torch.from_numpy(crops)
        last = (part.to(memory_format=torch.channels_last) for part in (other, images))
        self._models = dict(zip(LAYOUTS, ((module, images), tuple(last)), strict=True))
        self._torch = torch

    def outputs(self) -> dict[str, list[np.ndarray]]:
        """What each layout gives, without gradients."""
        return {
            layout: [maps.numpy() for maps in _tensors(self._torch, self._forward(*model))]
            for layout, model in self._models.items()
        }

    def measures(self, training_name: str | None) -> dict[tuple[str, str], Callable]:
        """`{(runtime, task): function}` of forward pass and training step.

        The step is forward and backward pass for the plain mean of the squared outputs, and Adam.

        Args:
            training_name: what the step is called; None leaves it out.
        """
        found: dict[tuple[str, str], Callable] = {}
        for layout, model in self._models.items():
            found[layout, FORWARD] = partial(self._forward, *model)
            if training_name:
                found[layout, training_name] = self._step(*model)
        return found

    def to_dict(self) -> dict:
        return {"source": self.source, "parameters": self.parameters, "version": self._torch.__version__}

    def _forward(self, module, images):
        with self._torch.inference_mode():
            return module.eval()(images)

    def _step(self, module, images) -> Callable[[], float]:
        optimizer = self._torch.optim.Adam(module.parameters())

        def step() -> float:
            module.train()
            optimizer.zero_grad()
            loss = sum(maps.square().mean() for maps in _tensors(self._torch, module(images)))
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


def import_torch():
    """PyTorch, on all cores.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UserError(NO_TORCH) from None
    torch.set_num_threads(os.cpu_count() or 1)
    return torch


def _open(torch, source: str, crops: np.ndarray):
    """The module, which takes the crops.

    Raises:
        UserError: it cannot be built, or not run.
    """
    code, colon, factory = source.rpartition(":")
    if source.endswith((".yaml", ".yml")):
        path = Path(source)
        module = _build(torch, validate(Recipe, Document.read(path)), path.parent, source)
    elif colon and code.endswith(".py"):
        module = _build(torch, Recipe(module=code, factory=factory), Path(), source)
    else:
        return _open_script(torch, source, crops)
    with _told(f"{source}: does not run on crops {list(crops.shape)}"), torch.inference_mode():
        maps = _tensors(torch, module.eval()(torch.from_numpy(crops)))
    if not maps:
        raise UserError(f"{source}: its output holds no tensor; name a factory of a network")
    return module


def _open_script(torch, source: str, crops: np.ndarray):
    try:
        module = torch.jit.load(source, map_location="cpu")
        with torch.inference_mode():
            module.eval()(torch.from_numpy(crops))
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"{source}: no TorchScript file that takes crops {list(crops.shape)}: {_reason(error)}; write "
            "one with torch.jit.trace(model, crops).save(FILE), or give the code: CODE.py:FACTORY, or a YAML "
            "of module, factory and arguments"
        ) from None
    return module


def _build(torch, recipe: Recipe, folder: Path, source: str):
    """
    Raises:
        UserError: of whatever the code raises, or where it makes no module.
    """
    root = None if recipe.root is None else folder / recipe.root
    arguments = {name: _argument(value, folder, source) for name, value in recipe.arguments.items()}
    with _imports_from(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of code that is older than this Python
        with _told(f"{source}: {recipe.module} cannot be imported"):
            code = _import(recipe.module, folder, root)
        if not callable(factory := getattr(code, recipe.factory, None)):
            raise UserError(f"{source}: {recipe.module} has no '{recipe.factory}' that can be called")
        with _told(f"{source}: {recipe.factory} fails"):
            module = factory(**arguments)
    if not isinstance(module, torch.nn.Module):
        raise UserError(
            f"{source}: {recipe.factory} returns a {type(module).__name__}, not a torch.nn.Module"
        )
    if recipe.state_dict is not None:
        path = folder / recipe.state_dict
        with _told(f"{source}: the weights in {path} cannot be taken"):
            module.load_state_dict(_weights(torch, path))
    return module


def _import(name: str, folder: Path, root: Path | None):
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = (root or folder) / name
    # A name of its own: two repositories may each have a `models.py`.
    spec = importlib.util.spec_from_file_location(f"p2net_torch_peer_{next(_numbers)}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _imports_from(root: Path | None) -> Iterator[None]:
    """Modules below `root` can be imported, and are forgotten after: the next one may have the same names."""
    if root is None:
        yield
        return
    place, before = str(root.resolve()), set(sys.modules)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if _place_of(sys.modules[name]).startswith(place + os.sep):
                del sys.modules[name]
        sys.path.remove(place)


def _place_of(module) -> str:
    """File of a module; a folder without `__init__.py` has a path alone, which `sys.path` still leads to."""
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")


def _argument(value, folder: Path, source: str):
    if isinstance(value, dict):
        if "yaml" in value:
            path = folder / str(value["yaml"])
            with _told(f"{source}: {path} cannot be read"):
                read = yaml.safe_load(path.read_text(encoding="utf-8"))
            changes = {key: part for key, part in value.items() if key != "yaml"}
            return _argument(_merged(read, changes), path.parent, source)
        return Settings({key: _argument(part, folder, source) for key, part in value.items()})
    return [_argument(part, folder, source) for part in value] if isinstance(value, list) else value


def _merged(read: dict, changes: dict) -> dict:
    """`read` with what `changes` says otherwise, at any depth."""
    deeper = {
        key: _merged(read[key], part)
        for key, part in changes.items()
        if isinstance(part, dict) and isinstance(read.get(key), dict)
    }
    return read | changes | deeper


def _weights(torch, path: Path) -> dict:
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}  # of DataParallel


def _tensors(torch, outputs) -> list:
    """All tensors of an output, or of its nest of lists and dicts."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, dict) else outputs
    return [found for part in parts for found in _tensors(torch, part)] if _is_nest(outputs) else []


def _is_nest(outputs) -> bool:
    return isinstance(outputs, dict | list | tuple)


@contextmanager
def _told(words: str) -> Iterator[None]:
    """Whatever others' code raises, in a line."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{words}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:_LONGEST_REASON]}" if lines else type(error).__name__
