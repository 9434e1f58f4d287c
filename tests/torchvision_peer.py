"""torchvision, to compare with: tests that need it are skipped where it is missing.

The package index has it with CUDA operators alone, which do not load beside a PyTorch for CPUs. Its detection
code is Python but for one operator, `nms`: where that one is missing it is put here, as the greedy loop that
it is. RoIAlign then runs in torchvision's own Python form.
"""

import contextlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

# torchvision would compile its Python operators, a minute for each kind of input.
os.environ["TORCHDYNAMO_DISABLE"] = "1"
torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make` installs $(TORCH)")
_SPEC = importlib.util.find_spec("torchvision")
if _SPEC is None:
    pytest.skip(
        "torchvision is not installed: `make` installs $(TORCHVISION) beside $(TORCH)",
        allow_module_level=True,
    )


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


def _loads_its_operators() -> bool:
    for library in Path(_SPEC.origin).parent.glob("_C*.so"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(library))
            return True
    return False


HAS_OPERATORS = _loads_its_operators()
if not HAS_OPERATORS:
    _library = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):  # the second one need not run, only be known
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.impl(
        "nms",
        lambda boxes, scores, threshold: torch.from_numpy(
            greedy_nms(boxes.detach().numpy(), scores.detach().numpy(), threshold)
        ),
        "CPU",
    )

import torchvision  # noqa: E402

if not HAS_OPERATORS:
    torchvision.ops.boxes._assert_has_ops = lambda: None
