"""torchvision's detectors, to stand beside ours.

A package index may have torchvision with CUDA operators alone, which do not load beside a PyTorch for CPUs.
Its detection code is Python but for one operator, `nms`: where that one is missing it is put here, as the
greedy loop that it is, and reports say so. RoIAlign then runs in torchvision's own Python form.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from p2net_tf.utils.exceptions import UserError

PEERS = {
    "torchvision Faster R-CNN R50-FPN": "fasterrcnn_resnet50_fpn",
    "torchvision SSDLite": "ssdlite320_mobilenet_v3_large",
}
"""Names in reports, and of the functions that build them."""


class TorchvisionMissingError(UserError):
    """PyTorch or torchvision is not installed; the message says how to."""


def greedy_nms(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Indices of the `[n, 4]` xyxy boxes that stay, best first: by definition, box by box, in float32."""
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        width = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others])
        height = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        order = others[shared / (areas[best] + areas[others] - shared) <= iou_threshold]
    return np.asarray(kept, np.int64)


def import_torchvision():
    """`(torch, torchvision, whether its own operators run)`.

    Raises:
        TorchvisionMissingError: one of them is not installed.
    """
    # torchvision would compile its Python operators, a minute for each kind of input.
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    found = importlib.util.find_spec("torchvision")
    if importlib.util.find_spec("torch") is None or found is None:
        raise TorchvisionMissingError("needs PyTorch and torchvision: pip install torch torchvision")
    import torch

    own = hasattr(torch.ops.torchvision, "nms") or _loads_operators(torch, Path(found.origin).parent)
    if not own:
        _stand_in(torch)
    import torchvision

    if not own:
        torchvision.ops.boxes._assert_has_ops = lambda: None
    return torch, torchvision, own


def peer_functions(threads: int | None = None) -> tuple[dict[str, Callable[[np.ndarray], object]], dict]:
    """`(name -> function of a picture [H, W, 3] uint8, facts)` of `PEERS`, with random weights.

    Args:
        threads: of PyTorch; None: its default.

    Raises:
        TorchvisionMissingError: see `import_torchvision`.
    """
    torch, torchvision, own = import_torchvision()
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    functions, parameters = {}, {}
    for name, builder in PEERS.items():
        model = getattr(torchvision.models.detection, builder)(weights=None, weights_backbone=None).eval()
        functions[name] = _function_of(torch, model)
        parameters[name] = sum(parameter.numel() for parameter in model.parameters())
    facts = {
        "parameters": parameters,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "nms": "torchvision's" if own else "a numpy loop, since torchvision's operators do not load here",
    }
    return functions, facts


def _function_of(torch, model) -> Callable[[np.ndarray], object]:
    def detect(picture: np.ndarray):
        with torch.inference_mode():
            return model([torch.from_numpy(picture).permute(2, 0, 1).float() / 255])

    return detect


def _loads_operators(torch, folder: Path) -> bool:
    for library in folder.glob("_C*.so"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(library))
            return True
    return False


_LIBRARIES: list = []
"""PyTorch forgets operators with the library that defined them."""


def _stand_in(torch) -> None:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # the second one need not run, only be known
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl(
        "nms", lambda boxes, scores, threshold: torch.from_numpy(_nms(boxes, scores, threshold)), "CPU"
    )
    _LIBRARIES.append(library)


def _nms(boxes, scores, threshold: float) -> np.ndarray:
    return greedy_nms(boxes.detach().numpy(), scores.detach().numpy(), threshold)
